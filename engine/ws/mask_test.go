package ws

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"testing"
)

// maskPlain is RFC 6455 section 5.3 word for word.
func maskPlain(b []byte, key [4]byte, pos int) {
	for i := range b {
		b[i] ^= key[(pos+i)%4]
	}
}

func FuzzMask(f *testing.F) {
	f.Add([]byte("Hello, and a text of more than thirty-two bytes"), uint32(0x3d21fa37), 5)
	f.Add([]byte{}, uint32(1), 0)
	f.Fuzz(func(t *testing.T, b []byte, key uint32, cut int) {
		cut = int(uint(cut) % uint(len(b)+1))
		var octets [4]byte
		binary.LittleEndian.PutUint32(octets[:], key)
		want := bytes.Clone(b)
		maskPlain(want, octets, 0)
		got := append(make([]byte, 0, len(b)+1), b...)
		next := mask(got[cut:], mask(got[:cut], key))
		if !bytes.Equal(got, want) {
			t.Fatalf("key %x cut at %d: % x, want % x", octets, cut, got, want)
		}
		more, wantMore := []byte{0}, []byte{0}
		mask(more, next)
		if maskPlain(wantMore, octets, len(b)); more[0] != wantMore[0] {
			t.Fatalf("key after %d bytes: %x, want %x", len(b), more, wantMore)
		}
	})
}

func BenchmarkMask(b *testing.B) {
	for _, n := range []int{16, 125, 1 << 10, 32 << 10} {
		buf := make([]byte, n)
		b.Run("words/"+strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				mask(buf, 0x3d21fa37)
			}
		})
		b.Run("bytes/"+strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				maskPlain(buf, [4]byte{0x37, 0xfa, 0x21, 0x3d}, 0)
			}
		})
	}
}
