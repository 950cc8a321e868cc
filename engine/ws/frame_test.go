package ws

import (
	"bytes"
	"testing"
)

func TestAppendHeader(t *testing.T) {
	tests := []struct {
		op        Opcode
		fin, rsv1 bool
		n         int
		want      []byte
	}{
		{OpText, true, false, 0, []byte{0x81, 0}},
		{OpText, false, true, 1, []byte{0x41, 1}},
		{OpContinuation, true, false, 125, []byte{0x80, 125}},
		{OpBinary, true, false, 126, []byte{0x82, 126, 0, 126}},
		{OpBinary, true, false, 0xFFFF, []byte{0x82, 126, 0xFF, 0xFF}},
		{OpBinary, true, true, 0x10000, []byte{0xC2, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{OpBinary, true, false, 1 << 40, []byte{0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0}},
		{OpClose, true, false, 2, []byte{0x88, 2}},
		{OpPing, true, false, 0, []byte{0x89, 0}},
		{OpPong, true, false, 0, []byte{0x8A, 0}},
	}
	for _, tt := range tests {
		got := AppendHeader([]byte{7}, tt.op, tt.fin, tt.rsv1, tt.n)
		if want := append([]byte{7}, tt.want...); !bytes.Equal(got, want) {
			t.Errorf("AppendHeader(%v, %v, %v, %d) = % x, want % x", tt.op, tt.fin, tt.rsv1, tt.n, got, want)
		}
		if got := HeaderLen(tt.n); got != len(tt.want) {
			t.Errorf("HeaderLen(%d) = %d, want %d", tt.n, got, len(tt.want))
		}
	}
}

// The examples of RFC 6455 section 5.7.
func TestAppendFrame(t *testing.T) {
	if got, want := AppendFrame(nil, OpText, []byte("Hello")), "\x81\x05Hello"; string(got) != want {
		t.Errorf("AppendFrame = %q, want %q", got, want)
	}
	payload := []byte("Hello")
	got := AppendMaskedFrame([]byte("before"), OpText, [4]byte{0x37, 0xfa, 0x21, 0x3d}, payload)
	want := "before\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
	if string(got) != want {
		t.Errorf("AppendMaskedFrame = %q, want %q", got, want)
	}
	if string(payload) != "Hello" {
		t.Errorf("AppendMaskedFrame changed the payload to %q", payload)
	}
}

func TestOpcode(t *testing.T) {
	names := map[Opcode]string{0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
	for op := range Opcode(16) {
		want, known := names[op]
		if !known {
			want = "reserved"
		}
		if op.String() != want || op.known() != known || op.IsControl() != (op >= 8) {
			t.Errorf("opcode %d: %q, known %v, control %v", op, op, op.known(), op.IsControl())
		}
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	payload, buf := make([]byte, 512), make([]byte, 0, 1024)
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		buf = AppendFrame(buf[:0], OpText, payload)
	}
}

func BenchmarkAppendMaskedFrame(b *testing.B) {
	payload, buf := make([]byte, 512), make([]byte, 0, 1024)
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		buf = AppendMaskedFrame(buf[:0], OpText, [4]byte{1, 2, 3, 4}, payload)
	}
}
