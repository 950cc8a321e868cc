package engine

import "runtime/metrics"

// The share of MemoryLimit beyond which new clients are refused: the rest is for
// those who are there.
const admitBelow = 0.9

// memoryUsed is what the Go runtime has from the system, in bytes: heap, stacks
// and its own structures, without what it gave back. It is what GOMEMLIMIT counts.
func memoryUsed() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}

// watchMemory decides, once a tick, whether there is memory for more clients.
func (e *Engine) watchMemory() {
	if limit := e.opts.MemoryLimit; limit > 0 {
		e.tight.Store(float64(memoryUsed()) > admitBelow*float64(limit))
	}
}
