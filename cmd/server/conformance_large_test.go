package main

import (
	"fmt"
	"strings"
	"testing"
)

// manyText is n bytes of characters of every length.
func manyText(n int) string {
	const unit = "Carillon\u00e9\u4e16\U0001F514" // 17 bytes
	return strings.Repeat("x", n%len(unit)) + strings.Repeat(unit, n/len(unit))
}

// manyBytes is n bytes that do not compress, the same for each n.
func manyBytes(n int) string {
	b, x := make([]byte, n), uint64(1)
	for i := range b {
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = byte(x >> 56)
	}
	return string(b)
}

// skipLong leaves out what takes longest.
func skipLong(t *testing.T, bytes int) {
	if !full() && bytes > 1<<20 {
		t.Skipf("only with TEST_FULL: a message of %d MiB takes up to a second", bytes>>20)
	}
}

func TestConformanceLarge(t *testing.T) {
	s := startEcho(t)
	p, _ := s.connect(t, "")
	defer p.bye()
	for kind, first := range []byte{textFrame, binFrame} {
		content := []func(int) string{manyText, manyBytes}[kind]
		run := func(name string, size, fragment, chop int) {
			t.Run(name, func(t *testing.T) {
				skipLong(t, size)
				p.t = t
				payload := content(size)
				p.writeChopped(fragments(first, payload, fragment), chop)
				if got, want := p.read(), (arrival{op: first & 0xF, payload: payload}); got != want {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
		for i, size := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
			run(fmt.Sprintf("9.%d.%d %d KiB", 1+kind, i+1, size>>10), size, size, 0)
		}
		for i, size := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
			run(fmt.Sprintf("9.%d.%d 4 MiB in fragments of %d bytes", 3+kind, i+1, size), 4<<20, size, 0)
		}
		for i, chop := range []int{64, 128, 256, 512, 1024, 2048} {
			run(fmt.Sprintf("9.%d.%d 1 MiB, %d bytes at a time", 5+kind, i+1, chop), 1<<20, 1<<20, chop)
		}
		run(fmt.Sprintf("10.1.%d 64 KiB in fragments of 1300 bytes", 1+kind), 64<<10, 1300, 0)
	}
	p.t = t
}

// 9.7 and 9.8: many messages, each echoed before the next is sent. The suite has
// 1000 of each size; a hundred find the same.
func TestConformanceManyMessages(t *testing.T) {
	p, _ := startEcho(t).connect(t, "")
	for _, size := range []int{0, 16, 64, 256, 1024, 4096} {
		for range 100 {
			p.write(frame(textFrame, manyText(size)) + frame(binFrame, manyBytes(size)))
			if got, want := p.read(), isText(manyText(size)); got != want {
				t.Fatalf("got %v, want %v", got, want)
			}
			if got, want := p.read(), isBinary(manyBytes(size)); got != want {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	}
	p.bye()
}
