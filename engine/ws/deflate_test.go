package ws

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"sync"
	"testing"
)

// inflateAll is what compress/flate makes of a message's payload.
func inflateAll(t testing.TB, z []byte) []byte {
	t.Helper()
	b, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(z), strings.NewReader(deflateTail))))
	if err != nil {
		t.Fatalf("% x: %v", z, err)
	}
	return b
}

func TestAppendDeflated(t *testing.T) {
	for _, n := range []int{0, 1, 20, 255, 256, 257, 1000, 70_000} {
		for _, payload := range [][]byte{bytes.Repeat([]byte("push"), n), noise(n)} {
			for bits := minWindowBits - 1; bits <= MaxWindowBits+1; bits++ {
				z := AppendDeflated([]byte("before"), payload, bits)
				if !bytes.HasPrefix(z, []byte("before")) {
					t.Fatalf("window %d: %q", bits, z[:6])
				}
				if got := inflateAll(t, z[6:]); !bytes.Equal(got, payload) {
					t.Errorf("window %d: %d bytes came back as %d", bits, len(payload), len(got))
				}
			}
		}
	}
	if got := AppendDeflated(nil, nil, 15); !bytes.Equal(got, []byte{0}) { // RFC 7692 section 7.2.3.6
		t.Errorf("empty message: % x", got)
	}
}

// No reference reaches further back than the window: each piece of that length is
// a stream that stands alone.
func TestAppendDeflatedWindow(t *testing.T) {
	payload := bytes.Repeat(noise(100), 30)
	for bits := minWindowBits; bits <= 10; bits++ {
		z := appendFlushed(nil, payload, bits)
		for rest := payload; len(rest) > 0; {
			piece := rest[:min(1<<bits, len(rest))]
			rest = rest[len(piece):]
			one := appendFlushed(nil, piece, MaxWindowBits)
			if !bytes.HasPrefix(z, one) {
				t.Fatalf("window %d: the piece %d bytes before the end does not stand alone", bits, len(rest))
			}
			if got := inflateAll(t, one[:len(one)-syncTail]); !bytes.Equal(got, piece) {
				t.Fatalf("window %d: %d bytes came back as %d", bits, len(piece), len(got))
			}
			z = z[len(one):]
		}
		if len(z) != 0 {
			t.Errorf("window %d: %d bytes left", bits, len(z))
		}
	}
}

func TestAppendDeflatedFrame(t *testing.T) {
	for _, n := range []int{0, 100, 200, 70_000} {
		payload := noise(n)
		f := AppendDeflatedFrame([]byte("before"), OpBinary, payload, 15)
		d := Decoder{Client: true, Deflate: true}
		ev, rest, err := d.Next(f[6:])
		if err != nil || len(rest) != 0 || ev.Opcode != OpBinary || !bytes.Equal(ev.Payload, payload) {
			t.Errorf("%d bytes: %v, %d bytes, %v", n, ev.Opcode, len(ev.Payload), err)
		}
		if !bytes.HasPrefix(f, []byte("before\xc2")) {
			t.Errorf("%d bytes: begins % x", n, f[:8])
		}
	}
}

// The pools are shared by every connection.
func TestDeflateConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			payload := bytes.Repeat([]byte{byte('a' + g)}, 1000*g)
			d := Decoder{Client: true, Deflate: true}
			for range 50 {
				ev, _, err := d.Next(AppendDeflatedFrame(nil, OpText, payload, 15))
				if err != nil || !bytes.Equal(ev.Payload, payload) {
					t.Errorf("goroutine %d: %d bytes, %v", g, len(ev.Payload), err)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzDeflate: what is compressed here, in any window, is read back here.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("hello hello hello"), 15, 3)
	f.Add(bytes.Repeat([]byte("abcd"), 200), 8, 100)
	f.Add([]byte{}, 9, 0)
	f.Fuzz(func(t *testing.T, payload []byte, bits, cut int) {
		z := AppendDeflated(nil, payload, bits)
		if got := inflateAll(t, z); !bytes.Equal(got, payload) {
			t.Fatalf("compress/flate: %q, want %q", got, payload)
		}
		d := Decoder{Client: true, Deflate: true}
		b := AppendDeflatedFrame(nil, OpBinary, payload, bits)
		ev, _, err := d.Next(b)
		if err != nil || !bytes.Equal(ev.Payload, payload) {
			t.Fatalf("%q, %v, want %q", ev.Payload, err, payload)
		}
		cut = int(uint(cut) % uint(len(payload)+1))
		id := payload[:min(cut, 20)]
		tmpl := NewDeflatedTemplate(OpBinary, payload[:cut], payload[cut:], bits)
		b, _ = tmpl.Append(nil, id)
		ev, _, err = d.Next(b)
		want := string(payload[:cut]) + string(id) + string(payload[cut:])
		if err != nil || string(ev.Payload) != want {
			t.Fatalf("template: %q, %v, want %q", ev.Payload, err, want)
		}
	})
}

func BenchmarkAppendDeflated(b *testing.B) {
	payload := []byte(strings.Repeat(`{"system_id":"shop","client_id":"104","msg":"发送消息成功","data":{"price":17.25}}`, 10))
	buf := make([]byte, 0, 4096)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendDeflated(buf[:0], payload, MaxWindowBits)
	}
	b.ReportMetric(float64(len(buf))/float64(len(payload)), "ratio")
}
