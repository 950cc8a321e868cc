package client

import (
	"context"

	"carillon/bench/stamp"
	"carillon/engine/ws"
)

// echoing is a run of Echo.
type echoing struct {
	size    int
	closed  bool // each answer leads to the next message
	until   int64
	payload []byte // scratch
}

// Echo has the clients from first to last-1 send messages of size bytes to the
// server, and waits until they have. With a rate, in messages a second, they go out on a schedule,
// by the clients in turn; without, each client sends the next when the last has
// come back. Returns how late the latest message was, in nanoseconds.
func (s *Swarm) Echo(ctx context.Context, first, last int, rate float64, size int, ns int64) (late int64) {
	start := stamp.Now()
	s.mu.Lock()
	e := &echoing{size: size, closed: rate == 0, until: start + ns}
	s.echo = e
	if e.closed {
		for i := first; i < last; i++ {
			if c := &s.conns[i]; c.state == up {
				e.send(c, stamp.Now())
			}
		}
	}
	s.mu.Unlock()
	if e.closed {
		SleepUntil(ctx, e.until)
		return 0
	}
	for k, i := 0, first; ; k++ {
		due := start + int64(float64(k)*1e9/rate)
		if due >= e.until || !SleepUntil(ctx, due) {
			return late
		}
		late = max(late, stamp.Now()-due)
		s.mu.Lock()
		for range last - first {
			c := &s.conns[i]
			if i++; i == last {
				i = first
			}
			if c.state == up {
				e.send(c, due)
				break
			}
		}
		s.mu.Unlock()
	}
}

// send sends c's next message. The swarm's lock must be held.
func (e *echoing) send(c *conn, due int64) {
	e.payload = stamp.Stamp{Kind: stamp.Own, Target: c.number(), Seq: c.sent, At: due}.Append(e.payload[:0], e.size)
	c.sent++
	c.swarm.counts.Sent++
	c.write(ws.OpText, e.payload)
}

func (e *echoing) returned(c *conn) {
	if e.closed && c.state == up {
		if now := stamp.Now(); now < e.until {
			e.send(c, now)
		}
	}
}
