package ws

import (
	"encoding/binary"
	"math/bits"
)

// mask applies the masking of RFC 6455 section 5.3 to b in place and returns
// the key for the bytes that follow. key holds the four octets of the wire in
// little-endian order, whatever the machine's own: its lowest byte meets b[0].
// Applying it twice restores b.
func mask(b []byte, key uint32) uint32 {
	wide := uint64(key)<<32 | uint64(key)
	// Four words a turn: one alone is bound by the loop, not by memory.
	for len(b) >= 32 {
		w := b[:32]
		binary.LittleEndian.PutUint64(w[0:], binary.LittleEndian.Uint64(w[0:])^wide)
		binary.LittleEndian.PutUint64(w[8:], binary.LittleEndian.Uint64(w[8:])^wide)
		binary.LittleEndian.PutUint64(w[16:], binary.LittleEndian.Uint64(w[16:])^wide)
		binary.LittleEndian.PutUint64(w[24:], binary.LittleEndian.Uint64(w[24:])^wide)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return key
}
