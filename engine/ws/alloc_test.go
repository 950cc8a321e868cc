//go:build !race

package ws

import "testing"

// The race detector allocates, so this file is left out of its builds.

func TestNoAllocation(t *testing.T) {
	f := func(name string, want float64, fn func()) {
		t.Helper()
		if got := testing.AllocsPerRun(200, fn); got > want {
			t.Errorf("%s: %v allocations, want %v", name, got, want)
		}
	}
	payload := make([]byte, 300)
	buf := make([]byte, 0, 4096)
	f("AppendFrame", 0, func() { buf = AppendFrame(buf[:0], OpText, payload) })
	f("AppendMaskedFrame", 0, func() { buf = AppendMaskedFrame(buf[:0], OpText, testKey, payload) })
	f("AppendClose", 0, func() { buf = AppendClose(buf[:0], CloseNormal, "a reason") })
	f("AppendSwitchingProtocols", 0, func() {
		buf = AppendSwitchingProtocols(buf[:0], "dGhlIHNhbXBsZSBub25jZQ==", "chat", "permessage-deflate")
	})

	// Unmasking a second time would undo it, so the zero key keeps the input.
	whole := AppendMaskedFrame(nil, OpText, [4]byte{}, payload)
	whole = AppendMaskedFrame(whole, OpPing, [4]byte{}, payload[:10])
	var d Decoder
	next := func(b []byte) {
		for {
			ev, rest, err := d.Next(b)
			if err != nil {
				t.Fatal(err)
			}
			if b = rest; ev.Kind == None {
				return
			}
		}
	}
	f("Decoder on whole frames", 0, func() { next(whole) })
	f("Decoder on cut frames, its buffer grown", 0, func() {
		next(whole[:5])
		next(whole[5:100])
		next(whole[100:])
	})

	tmpl := NewDeflatedTemplate(OpText, []byte(testPrefix), []byte(testSuffix), MaxWindowBits)
	f("Template.Append", 0, func() { buf, _ = tmpl.Append(buf[:0], []byte("4611686018427387904")) })
	f("AppendDeflatedFrame", 0, func() { buf = AppendDeflatedFrame(buf[:0], OpText, payload, MaxWindowBits) })
	z := AppendDeflatedFrame(nil, OpText, payload, MaxWindowBits)
	inf := Decoder{Client: true, Deflate: true}
	f("Decoder on compressed frames", 0, func() {
		if _, _, err := inf.Next(z); err != nil {
			t.Fatal(err)
		}
	})

	head := []byte(browserHead)
	f("PeekRequestLine", 0, func() { _, _, _, _ = PeekRequestLine(head) })
	f("ParseRequest", 2, func() { // the copy of the head and the list of fields
		r, _, err := ParseRequest(head)
		if err != nil || r.CheckUpgrade() != nil {
			t.Fatal(err)
		}
	})
	r, _, err := ParseRequest(head)
	if err != nil {
		t.Fatal(err)
	}
	f("CheckUpgrade", 0, func() { _ = r.CheckUpgrade() })
	f("OriginAllowed", 0, func() { OriginAllowed("https://a.example.com", "push.example.com", []string{"https://*.example.com"}) })
}
