package main

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
)

// deflate is the payload of a compressed message (RFC 7692 section 7.2.1).
func deflate(t *testing.T, payload string, level int) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, payload); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// exchange sends a compressed message and checks its echo. bits is the server's
// window.
func (p *peer) exchange(first byte, payload string, level, fragment, bits int) {
	p.t.Helper()
	z := deflate(p.t, payload, level)
	p.write(fragments(first|rsv1, z, fragment))
	got := p.read()
	if got.rsv1 {
		f, err := inflate(got.payload)
		if err != nil || f.farthest > 1<<bits {
			p.t.Errorf("the echo of %d bytes refers %d bytes back with a window of %d bits: %v", len(payload), f.farthest, bits, err)
		}
		got.payload = string(f.out)
	}
	want := arrival{op: first & 0xF, payload: payload, rsv1: len(payload) >= 512} // -compress-min
	if got != want {
		p.t.Fatalf("got %v, compressed %v, want %v, compressed %v", got, got.rsv1, want, want.rsv1)
	}
}

const plainAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// Section 12: kinds of data, sizes and fragments. The suite has 1000 messages of
// each; two find the same, for no message knows of another.
func TestConformanceDeflate(t *testing.T) {
	record, err := json.Marshal(map[string]any{"system_id": "shop", "price": 17.25, "tags": []string{"a", "b"}, "msg": "\u53d1\u9001"})
	if err != nil {
		t.Fatal(err)
	}
	kinds := []struct {
		name  string
		first byte
		data  func(n int) string
	}{
		{"JSON", textFrame, func(n int) string {
			return strings.Repeat(string(record), n/len(record)) + strings.Repeat(" ", n%len(record))
		}},
		{"text", textFrame, manyText},
		{"noise", binFrame, manyBytes},
		{"zeros", binFrame, func(n int) string { return strings.Repeat("\x00", n) }},
		{"noise and zeros", binFrame, func(n int) string { return manyBytes(n/2) + strings.Repeat("\x00", n-n/2) }},
	}
	type shape struct{ size, fragment int }
	var shapes []shape
	for _, size := range []int{16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10} {
		shapes = append(shapes, shape{size, 1 << 20})
	}
	for _, size := range []int{8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10} {
		shapes = append(shapes, shape{size, 256})
	}
	for _, fragment := range []int{1 << 10, 4 << 10, 32 << 10} {
		shapes = append(shapes, shape{128 << 10, fragment})
	}
	s := startEcho(t)
	levels := []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, 6, flate.BestCompression}
	for i, kind := range kinds {
		for j, shape := range shapes {
			t.Run(fmt.Sprintf("12.%d.%d %s, %d bytes in fragments of %d", i+1, j+1, kind.name, shape.size, shape.fragment), func(t *testing.T) {
				p, answer := s.connect(t, "permessage-deflate")
				if answer != plainAnswer {
					t.Errorf("answered %q", answer)
				}
				for k := range 2 {
					p.exchange(kind.first, kind.data(shape.size), levels[(i+j+k)%len(levels)], shape.fragment, 15)
				}
				p.bye()
			})
		}
	}
}

// Section 13: what is offered, what is answered, and that the answer is kept to.
func TestConformanceDeflateOffers(t *testing.T) {
	type offer struct{ offer, answer string }
	window := func(bits int) string { return fmt.Sprintf("%s; server_max_window_bits=%d", plainAnswer, bits) }
	const name = "permessage-deflate"
	tests := []offer{
		{name, plainAnswer}, // 13.1
		{name + "; server_no_context_takeover", plainAnswer},
		{name + "; client_no_context_takeover", plainAnswer},
		{name + "; server_no_context_takeover; client_no_context_takeover", plainAnswer}, // 13.2
		{name + "; client_max_window_bits", plainAnswer},
		{name + "; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits", window(9)}, // 13.5
		{name + "; server_max_window_bits=9, " + name + "; server_no_context_takeover, " + name, window(9)},  // 13.7
		{"x-unknown; a=b, " + name, plainAnswer},
		{"x-unknown; a=\"b, " + name + "; server_max_window_bits=9\", " + name, plainAnswer},
		{name + "; server_max_window_bits=16, " + name + "; server_max_window_bits=10", window(10)},
		{name + "; server_max_window_bits=\"11\"", window(11)},
		{name + " ;\tserver_max_window_bits = 12 ", window(12)},
	}
	for bits := 8; bits <= 15; bits++ { // 13.3, 13.4, 13.6
		tests = append(tests,
			offer{fmt.Sprintf("%s; server_max_window_bits=%d", name, bits), window(bits)},
			offer{fmt.Sprintf("%s; client_max_window_bits=%d", name, bits), plainAnswer})
	}
	for _, bad := range []string{
		"server_max_window_bits", "server_max_window_bits=", "server_max_window_bits=7", "server_max_window_bits=16",
		"server_max_window_bits=08", "server_max_window_bits=nine", "server_max_window_bits=9; server_max_window_bits=9",
		"client_max_window_bits=7", "client_max_window_bits=16", "client_max_window_bits=", "client_max_window_bits; client_max_window_bits",
		"server_no_context_takeover=1", "client_no_context_takeover=true", "server_no_context_takeover; server_no_context_takeover",
		"unknown", "unknown=1",
	} {
		tests = append(tests, offer{name + "; " + bad, ""}, offer{name + "; " + bad + ", " + name, plainAnswer})
	}
	tests = append(tests, offer{"permessage-deflate-too", ""}, offer{"", ""}, offer{",", ""})

	s := startEcho(t)
	for _, tt := range tests {
		t.Run("13 "+tt.offer, func(t *testing.T) {
			p, answer := s.connect(t, tt.offer)
			if answer != tt.answer {
				t.Fatalf("answered %q, want %q", answer, tt.answer)
			}
			if answer == "" {
				p.write(frame(textFrame|rsv1, deflate(t, "Hello", 6)))
				if got := p.read(); got != isClose(1002) {
					t.Errorf("a compressed message that was not agreed on: %v", got)
				}
				p.end()
				return
			}
			bits := 15
			if _, value, ok := strings.Cut(answer, "server_max_window_bits="); ok {
				fmt.Sscan(value, &bits)
			}
			// Far references are worth making: every 40,000th byte is the same, and so
			// is every 300th.
			noise := manyBytes(40_000)
			for _, payload := range []string{"", "Hello", manyBytes(513), strings.Repeat(noise[:300], 20), noise + noise[:1000], strings.Repeat(noise[:20_000], 3)} {
				p.exchange(binFrame, payload, 6, 1<<20, bits)
				p.exchange(textFrame, manyText(len(payload)), 9, 100+len(payload)/3, bits)
			}
			p.bye()
		})
	}
}

func TestConformanceNoDeflate(t *testing.T) {
	p, answer := start(t, "-on-message", "echo").connect(t, "permessage-deflate")
	if answer != "" {
		t.Errorf("without -compress, answered %q", answer)
	}
	p.bye()
}

func TestConformanceDeflateRules(t *testing.T) {
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	zText := byte(textFrame | rsv1)
	whole := isText("Hello")
	refused := []arrival{isClose(1002)}
	badData := []arrival{isClose(1007)}
	ping := frame(pingFrame, "p")
	over := deflate(t, strings.Repeat("\x00", 16<<20+1), 9)
	tests := []conformanceCase{
		{name: "compressed", send: frame(zText, hello), want: []arrival{whole}},
		{name: "in fragments with pings", send: frame(zText&^fin, hello[:3]) + ping + frame(0x00, hello[3:5]) + ping + frame(contFrame, hello[5:]),
			want: []arrival{isPong("p"), isPong("p"), whole}},
		{name: "in fragments of one octet", send: fragments(zText, hello, 1), want: []arrival{whole}},
		{name: "not compressed", send: frame(textFrame, "Hello"), want: []arrival{whole}},
		{name: "mixed", send: frame(textFrame, "Hello") + frame(zText, hello) + fragments(textFrame, "Hello", 2) + frame(zText, hello), want: []arrival{whole, whole, whole, whole}},
		{name: "empty", send: frame(zText, "\x00"), want: []arrival{isText("")}},
		{name: "no octet", send: frame(zText, ""), want: []arrival{isText("")}},
		{name: "empty binary in fragments", send: frame(binFrame&^fin|rsv1, "") + frame(contFrame, "\x00"), want: []arrival{isBinary("")}},
		{name: "final block", send: frame(zText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), want: []arrival{whole}},
		{name: "stored block", send: frame(zText, "\x00\x05\x00\xfa\xffHello\x00"), want: []arrival{whole}},
		{name: "two blocks", send: frame(zText, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), want: []arrival{whole}},
		{name: "RSV1 on a continuation", send: frame(zText&^fin, hello[:3]) + frame(contFrame|rsv1, hello[3:]), want: refused},
		{name: "RSV1 on a ping", send: frame(pingFrame|rsv1, ""), want: refused},
		{name: "RSV1 on a close", send: frame(closeFrame|rsv1, closeBody(1000, "")), want: refused},
		{name: "RSV2", send: frame(zText|rsv2, hello), want: refused},
		{name: "RSV3", send: frame(textFrame|rsv3, "Hello"), want: refused},
		{name: "not DEFLATE", send: frame(zText, "\xff\xff\xff"), want: badData},
		{name: "not UTF-8", send: frame(zText, deflate(t, "a\xffb", 6)), want: badData},
		{name: "ends inside a character", send: frame(zText, deflate(t, kosme[:4], 6)), want: badData},
		{name: "a context that was given up", send: frame(zText, hello) + frame(zText, "\xf2\x00\x11\x00\x00"), want: []arrival{whole, isClose(1007)}},
		{name: "then a close", send: frame(zText, hello) + frame(closeFrame, closeBody(3000, "")), want: []arrival{whole, isClose(3000)}},
	}
	tests = octetWise(tests)
	tests = append(tests, conformanceCase{name: "inflates to a byte too much", send: frame(binFrame|rsv1, over), want: []arrival{isClose(1009)}},
		conformanceCase{name: "inflates to a byte too much, in fragments", send: fragments(binFrame|rsv1, over, 1000), want: []arrival{isClose(1009)}})
	for i := range tests {
		tests[i].offer = "permessage-deflate"
	}
	s := startEcho(t)
	s.conform(t, tests)

	t.Run("inflates to the limit", func(t *testing.T) {
		skipLong(t, 16<<20)
		p, _ := s.connect(t, "permessage-deflate")
		p.exchange(binFrame, strings.Repeat("\x00", 16<<20), 9, 1<<20, 15)
		p.bye()
	})
}
