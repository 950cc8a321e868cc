package main

import (
	"errors"
	"testing"
)

// An inflater decodes DEFLATE (RFC 1951) bit by bit. Unlike the one of the standard
// library it tells how far back the data refers, which is what a window limits.
type inflater struct {
	in       []byte
	held     uint // bits taken from in and not used, lowest first
	count    uint // of them
	out      []byte
	farthest int // longest distance
}

var errInflate = errors.New("bad DEFLATE data")

// inflate decodes the payload of a compressed message (RFC 7692 section 7.2.2).
func inflate(payload string) (f *inflater, err error) {
	f = &inflater{in: append([]byte(payload), 0, 0, 0xFF, 0xFF)}
	defer func() {
		switch r := recover(); r {
		case nil:
		case errInflate:
			err = errInflate
		default:
			panic(r)
		}
	}()
	for final := false; !final && len(f.in) > 0; {
		final = f.bits(1) == 1
		switch f.bits(2) {
		case 0:
			f.stored()
		case 1:
			f.compressed(fixedLengths, fixedDistances)
		case 2:
			f.compressed(f.dynamicCodes())
		default:
			panic(errInflate)
		}
	}
	return f, nil
}

// bits takes a number of n bits.
func (f *inflater) bits(n uint) int {
	for f.count < n {
		if len(f.in) == 0 {
			panic(errInflate)
		}
		f.held |= uint(f.in[0]) << f.count
		f.in, f.count = f.in[1:], f.count+8
	}
	v := f.held & (1<<n - 1)
	f.held, f.count = f.held>>n, f.count-n
	return int(v)
}

func (f *inflater) stored() {
	f.held, f.count = 0, 0 // no more than a part of a byte is held here
	n := f.bits(16)
	if f.bits(16) != n^0xFFFF || n > len(f.in) {
		panic(errInflate)
	}
	f.out, f.in = append(f.out, f.in[:n]...), f.in[n:]
}

// A code is a canonical Huffman code: how many symbols have each length, and the
// symbols in the order of their codes.
type code struct {
	counts  [16]int
	symbols []int
}

func newCode(lengths []int) (c code) {
	for n := 1; n < 16; n++ {
		for symbol, length := range lengths {
			if length == n {
				c.counts[n]++
				c.symbols = append(c.symbols, symbol)
			}
		}
	}
	return c
}

func (f *inflater) symbol(c code) int {
	value, first, index := 0, 0, 0
	for n := 1; n < 16; n++ {
		value |= f.bits(1)
		if value-first < c.counts[n] {
			return c.symbols[index+value-first]
		}
		index += c.counts[n]
		first = (first + c.counts[n]) << 1
		value <<= 1
	}
	panic(errInflate)
}

var fixedLengths, fixedDistances = func() (code, code) {
	var lengths [288]int
	for i := range lengths {
		lengths[i] = 8
		if i >= 144 && i < 256 {
			lengths[i] = 9
		} else if i >= 256 && i < 280 {
			lengths[i] = 7
		}
	}
	distances := make([]int, 30)
	for i := range distances {
		distances[i] = 5
	}
	return newCode(lengths[:]), newCode(distances)
}()

func (f *inflater) dynamicCodes() (lengths, distances code) {
	nLengths, nDistances, nCodes := 257+f.bits(5), 1+f.bits(5), 4+f.bits(4)
	var ofCodes [19]int
	order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for _, at := range order[:nCodes] {
		ofCodes[at] = f.bits(3)
	}
	codes := newCode(ofCodes[:])
	var all []int
	for len(all) < nLengths+nDistances {
		symbol, repeat, value := f.symbol(codes), 1, 0
		switch {
		case symbol < 16:
			value = symbol
		case symbol == 16 && len(all) > 0:
			value, repeat = all[len(all)-1], 3+f.bits(2)
		case symbol == 17:
			repeat = 3 + f.bits(3)
		case symbol == 18:
			repeat = 11 + f.bits(7)
		default:
			panic(errInflate)
		}
		for range repeat {
			all = append(all, value)
		}
	}
	return newCode(all[:nLengths]), newCode(all[nLengths : nLengths+nDistances])
}

func (f *inflater) compressed(lengths, distances code) {
	for {
		symbol := f.symbol(lengths)
		switch {
		case symbol < 256:
			f.out = append(f.out, byte(symbol))
			continue
		case symbol == 256:
			return
		}
		length := 258 // of symbol 285
		if symbol < 285 {
			length = f.extra(symbol-257, 4) + 3
		}
		distance := f.extra(f.symbol(distances), 2) + 1
		if distance > len(f.out) {
			panic(errInflate)
		}
		f.farthest = max(f.farthest, distance)
		for range length {
			f.out = append(f.out, f.out[len(f.out)-distance])
		}
	}
}

// extra is the value of a length or distance symbol. They come in steps, of 4 or 2
// symbols each, and each step has one more extra bit than the one before.
func (f *inflater) extra(symbol, step int) int {
	if symbol < 2*step {
		return symbol
	}
	n := uint(symbol/step - 1)
	return (step+symbol%step)<<n + f.bits(n)
}

// The decoder is itself right: RFC 7692 section 7.2.3 has the first examples.
func TestInflater(t *testing.T) {
	for _, tt := range []struct {
		payload, want string
		farthest      int
	}{
		{"\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello", 0},
		{"\x00\x05\x00\xfa\xffHello\x00", "Hello", 0},
		{"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello", 0},
		{"\x00", "", 0},
	} {
		if f, err := inflate(tt.payload); err != nil || string(f.out) != tt.want || f.farthest != tt.farthest {
			t.Errorf("%x: %q, farthest %d, %v", tt.payload, f.out, f.farthest, err)
		}
	}
	for _, size := range []int{10, 1000, 100_000} {
		for _, level := range []int{-2, 0, 1, 6, 9} {
			text := manyText(size) + manyBytes(20_000)
			text += text[:100] // as far back as can be
			f, err := inflate(deflate(t, text, level))
			if err != nil || string(f.out) != text {
				t.Errorf("%d bytes at level %d: %d bytes, %v", len(text), level, len(f.out), err)
			}
			if level == 9 && size == 10 && f.farthest != len(text)-100 {
				t.Errorf("farthest %d, want %d", f.farthest, len(text)-100)
			}
		}
	}
	if _, err := inflate("\xf2\x00\x11\x00\x00"); err != errInflate {
		t.Errorf("a reference to before the beginning: %v", err)
	}
}
