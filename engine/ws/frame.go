package ws

import "encoding/binary"

// An Opcode says what a frame carries (RFC 6455 section 5.2).
type Opcode uint8

// The opcodes RFC 6455 defines; 3-7 and 11-15 are reserved.
const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xA
)

// MaxControlPayload is the longest payload of a close, ping or pong frame, in
// bytes (RFC 6455 section 5.5).
const MaxControlPayload = 125

// maxHeaderLen is two bytes, eight of length and four of masking key.
const maxHeaderLen = 14

// Bits of the first two bytes of a frame.
const (
	finBit  = 0x80
	rsv1Bit = 0x40
	rsv2Bit = 0x20
	rsv3Bit = 0x10
	maskBit = 0x80
)

// Values of the 7-bit length that announce a longer one.
const (
	len16 = 126
	len64 = 127
)

// IsControl reports whether frames with this opcode are control frames, which
// may stand between the fragments of a message (RFC 6455 section 5.5).
func (op Opcode) IsControl() bool { return op&0x8 != 0 }

// known reports whether RFC 6455 defines op.
func (op Opcode) known() bool { return op <= OpBinary || op >= OpClose && op <= OpPong }

// String returns the opcode's name, for messages and tests.
func (op Opcode) String() string {
	switch op {
	case OpContinuation:
		return "continuation"
	case OpText:
		return "text"
	case OpBinary:
		return "binary"
	case OpClose:
		return "close"
	case OpPing:
		return "ping"
	case OpPong:
		return "pong"
	}
	return "reserved"
}

// HeaderLen returns the length in bytes of the header of an unmasked frame with
// n bytes of payload: 2, 4 or 10. A masked one has 4 more.
func HeaderLen(n int) int {
	switch {
	case n < len16:
		return 2
	case n <= 0xFFFF:
		return 4
	}
	return 10
}

// AppendHeader appends the header of an unmasked frame with n bytes of payload,
// its length in the shortest form (RFC 6455 section 5.2). rsv1 marks the first
// frame of a compressed message (RFC 7692 section 6).
func AppendHeader(dst []byte, op Opcode, fin, rsv1 bool, n int) []byte {
	return appendHeader(dst, op, fin, rsv1, n, 0)
}

// appendHeader is AppendHeader with the mask bit as given.
func appendHeader(dst []byte, op Opcode, fin, rsv1 bool, n int, mask byte) []byte {
	first := byte(op)
	if fin {
		first |= finBit
	}
	if rsv1 {
		first |= rsv1Bit
	}
	switch {
	case n < len16:
		return append(dst, first, mask|byte(n))
	case n <= 0xFFFF:
		return append(dst, first, mask|len16, byte(n>>8), byte(n))
	}
	dst = append(dst, first, mask|len64)
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}

// AppendFrame appends an unmasked frame that is a whole message or a control
// frame, as a server sends it. The caller keeps a control frame's payload within
// MaxControlPayload.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	return append(AppendHeader(dst, op, true, false, len(payload)), payload...)
}

// AppendMaskedFrame is AppendFrame as a client sends it: masked with key, which
// must be fresh and unpredictable for each frame outside of tests and load
// generators (RFC 6455 section 5.3). payload is not changed.
func AppendMaskedFrame(dst []byte, op Opcode, key [4]byte, payload []byte) []byte {
	dst = appendHeader(dst, op, true, false, len(payload), maskBit)
	dst = append(dst, key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:], binary.LittleEndian.Uint32(key[:]))
	return dst
}
