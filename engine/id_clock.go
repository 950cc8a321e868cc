package engine

import (
	"sync/atomic"
	"time"
)

// idLead is how far ids may run ahead of the clock when more are asked for than the
// milliseconds have that passed: 10,240 at once. It is also what a new source waits
// so as not to meet the last ids of the one before.
const idLead = 10 * time.Millisecond

// An idClock gives each id a millisecond since idEpoch and a number within it, which
// are larger than those of the id before. It follows the system's clock, but: when a
// millisecond has no more numbers, it goes on with the next, up to idLead ahead; and
// when the system's clock is set back, it goes on from its last id, a millisecond
// for 1,024 ids, until that clock has caught up.
//
// The zero value is ready. Methods may be called from any goroutine.
type idClock struct {
	last atomic.Int64 // milliseconds << idSequenceBits | number
	// offset is the most that the system's clock was ahead of the monotonic one. It
	// tells a clock that was set back, where nobody must wait, from too many ids.
	offset atomic.Int64
}

// next is the next id's millisecond and number. If ids are idLead ahead, it is how
// long to wait before asking again: a millisecond at most. wall is the time since
// idEpoch by the system's clock, steady what a monotonic one has counted.
func (c *idClock) next(wall, steady time.Duration) (ms int64, number int, wait time.Duration) {
	offset := c.offset.Load()
	for int64(wall-steady) > offset && !c.offset.CompareAndSwap(offset, int64(wall-steady)) {
		offset = c.offset.Load()
	}
	limit := max(wall, steady+time.Duration(offset)) + idLead
	for {
		last := c.last.Load()
		n := max(last+1, wall.Milliseconds()<<idSequenceBits)
		ms = n >> idSequenceBits
		if wait := time.Duration(ms)*time.Millisecond - limit; wait > 0 {
			return 0, 0, min(wait, time.Millisecond) // who was held up since it looked at the clocks must look again
		}
		if c.last.CompareAndSwap(last, n) {
			return ms, int(n & (1<<idSequenceBits - 1)), 0
		}
	}
}
