package ws

import "encoding/binary"

// A utf8State checks a text that arrives in pieces. It holds the position inside
// an unfinished character between two calls; utf8Start is a boundary between
// characters.
//
// It is an automaton over bytes with one row of utf8Rows for each byte value. A
// row is a word that packs the next state of every state, six bits each, and a
// state is the shift that finds its own entry: a step is one load and one shift,
// with no branch to mispredict on mixed text.
type utf8State uint8

// States, each a multiple of six so that it is a shift into a row.
const (
	utf8Invalid utf8State = iota * 6 // sticky
	utf8Start                        // between characters
	utf8Tail1                        // one continuation byte to come
	utf8Tail2                        // two
	utf8Tail3                        // three
	utf8AfterE0                      // first of two, A0-BF: no overlong form
	utf8AfterED                      // first of two, 80-9F: no surrogate
	utf8AfterF0                      // first of three, 90-BF: no overlong form
	utf8AfterF4                      // first of three, 80-8F: at most U+10FFFF
)

// utf8Rows is built from the ranges of RFC 3629 section 4. An entry that no range
// names stays utf8Invalid, which is zero.
var utf8Rows = func() (rows [256]uint64) {
	add := func(from utf8State, lo, hi int, to utf8State) {
		for c := lo; c <= hi; c++ {
			rows[c] |= uint64(to) << from
		}
	}
	add(utf8Start, 0x00, 0x7F, utf8Start)
	add(utf8Start, 0xC2, 0xDF, utf8Tail1)
	add(utf8Start, 0xE0, 0xE0, utf8AfterE0)
	add(utf8Start, 0xE1, 0xEC, utf8Tail2)
	add(utf8Start, 0xED, 0xED, utf8AfterED)
	add(utf8Start, 0xEE, 0xEF, utf8Tail2)
	add(utf8Start, 0xF0, 0xF0, utf8AfterF0)
	add(utf8Start, 0xF1, 0xF3, utf8Tail3)
	add(utf8Start, 0xF4, 0xF4, utf8AfterF4)
	add(utf8Tail1, 0x80, 0xBF, utf8Start)
	add(utf8Tail2, 0x80, 0xBF, utf8Tail1)
	add(utf8Tail3, 0x80, 0xBF, utf8Tail2)
	add(utf8AfterE0, 0xA0, 0xBF, utf8Tail1)
	add(utf8AfterED, 0x80, 0x9F, utf8Tail1)
	add(utf8AfterF0, 0x90, 0xBF, utf8Tail2)
	add(utf8AfterF4, 0x80, 0x8F, utf8Tail2)
	return rows
}()

// nonASCII has the bit set that no ASCII byte has, for eight bytes.
const nonASCII = 0x8080808080808080

// next returns the state after b. It is utf8Invalid as soon as b holds a byte
// that no continuation can make valid, and stays so.
func (s utf8State) next(b []byte) utf8State {
	for len(b) >= 8 {
		if s == utf8Start && binary.LittleEndian.Uint64(b)&nonASCII == 0 {
			b = skipASCII(b[8:])
			continue
		}
		// Written out: the steps depend on each other, the loads do not.
		w := b[:8]
		state := utf8Rows[w[0]] >> (s & 63)
		state = utf8Rows[w[1]] >> (state & 63)
		state = utf8Rows[w[2]] >> (state & 63)
		state = utf8Rows[w[3]] >> (state & 63)
		state = utf8Rows[w[4]] >> (state & 63)
		state = utf8Rows[w[5]] >> (state & 63)
		state = utf8Rows[w[6]] >> (state & 63)
		state = utf8Rows[w[7]] >> (state & 63)
		if s = utf8State(state & 63); s == utf8Invalid {
			return s
		}
		b = b[8:]
	}
	state := uint64(s)
	for _, c := range b {
		state = utf8Rows[c] >> (state & 63)
	}
	return utf8State(state & 63)
}

// skipASCII returns b without the words of eight ASCII bytes at its front.
func skipASCII(b []byte) []byte {
	for len(b) >= 32 {
		w := b[:32]
		if (binary.LittleEndian.Uint64(w)|binary.LittleEndian.Uint64(w[8:])|
			binary.LittleEndian.Uint64(w[16:])|binary.LittleEndian.Uint64(w[24:]))&nonASCII != 0 {
			break
		}
		b = b[32:]
	}
	for len(b) >= 8 && binary.LittleEndian.Uint64(b)&nonASCII == 0 {
		b = b[8:]
	}
	return b
}
