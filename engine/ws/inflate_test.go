package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The first bytes of frames of compressed messages.
const (
	zText  = 0xC1 // whole
	zFirst = 0x41 // first fragment
)

// deflateStream is a stream by compress/flate: whole, with a final block, or
// flushed and without the tail, as a message is.
func deflateStream(t testing.TB, payload string, final bool) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, payload); err != nil {
		t.Fatal(err)
	}
	if final {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

func TestDecoderDeflate(t *testing.T) {
	long := strings.Repeat("long text, 世界 ", 5000)
	zLong := deflateStream(t, long, false)
	// A final block that ends with its byte, then the byte of the next one.
	finals := deflateStream(t, "one ", true) + deflateStream(t, "two", true) + "\x00"
	// RFC 7692 section 7.2.3.
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	tests := []struct {
		name string
		in   string
		want []string
		err  error
	}{
		{"RFC: one block", frame(zText, hello), []string{`text "Hello"`}, nil},
		{"RFC: two fragments", frame(zFirst, hello[:3]) + frame(0x80, hello[3:]), []string{`text "Hello"`}, nil},
		{"RFC: stored", frame(zText, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), []string{`text "Hello"`}, nil},
		{"RFC: final", frame(zText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []string{`text "Hello"`}, nil},
		{"RFC: two blocks", frame(zText, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), []string{`text "Hello"`}, nil},
		{"RFC: empty", frame(zText, "\x00"), []string{`text ""`}, nil},
		{"no bytes", frame(zText, ""), []string{`text ""`}, nil},
		{"no bytes in fragments", frame(zFirst, "") + frame(0x00, "") + frame(0x80, ""), []string{`text ""`}, nil},
		{"final without what follows", frame(zText, deflateStream(t, "Hello", true)), []string{`text "Hello"`}, nil},
		{"several final", frame(zText, finals), []string{`text "one two"`}, nil},
		{"long", frame(zText, zLong), []string{fmt.Sprintf("text %q", long)}, nil},
		{"fragments and pings", frame(zFirst, zLong[:50]) + frame(0x89, "p") + frame(0x00, zLong[50:90]) + frame(0x80, zLong[90:]),
			[]string{`ping "p"`, fmt.Sprintf("text %q", long)}, nil},
		{"between uncompressed ones", frame(0x81, "a") + frame(zText, hello) + frame(0x82, "b"), []string{`text "a"`, `text "Hello"`, `binary "b"`}, nil},
		{"no context takeover", frame(zText, hello) + frame(zText, hello), []string{`text "Hello"`, `text "Hello"`}, nil},
		{"binary", frame(0xC2, deflateStream(t, "\xff\xfe", false)), []string{`binary "\xff\xfe"`}, nil},

		{"RSV1 on continuation", frame(zFirst, hello[:3]) + frame(0xC0, hello[3:]), nil, ErrReservedBits},
		{"RSV1 on unfinished continuation", frame(zFirst, hello[:3]) + frame(0x40, ""), nil, ErrReservedBits},
		{"RSV1 on ping", frame(0xC9, ""), nil, ErrReservedBits},
		{"RSV1 on close", frame(0xC8, ""), nil, ErrReservedBits},
		{"RSV2", frame(0xE1, hello), nil, ErrReservedBits},
		{"not deflate", frame(zText, "\xff\xff\xff"), nil, ErrDeflate},
		{"cut short", frame(0xC2, zLong[:len(zLong)/2]), nil, ErrDeflate},
		{"garbage after final", frame(zText, deflateStream(t, "Hello", true)+"\xff"), nil, ErrDeflate},
		{"context takeover", frame(zText, hello) + frame(zText, "\xf2\x00\x11\x00\x00"), []string{`text "Hello"`}, ErrDeflate},
		{"not UTF-8", frame(zText, deflateStream(t, "a\xff", false)), nil, ErrText},
		{"ends in a character", frame(zText, deflateStream(t, "a\xe4\xb8", false)), nil, ErrText},
		{"close behind", frame(zText, hello) + frame(0x88, "\x03\xe8"), []string{`text "Hello"`, `close 1000 ""`}, nil},
	}
	for _, tt := range tests {
		for _, cut := range []string{"whole", "octets"} {
			chunks := [][]byte{[]byte(tt.in)}
			if cut == "octets" {
				chunks = octets([]byte(tt.in))
			}
			d := Decoder{Deflate: true}
			got, err := run(&d, chunks...)
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%s, %s: %.200q, %v; want %.200q, %v", tt.name, cut, got, err, tt.want, tt.err)
			}
		}
	}
}

func TestDecoderDeflateLimit(t *testing.T) {
	const limit = 100_000
	full := strings.Repeat("x", limit)
	noise := string(noise(limit))
	zNoise := deflateStream(t, noise, false) // longer than the limit
	tests := []struct {
		name string
		in   string
		err  error
	}{
		{"at the limit", frame(zText, deflateStream(t, full, false)), nil},
		{"over it by one", frame(zText, deflateStream(t, full+"x", false)), ErrTooBig},
		{"over it by one, with a bad byte there", frame(zText, deflateStream(t, full+"\xff", false)), ErrText},
		{"over it, with a bad byte later", frame(zText, deflateStream(t, full+"xx\xff", false)), ErrTooBig},
		{"incompressible at the limit", frame(0xC2, zNoise), nil},
		{"incompressible in fragments", frame(0x42, zNoise[:1000]) + frame(0x80, zNoise[1000:]), nil},
		{"incompressible over it", frame(0xC2, deflateStream(t, noise+"x", false)), ErrTooBig},
		{"header far over it", "\xc2\xff\x00\x00\x00\x00\x00\x10\x00\x00", ErrTooBig},
	}
	for _, tt := range tests {
		d := Decoder{Deflate: true, MaxMessage: limit}
		for _, kept := range []int{0, 1000, 2 * limit} {
			d.Reset()
			d.inflated = make([]byte, 0, kept)
			if _, err := run(&d, []byte(tt.in)); !errors.Is(err, tt.err) {
				t.Errorf("%s, %d bytes kept: %v, want %v", tt.name, kept, err, tt.err)
			}
		}
	}
}

// The largest limit there is does not overflow.
func TestDecoderNoLimit(t *testing.T) {
	for _, limit := range []int64{math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 2, math.MaxInt64/9*8 + 1} {
		d := Decoder{Deflate: true, MaxMessage: limit}
		in := frame(0x81, "a") + frame(zText, "\xf2\x48\xcd\xc9\xc9\x07\x00") + frame(0x01, "b") + frame(0x80, "c")
		got, err := run(&d, []byte(in))
		if want := []string{`text "a"`, `text "Hello"`, `text "bc"`}; err != nil || !slices.Equal(got, want) {
			t.Errorf("limit %d: %q, %v, want %q", limit, got, err, want)
		}
	}
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	b, x := make([]byte, n), uint64(1)
	for i := range b {
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = byte(x >> 56)
	}
	return b
}

// A bomb of 1 MB that holds 1 GB costs the limit, not what it holds.
func TestDecoderDeflateBomb(t *testing.T) {
	var bomb bytes.Buffer
	w, err := flate.NewWriter(&bomb, 1)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 1 << 10 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	in := AppendMaskedFrame(nil, OpBinary, testKey, bomb.Bytes())
	in[0] |= rsv1Bit
	d := Decoder{Deflate: true, MaxMessage: 5_000_000}

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = d.Next(in)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrTooBig) {
		t.Errorf("%d bytes that hold 1 GB: %v, want %v", bomb.Len(), err, ErrTooBig)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 3*uint64(d.MaxMessage) {
		t.Errorf("allocated %d bytes, limit %d", got, d.MaxMessage)
	}
	if int64(cap(d.inflated)) > d.MaxMessage+1 {
		t.Errorf("a buffer of %d bytes, limit %d", cap(d.inflated), d.MaxMessage)
	}
	if d.Reset(); cap(d.inflated) > maxKept {
		t.Errorf("Reset kept %d bytes", cap(d.inflated))
	}
}

// FuzzInflate: hostile data ends in a message within the limit or in an error,
// the same wherever it is cut, and is what compress/flate makes of it.
func FuzzInflate(f *testing.F) {
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"), []byte{1}, true)
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []byte{6}, true)
	f.Add([]byte("\x00\x04\x00\xfb\xff"), []byte{2}, false)
	f.Add([]byte("\x00\x09\x00\xf6\xff"), []byte{2}, false)
	f.Add([]byte(deflateStream(f, strings.Repeat("a", 5000), false)), []byte{3, 3}, false)
	f.Add([]byte{}, []byte{}, true)
	f.Fuzz(func(t *testing.T, z, at []byte, text bool) {
		const limit = 4000
		op := OpBinary
		if text {
			op = OpText
		}
		var in []byte
		first := byte(rsv1Bit) | byte(op)
		for _, part := range cuts(z, at) {
			in = append(in, frame(first, string(part))...)
			first = 0
		}
		in = append(in, frame(finBit|first, "")...)
		d := Decoder{Deflate: true, MaxMessage: limit}
		split, splitErr := run(&d, octets(in)...)

		d.Reset()
		ev, _, err := d.Next([]byte(frame(finBit|rsv1Bit|byte(op), string(z))))
		if err != splitErr || err == nil && len(split) != 1 {
			t.Fatalf("%v, in fragments %v", err, splitErr)
		}
		if err != nil {
			if !errors.Is(err, ErrDeflate) && !errors.Is(err, ErrTooBig) && !errors.Is(err, ErrText) {
				t.Fatal(err)
			}
			return
		}
		got := string(ev.Payload)
		if want := fmt.Sprintf("%v %q", op, got); split[0] != want {
			t.Fatalf("%s, in fragments %s", want, split[0])
		}
		if len(got) > limit {
			t.Fatalf("%d bytes, over %d", len(got), limit)
		}
		// It may be more than one stream; the first is compress/flate's own.
		want, _ := io.ReadAll(io.LimitReader(flate.NewReader(strings.NewReader(string(z)+deflateTail)), limit))
		if !strings.HasPrefix(got, string(want)) {
			t.Fatalf("%q, compress/flate has %q", got, want)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	payload := strings.Repeat(`{"system_id":"shop","client_id":"104","msg":"发送消息成功","data":{"price":17.25}}`, 10)
	in := []byte(frame(zText, deflateStream(b, payload, false)))
	work := make([]byte, len(in))
	d := Decoder{Deflate: true}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		copy(work, in)
		if ev, _, err := d.Next(work); err != nil || len(ev.Payload) != len(payload) {
			b.Fatal(err)
		}
	}
}
