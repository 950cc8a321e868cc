package ws

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// run feeds the chunks to d the way a connection does: each in a buffer that is
// overwritten when its call is over. It returns the events as text, and the error.
func run(d *Decoder, chunks ...[]byte) (events []string, err error) { return runSkim(d, -1, chunks...) }

// runSkim is run that skims from when so many events have come, -1 for never.
func runSkim(d *Decoder, skim int, chunks ...[]byte) (events []string, err error) {
	for _, chunk := range chunks {
		in := bytes.Clone(chunk)
		rest := in
		for {
			var ev Event
			d.Frames, d.Skim = 0, skim >= 0 && len(events) >= skim
			if ev, rest, err = d.Next(rest); err != nil {
				return events, err
			}
			if d.MaxFrames > 0 && d.Frames > d.MaxFrames {
				return events, fmt.Errorf("%d frames in one call", d.Frames)
			}
			if ev.Kind == Paused && (d.MaxFrames == 0 || d.Frames < d.MaxFrames || len(rest) == 0) {
				return events, fmt.Errorf("paused after %d frames, %d bytes before the end", d.Frames, len(rest))
			}
			if ev.Kind == None {
				break
			}
			switch ev.Kind {
			case Message:
				events = append(events, fmt.Sprintf("%v %q", ev.Opcode, ev.Payload))
			case Ping:
				events = append(events, fmt.Sprintf("ping %q", ev.Payload))
			case Pong:
				events = append(events, fmt.Sprintf("pong %q", ev.Payload))
			case Close:
				events = append(events, fmt.Sprintf("close %d %q", ev.Code, ev.Reason))
			}
			for i := range ev.Payload {
				ev.Payload[i] = 0xA5 // it is the caller's to change
			}
		}
		if len(rest) != 0 {
			return events, fmt.Errorf("%d bytes left without an event", len(rest))
		}
		for i := range in {
			in[i] = 0x5A // the poller's next read
		}
	}
	return events, nil
}

// octets cuts b into single bytes.
func octets(b []byte) [][]byte { return slices.Collect(slices.Chunk(b, 1)) }

// testKey masks the frames of the tests.
var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// frame is one masked frame with any first byte.
func frame(first byte, payload string) string {
	b := AppendMaskedFrame(nil, OpText, testKey, []byte(payload))
	b[0] = first
	return string(b)
}

func TestDecoder(t *testing.T) {
	const (
		fin  = 0x80
		text = 0x01
		bin  = 0x02
		clos = 0x88
		ping = 0x89
		pong = 0x8A
	)
	long := strings.Repeat("long ", 20_000) // a 64-bit length
	tests := []struct {
		name string
		in   string
		want []string
		err  error
	}{
		{"nothing", "", nil, nil},
		{"text", frame(fin|text, "Hello"), []string{`text "Hello"`}, nil},
		{"binary", frame(fin|bin, "\xff\x00"), []string{`binary "\xff\x00"`}, nil},
		{"empty text", frame(fin|text, ""), []string{`text ""`}, nil},
		{"empty binary", frame(fin|bin, ""), []string{`binary ""`}, nil},
		{"16-bit length", frame(fin|text, long[:300]), []string{fmt.Sprintf("text %q", long[:300])}, nil},
		{"64-bit length", frame(fin|text, long), []string{fmt.Sprintf("text %q", long)}, nil},
		{"two messages", frame(fin|text, "a") + frame(fin|bin, "b"), []string{`text "a"`, `binary "b"`}, nil},
		{"fragments", frame(text, "a") + frame(0, "b") + frame(fin, "c"), []string{`text "abc"`}, nil},
		{"empty fragments", frame(text, "") + frame(0, "") + frame(fin, ""), []string{`text ""`}, nil},
		{"empty first fragment", frame(bin, "") + frame(fin, "c"), []string{`binary "c"`}, nil},
		{"two fragmented messages", frame(text, "a") + frame(fin, "b") + frame(bin, "c") + frame(fin, "d"),
			[]string{`text "ab"`, `binary "cd"`}, nil},
		{"character across fragments", frame(text, "\xe4\xb8") + frame(0, "\x96\xf0") + frame(fin, "\x9f\x8c\x8d"),
			[]string{`text "世🌍"`}, nil},
		{"control frames", frame(ping, "") + frame(ping, "p") + frame(pong, "q"), []string{`ping ""`, `ping "p"`, `pong "q"`}, nil},
		{"control frames of two bytes", frame(ping, "12") + frame(ping, "34"), []string{`ping "12"`, `ping "34"`}, nil},
		{"longest control frame", frame(ping, long[:125]), []string{fmt.Sprintf("ping %q", long[:125])}, nil},
		{"control frames between fragments", frame(text, "a") + frame(ping, "1") + frame(0, "b") + frame(pong, "2") + frame(ping, "3") + frame(fin, "c"),
			[]string{`ping "1"`, `pong "2"`, `ping "3"`, `text "abc"`}, nil},
		{"mask of zeros", "\x81\x82\x00\x00\x00\x00hi", []string{`text "hi"`}, nil},

		{"close", frame(clos, "\x03\xe8bye"), []string{`close 1000 "bye"`}, nil},
		{"close without a reason", frame(clos, "\x0b\xb8"), []string{`close 3000 ""`}, nil},
		{"close without a code", frame(clos, ""), []string{`close 1005 ""`}, nil},
		{"close inside a message", frame(text, "a") + frame(clos, "\x03\xe8"), []string{`close 1000 ""`}, nil},
		{"message after close", frame(clos, "\x03\xe8") + frame(fin|text, "a"), []string{`close 1000 ""`}, nil},
		{"garbage after close", frame(clos, "\x03\xe8") + "\xff\xff", []string{`close 1000 ""`}, nil},
		{"close with half a code", frame(clos, "\x03"), nil, ErrCloseLength},
		{"close with code 0", frame(clos, "\x00\x00"), nil, ErrCloseCode},
		{"close with code 999", frame(clos, "\x03\xe7"), nil, ErrCloseCode},
		{"close with code 1004", frame(clos, "\x03\xec"), nil, ErrCloseCode},
		{"close with code 1005", frame(clos, "\x03\xed"), nil, ErrCloseCode},
		{"close with code 1006", frame(clos, "\x03\xee"), nil, ErrCloseCode},
		{"close with code 1015", frame(clos, "\x03\xf7"), nil, ErrCloseCode},
		{"close with code 2999", frame(clos, "\x0b\xb7"), nil, ErrCloseCode},
		{"close with code 5000", frame(clos, "\x13\x88"), nil, ErrCloseCode},
		{"close with a bad reason", frame(clos, "\x03\xe8a\xff"), nil, ErrCloseReason},
		{"close with half a character", frame(clos, "\x03\xe8a\xe4\xb8"), nil, ErrCloseReason},

		{"RSV1", frame(0x40|fin|text, "a"), nil, ErrReservedBits},
		{"RSV2", frame(0x20|fin|text, "a"), nil, ErrReservedBits},
		{"RSV3", frame(0x10|fin|text, "a"), nil, ErrReservedBits},
		{"RSV1 on ping", frame(0x40|ping, "a"), nil, ErrReservedBits},
		{"RSV1 on continuation", frame(text, "a") + frame(0x40|fin, "a"), nil, ErrReservedBits},
		{"opcode 3", frame(fin|3, ""), nil, ErrReservedOpcode},
		{"opcode 7", frame(fin|7, ""), nil, ErrReservedOpcode},
		{"opcode 11", frame(fin|11, ""), nil, ErrReservedOpcode},
		{"opcode 15", frame(fin|15, ""), nil, ErrReservedOpcode},
		{"not masked", "\x81\x05Hello", nil, ErrUnmasked},
		{"ping not masked", "\x89\x00", nil, ErrUnmasked},
		{"ping in fragments", frame(0x09, "a"), nil, ErrControlFragmented},
		{"close in fragments", frame(0x08, "\x03\xe8"), nil, ErrControlFragmented},
		{"ping of 126 bytes", frame(ping, long[:126]), nil, ErrControlTooLong},
		{"ping with a 64-bit length", "\x89\xff", nil, ErrControlTooLong},
		{"continuation first", frame(fin, "a"), nil, ErrContinuation},
		{"unfinished continuation first", frame(0, "a"), nil, ErrContinuation},
		{"continuation after a message", frame(fin|text, "a") + frame(fin, "b"), []string{`text "a"`}, ErrContinuation},
		{"continuation after fragments", frame(text, "a") + frame(fin, "b") + frame(fin, "c"), []string{`text "ab"`}, ErrContinuation},
		{"message inside a message", frame(text, "a") + frame(fin|text, "b"), nil, ErrInterleaved},
		{"unfinished message inside a message", frame(text, "a") + frame(bin, "b"), nil, ErrInterleaved},
		{"16-bit length of 125", "\x81\xfe\x00\x7d", nil, ErrLength},
		{"16-bit length of 0", "\x81\xfe\x00\x00", nil, ErrLength},
		{"64-bit length of 65535", "\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff", nil, ErrLength},
		{"64-bit length of 0", "\x81\xff\x00\x00\x00\x00\x00\x00\x00\x00", nil, ErrLength},
		{"top bit of the length", "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01", nil, ErrLength},
		{"text not UTF-8", frame(fin|text, "a\xffb"), nil, ErrText},
		{"text ends in a character", frame(fin|text, "a\xe4\xb8"), nil, ErrText},
		{"fragments end in a character", frame(text, "a\xe4") + frame(fin, "\xb8"), nil, ErrText},
		{"empty last fragment in a character", frame(text, "\xe4") + frame(fin, ""), nil, ErrText},
		{"surrogate", frame(fin|text, "\xed\xa0\x80"), nil, ErrText},
		{"message before an error", frame(fin|text, "a") + frame(ping, "b") + frame(fin|3, ""), []string{`text "a"`, `ping "b"`}, ErrReservedOpcode},
	}
	for _, tt := range tests {
		for _, cut := range []string{"whole", "octets"} {
			chunks := [][]byte{[]byte(tt.in)}
			if cut == "octets" {
				chunks = octets([]byte(tt.in))
			}
			var d Decoder
			got, err := run(&d, chunks...)
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%s, %s: %.200q, %v; want %.200q, %v", tt.name, cut, got, err, tt.want, tt.err)
			}
			if err == nil {
				continue
			}
			if again, err2 := run(&d, []byte(frame(fin|text, "a"))); err2 != err || again != nil || d.Idle() {
				t.Errorf("%s, %s: after the error: %q, %v, idle %v", tt.name, cut, again, err2, d.Idle())
			}
		}
	}
}

// What is wrong is told at the byte that makes it so, and not one later.
func TestDecoderTellsEarly(t *testing.T) {
	tests := []struct {
		name string
		in   string // its last byte is the first that cannot be right
		err  error
	}{
		{"reserved bits", "\xf1", ErrReservedBits},
		{"reserved opcode", "\x83", ErrReservedOpcode},
		{"fragmented control frame", "\x09", ErrControlFragmented},
		{"continuation", "\x80", ErrContinuation},
		{"interleaved", frame(0x01, "a") + "\x81", ErrInterleaved},
		{"unmasked", "\x81\x05", ErrUnmasked},
		{"control frame too long", "\x89\xfe", ErrControlTooLong},
		{"close with half a code", "\x88\x81", ErrCloseLength},
		{"length not shortest", "\x82\xfe\x00\x7d", ErrLength},
		{"too big", "\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01", ErrTooBig},
		{"close code", "\x88\xfd\x00\x00\x00\x00\x03\xe7", ErrCloseCode},
		{"close reason", "\x88\xfd\x00\x00\x00\x00\x03\xe8a\xc0", ErrCloseReason},
		{"text", "\x81\xfd\x00\x00\x00\x00hello \xc0", ErrText},
		{"surrogate", "\x01\xfd\x00\x00\x00\x00\xed\xa0", ErrText},
		{"text in a later fragment", frame(0x01, "\xf4") + "\x80\xfd\x00\x00\x00\x00\x90", ErrText},
	}
	for _, tt := range tests {
		var d Decoder
		b := []byte(tt.in)
		if _, err := run(&d, b[:len(b)-1]); err != nil {
			t.Errorf("%s: refused before its last byte: %v", tt.name, err)
			continue
		}
		if _, err := run(&d, b[len(b)-1:]); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

func TestDecoderClient(t *testing.T) {
	d := Decoder{Client: true}
	got, err := run(&d, AppendFrame(nil, OpText, []byte("Hello")), AppendClose(nil, CloseNormal, "bye"))
	if want := []string{`text "Hello"`, `close 1000 "bye"`}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	d.Reset()
	if _, err := run(&d, []byte(frame(0x81, "a"))); !errors.Is(err, ErrMasked) {
		t.Errorf("masked frame: %v, want %v", err, ErrMasked)
	}
}

func TestDecoderMaxMessage(t *testing.T) {
	full := strings.Repeat("a", 10)
	tests := []struct {
		name string
		in   string
		want int // messages
		err  error
	}{
		{"at the limit", frame(0x81, full), 1, nil},
		{"each at the limit", frame(0x81, full) + frame(0x81, full), 2, nil},
		{"fragments at the limit", frame(0x01, full[:5]) + frame(0x80, full[5:]), 1, nil},
		{"fragments after a message", frame(0x81, full) + frame(0x01, full[:5]) + frame(0x80, full[5:]), 2, nil},
		{"fragments after fragments", frame(0x01, full[:5]) + frame(0x80, full[5:]) + frame(0x01, full[:5]) + frame(0x80, full[5:]), 2, nil},
		{"fragments over after a message", frame(0x81, full) + frame(0x01, full) + frame(0x80, "a"), 1, ErrTooBig},
		{"three fragments over", frame(0x01, full[:4]) + frame(0x00, full[:4]) + frame(0x80, full[:4]), 0, ErrTooBig},
		{"ping longer than the limit", frame(0x89, full+full), 1, nil},
		{"ping does not count", frame(0x01, full[:5]) + frame(0x89, full) + frame(0x80, full[5:]), 2, nil},
		{"over", frame(0x81, full+"a"), 0, ErrTooBig},
		{"fragments over", frame(0x01, full) + frame(0x80, "a"), 0, ErrTooBig},
		{"longest length", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 0, ErrTooBig},
		{"longest length of a fragment", frame(0x01, full) + "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 0, ErrTooBig},
		{"empty fragment at the limit", frame(0x01, full) + frame(0x80, ""), 1, nil},
	}
	for _, tt := range tests {
		d := Decoder{MaxMessage: 10}
		got, err := run(&d, []byte(tt.in))
		if len(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v, want %d events, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
	d := Decoder{}
	if _, err := run(&d, AppendMaskedFrame(nil, OpBinary, testKey, make([]byte, DefaultMaxMessage))); err != nil {
		t.Errorf("default limit: %v", err)
	}
}

func TestDecoderIdle(t *testing.T) {
	whole := frame(0x01, "ab") + frame(0x89, "c") + frame(0x80, "d")
	var d Decoder
	if !d.Idle() {
		t.Error("the zero Decoder is not idle")
	}
	for i, b := range octets([]byte(whole)) {
		if _, err := run(&d, b); err != nil {
			t.Fatal(err)
		}
		if last := i == len(whole)-1; d.Idle() != last {
			t.Errorf("after %d of %d bytes: Idle() = %v", i+1, len(whole), d.Idle())
		}
	}
	ping := []byte(frame(0x89, "abc"))
	if _, err := run(&d, ping[:len(ping)-1]); err != nil || d.Idle() {
		t.Errorf("inside a ping: %v, Idle() = %v", err, d.Idle())
	}
	if _, err := run(&d, ping[len(ping)-1:]); err != nil || !d.Idle() {
		t.Errorf("after a ping: %v, Idle() = %v", err, d.Idle())
	}
	if _, err := run(&d, []byte(frame(0x88, ""))); err != nil || d.Idle() {
		t.Errorf("after close: %v, Idle() = %v", err, d.Idle())
	}
	d.Reset()
	if got, err := run(&d, []byte(frame(0x81, "a"))); err != nil || len(got) != 1 || !d.Idle() {
		t.Errorf("after Reset: %q, %v, Idle() = %v", got, err, d.Idle())
	}
}

// A header that announces much costs no memory until it is sent, and Reset gives
// back what a long message took.
func TestDecoderMemory(t *testing.T) {
	d := Decoder{MaxMessage: 1 << 30}
	big := AppendMaskedFrame(nil, OpBinary, testKey, make([]byte, 1<<20))
	for sent := 0; sent < len(big)-1; {
		n := min(1000, len(big)-1-sent)
		if _, err := run(&d, big[sent:sent+n]); err != nil {
			t.Fatal(err)
		}
		if sent += n; cap(d.buf) > 2*sent {
			t.Fatalf("%d bytes received, %d kept", sent, cap(d.buf))
		}
	}
	if cap(d.buf) != 1<<20 {
		t.Errorf("%d bytes for a frame of %d", cap(d.buf), 1<<20)
	}
	d.Reset()
	if cap(d.buf) > maxKept || d.MaxMessage != 1<<30 {
		t.Errorf("Reset kept %d bytes, limit %d", cap(d.buf), d.MaxMessage)
	}
	if _, err := run(&d, []byte(frame(0x01, "a"))); err != nil {
		t.Fatal(err)
	}
	d.Reset()
	if cap(d.buf) == 0 {
		t.Error("Reset did not keep a small buffer")
	}
}

// A short message does not hold what a long one has left, and goes on after a Trim
// wherever that comes.
func TestDecoderTrim(t *testing.T) {
	d := Decoder{Deflate: true, MaxMessage: 64 << 10}
	long := AppendMaskedFrame(nil, OpBinary, testKey, make([]byte, 60_000))
	if _, err := run(&d, long[:50_000], long[50_000:], AppendDeflatedFrame(nil, OpText, bytes.Repeat([]byte("a"), 60_000), MaxWindowBits)); !errors.Is(err, ErrUnmasked) {
		t.Fatal(err)
	}
	d.Reset()
	if cap(d.buf) < 60_000 {
		t.Fatalf("%d bytes kept", cap(d.buf))
	}
	message := frame(0x01, "abc") + frame(0x89, "p") + frame(0x80, "def") + frame(0x82, "ghi")
	var got []string
	for i, b := range octets([]byte(message)) {
		events, err := run(&d, b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, events...)
		d.Trim()
		if n := d.Held(); n > minGrow {
			t.Fatalf("%d bytes are held after %d", n, i+1)
		}
	}
	if want := []string{`ping "p"`, `text "abcdef"`, `binary "ghi"`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A frame that is whole in the input is delivered there.
func TestDecoderInPlace(t *testing.T) {
	in := []byte(frame(0x89, "p") + frame(0x82, "Hello"))
	var d Decoder
	for rest := in; ; {
		var ev Event
		var err error
		if ev, rest, err = d.Next(rest); err != nil {
			t.Fatal(err)
		}
		if ev.Kind == None {
			break
		}
		if at := len(in) - len(rest) - len(ev.Payload); &ev.Payload[0] != &in[at] {
			t.Errorf("%q was copied", ev.Payload)
		}
	}
}

// cuts turns any bytes into places to cut b at.
func cuts(b, at []byte) [][]byte {
	var chunks [][]byte
	for _, n := range at {
		n := min(int(n), len(b))
		chunks = append(chunks, b[:n])
		b = b[n:]
	}
	return append(chunks, b)
}

// FuzzDecoder: any cut of the bytes gives the same events and the same error.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte(frame(0x01, "\xe4\xb8")+frame(0x89, "p")+frame(0x80, "\x96")+frame(0x88, "\x03\xe8bye")), []byte{3, 5, 7}, false, false)
	f.Add([]byte("\x01\x03abc\x89\x00\x80\x02de\x88\x00\x81\x00"), []byte{1, 1, 1, 1}, true, false)
	f.Add([]byte(frame(0x82, strings.Repeat("x", 300))+frame(0x83, "")), []byte{2, 1, 200}, false, true)
	f.Add([]byte("\x81\xfd\x00\x00\x00\x00hello \xc0"), []byte{9}, false, false)
	f.Add([]byte(frame(0x41, "\xf2\x48")+frame(0x89, "p")+frame(0x80, "\xcd\xc9\xc9\x07\x00")+frame(0x41, "")), []byte{2, 20}, false, true)
	f.Fuzz(func(t *testing.T, b, at []byte, client, deflate bool) {
		d := Decoder{Client: client, Deflate: deflate, MaxMessage: 1000}
		want, wantErr := run(&d, b)
		for _, chunks := range [][][]byte{cuts(b, at), octets(b)} {
			d := Decoder{Client: client, Deflate: deflate, MaxMessage: 1000}
			if got, err := run(&d, chunks...); !slices.Equal(got, want) || err != wantErr {
				t.Fatalf("cut: %q, %v; whole: %q, %v", got, err, want, wantErr)
			}
		}
		// Neither do pauses make a difference, nor where skimming begins but for what comes
		// behind that: the close frame, if there is one.
		var ends []string
		if n := len(want); n > 0 && strings.HasPrefix(want[n-1], "close ") {
			ends = want[n-1:]
		}
		for skim := -1; skim <= min(len(want), 3); skim++ {
			var first []string
			var firstErr error
			for i, chunks := range [][][]byte{{b}, cuts(b, at), octets(b), {b}, cuts(b, at)} {
				d := Decoder{Client: client, Deflate: deflate, MaxMessage: 1000, MaxFrames: i % 3}
				got, err := runSkim(&d, skim, chunks...)
				switch {
				case i == 0:
					first, firstErr = got, err
				case !slices.Equal(got, first) || err != firstErr:
					t.Fatalf("skimming from %d, cut %d: %q, %v; whole: %q, %v", skim, i, got, err, first, firstErr)
				}
			}
			if skim >= 0 && wantErr == nil && !slices.Equal(first, slices.Concat(want[:min(skim, len(want)-len(ends))], ends)) {
				t.Fatalf("skimming from %d: %q; all: %q", skim, first, want)
			}
			if skim < 0 && (!slices.Equal(first, want) || firstErr != wantErr) {
				t.Fatalf("with pauses: %q, %v; without: %q, %v", first, firstErr, want, wantErr)
			}
		}
		if pe, ok := wantErr.(ProtocolError); wantErr != nil && (!ok || !pe.Code.ValidOnWire()) {
			t.Fatalf("error %#v", wantErr)
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	for _, n := range []int{16, 125, 1 << 10, 16 << 10} {
		for _, op := range []Opcode{OpText, OpBinary} {
			payload := bytes.Repeat([]byte("a"), n)
			in := AppendMaskedFrame(nil, op, testKey, payload)
			work := make([]byte, len(in))
			b.Run(fmt.Sprintf("%v/%d", op, n), func(b *testing.B) {
				var d Decoder
				b.SetBytes(int64(len(in)))
				b.ReportAllocs()
				for b.Loop() {
					copy(work, in) // Next unmasks it
					if ev, _, err := d.Next(work); err != nil || ev.Kind != Message {
						b.Fatal(ev, err)
					}
				}
			})
		}
	}
}
