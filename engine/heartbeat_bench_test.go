package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkHeartbeatMinute is a minute's heartbeat of a million clients of one loop,
// without sockets: each is heard every 25 s, so that none is pinged. The ticks come
// one after the other; the hearing is not timed. The wheel alone, and what else there
// is, are compared by BenchmarkIdleMinute in package wheel.
func BenchmarkHeartbeatMinute(b *testing.B) {
	const clients, minute, heardEvery = 1_000_000, 60, 25
	e, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	l, cs := e.loops[0], make([]*Client, clients)
	for i := range cs {
		cs[i] = &Client{loop: l, state: stateOpen}
		cs[i].startHeartbeat()
	}
	rand.Shuffle(clients, func(i, j int) { cs[i], cs[j] = cs[j], cs[i] })
	cpu, visits := time.Duration(0), 0
	for range b.N {
		for range minute {
			now := e.clock.Add(1)
			part := int(now % heardEvery)
			for _, c := range cs[clients*part/heardEvery : clients*(part+1)/heardEvery] {
				c.lastSeen.Store(now)
			}
			start := processCPU(b)
			l.wheel.Advance(now, func(c *Client) uint32 { visits++; return l.visit(c) })
			cpu += processCPU(b) - start
		}
	}
	for _, c := range cs {
		if c.due != 0 {
			b.Fatal("a client was pinged: that would count")
		}
	}
	if n := l.wheel.Len(); n != clients || visits < clients*b.N {
		b.Fatalf("%d clients in the wheel after %d visits, want %d and each once a minute", n, visits, clients)
	}
	b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/minute")
	b.ReportMetric(cpu.Seconds()/float64(b.N)/minute*100, "%core")
	b.ReportMetric(float64(visits)/float64(b.N), "visits/minute")
	b.ReportMetric(0, "ns/op")
}
