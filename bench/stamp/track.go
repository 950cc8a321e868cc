package stamp

import "math/bits"

// A Verdict says how a message fits into its stream.
type Verdict uint8

// The verdicts.
const (
	InOrder    Verdict = iota // the next one, or one after a gap
	Reordered                 // it comes after a later one
	Duplicated                // it was there before
)

// windowBits is how far back a Track tells what was there from what was not.
const windowBits = 64

// A Track is what one receiver remembers of one stream, in 16 bytes. The zero
// Track expects a stream from its beginning.
type Track struct {
	next  uint32 // the sequence number after the highest seen
	holes uint32 // numbers below next that were not seen
	seen  uint64 // bit i: next-1-i was seen
}

// Start makes t expect the stream from seq on: its receiver came later.
func (t *Track) Start(seq uint32) { *t = Track{next: seq, seen: ^uint64(0)} }

// Next is the sequence number that comes after the highest seen.
func (t *Track) Next() uint32 { return t.next }

// Saw takes note of a message.
func (t *Track) Saw(seq uint32) Verdict {
	if seq >= t.next {
		step := seq - t.next + 1
		t.holes += step - 1
		if step >= windowBits {
			t.seen = 0
		} else {
			t.seen <<= step
		}
		t.seen |= 1
		t.next = seq + 1
		return InOrder
	}
	if age := t.next - 1 - seq; age < windowBits {
		if bit := uint64(1) << age; t.seen&bit == 0 {
			t.seen |= bit
			t.holes--
			return Reordered
		}
		return Duplicated
	}
	// Too long ago to know which one it was. It fills a hole that lies before the
	// window, if there is one.
	if t.holes > uint32(bits.OnesCount64(^t.seen)) { // the window is full: next > 64
		t.holes--
		return Reordered
	}
	return Duplicated
}

// Lost is how many messages are missing of a stream that had sent number total-1
// as its last, or of what came of it if that is more.
func (t *Track) Lost(total uint32) uint64 {
	lost := uint64(t.holes)
	if total > t.next {
		lost += uint64(total - t.next)
	}
	return lost
}
