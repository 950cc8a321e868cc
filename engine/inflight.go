package engine

import (
	"math"
	"sync"
	"sync/atomic"
)

// inFlight counts what is under way, for someone who wants nothing more to begin and
// all of it to end. Its owner makes idle.
type inFlight struct {
	n    atomic.Int64 // less than 0 once closed
	once sync.Once
	idle chan struct{} // closed when it is closed and nothing is under way any more
}

// inFlightClosed is what n counts from after close.
const inFlightClosed = math.MinInt64

// enter begins something, unless close came before: then it reports false.
func (f *inFlight) enter() bool {
	if f.n.Add(1) > 0 {
		return true
	}
	f.leave()
	return false
}

// leave ends what enter has begun.
func (f *inFlight) leave() {
	if f.n.Add(-1) == inFlightClosed {
		f.once.Do(func() { close(f.idle) })
	}
}

// close has enter fail from now on. It is called once.
func (f *inFlight) close() {
	if f.n.Add(inFlightClosed) == inFlightClosed {
		f.once.Do(func() { close(f.idle) })
	}
}
