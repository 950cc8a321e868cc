package engine

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// What a client is reckoned to need when it is admitted, in bytes; README.md has
// the measurements. The kernel's part is counted for as long as the client is
// there, since the Go runtime does not see it.
const (
	kernelPerClient = 4 << 10
	ownPerClient    = 1 << 10
	tlsPerClient    = 12 << 10
)

// The share of MemoryLimit that clients are admitted within: the rest is for those
// who are there.
const admitBelow = 0.9

// collectAfter is how many ticks pass at least between collections for want of room.
const collectAfter = 10

// memoryUsed is what the Go runtime has from the system, in bytes: heap, stacks
// and its own structures, without what it gave back, which is what GOMEMLIMIT
// counts, and without the free parts of the heap, which the next clients get.
func memoryUsed() int64 {
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64() - s[2].Value.Uint64())
}

// watchMemory reckons, once a tick, how many clients there is memory for. If none, a
// part of it may be garbage that nothing else has collected: who is refused does not
// allocate.
func (e *Engine) watchMemory() {
	if e.tide.ebbs(e.conns.Load(), e.tickNow()) {
		e.wg.Go(debug.FreeOSMemory)
	}
	if e.opts.MemoryLimit == 0 {
		return
	}
	each := int64(kernelPerClient + ownPerClient)
	if e.tls != nil {
		each += tlsPerClient
	}
	left := int64(admitBelow*float64(e.opts.MemoryLimit)) - memoryUsed() - kernelPerClient*e.conns.Load()
	e.room.Store(max(0, left/each))
	if now := e.tickNow(); left < each && now >= e.collectFrom {
		e.collectFrom = now + collectAfter
		e.wg.Go(runtime.GC)
	}
}

// hasRoom takes the memory for one client, if there is some.
func (e *Engine) hasRoom() bool {
	if e.opts.MemoryLimit == 0 || e.room.Add(-1) >= 0 {
		return true
	}
	e.room.Add(1)
	return false
}

// freeRoom undoes hasRoom for one that did not become a client.
func (e *Engine) freeRoom(hs *handshake) {
	if hs.room {
		hs.room = false
		e.room.Add(1)
	}
}

const (
	// massDisconnect is how many clients fewer there must be for their memory to be given
	// back to the system at once, and at least a quarter of all. Otherwise Go does so by
	// itself, in minutes.
	massDisconnect = 1000
	// giveBackAfter is how many ticks pass at least between two such times: each costs a
	// collection.
	giveBackAfter = 5
)

// A memoryTide knows how many connections there were when memory was given back last, or
// have been since. It belongs to the clock, but for high, which accept raises.
type memoryTide struct {
	high atomic.Int64
	last int64
	next uint32 // tick
}

// flows notes that there are so many connections now.
func (t *memoryTide) flows(conns int64) {
	if conns > t.high.Load() {
		t.high.Store(conns)
	}
}

// ebbs reports, once a tick, whether many connections have gone, and no more are going.
func (t *memoryTide) ebbs(conns int64, now uint32) bool {
	going, high := conns < t.last-massDisconnect/10, t.high.Load()
	t.last = conns
	if going || now < t.next || high-conns < max(massDisconnect, high/4) {
		return false
	}
	t.high.Store(conns)
	t.next = now + giveBackAfter
	return true
}
