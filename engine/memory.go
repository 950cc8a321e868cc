package engine

import (
	"runtime"
	"runtime/metrics"
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
	return e.opts.MemoryLimit == 0 || e.room.Add(-1) >= 0
}
