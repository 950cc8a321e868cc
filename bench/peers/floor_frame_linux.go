package main

import "encoding/binary"

// appendFrame appends an unmasked frame to dst.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// cutFrame unmasks data's first frame in place, if it is whole. A frame that can
// never be whole ends its connection by floorMaxPartial.
func cutFrame(data []byte) (opcode byte, payload, rest []byte, whole bool) {
	const header, mask = 2, 4
	if len(data) < header {
		return 0, nil, nil, false
	}
	opcode, n, at := data[0]&15, int(data[1]&127), header
	switch {
	case n == 126 && len(data) >= header+2:
		n, at = int(binary.BigEndian.Uint16(data[header:])), header+2
	case n >= 126:
		n, at = floorMaxPartial, header+8 // not read: it would be too long
	}
	if len(data) < at+mask+n {
		return 0, nil, nil, false
	}
	payload, rest = data[at+mask:at+mask+n], data[at+mask+n:]
	for i := range payload {
		payload[i] ^= data[at+i%mask]
	}
	return opcode, payload, rest, true
}
