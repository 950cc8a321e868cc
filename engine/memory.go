package engine

import "runtime/metrics"

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

// memoryUsed is what the Go runtime has from the system, in bytes: heap, stacks
// and its own structures, without what it gave back. It is what GOMEMLIMIT counts.
func memoryUsed() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}

// watchMemory reckons, once a tick, how many clients there is memory for.
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
}

// hasRoom takes the memory for one client, if there is some.
func (e *Engine) hasRoom() bool {
	return e.opts.MemoryLimit == 0 || e.room.Add(-1) >= 0
}
