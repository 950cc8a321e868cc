package engine

import (
	"fmt"
	"sync/atomic"
	"testing"

	"carillon/engine/ws"
)

// fullSockets say for some clients that the kernel takes nothing at the moment.
type fullSockets struct {
	kernelSockets
	full atomic.Pointer[Client]
}

func (s *fullSockets) write(c *Client, b []byte) (n int, wait bool) {
	if s.full.CompareAndSwap(c, nil) {
		return 0, true
	}
	return s.kernelSockets.write(c, b)
}

// A reset that comes right behind a write that has to wait ends that client alone: the
// descriptor is closed by its poller, and not by who pushes, for then the event of the
// reset would end the connection that has its number by that time.
func TestResetBehindFullSocket(t *testing.T) {
	var sockets fullSockets
	e := newEngine(t, Options{}, func(e *Engine) {
		sockets.kernelSockets = e.sockets.(kernelSockets)
		e.sockets = &sockets
	})
	for n := range 50 {
		victim := dialWire(t, e, "system_id=1")
		c, _ := e.Client(victim.id)
		sockets.full.Store(c)
		reset(victim)
		for range 3 {
			e.Push(testContext(t), ToClient("1", victim.id), Message{Data: []byte("1")})
		}
		next := dialWire(t, e, "system_id=2") // gets its descriptor, sooner or later
		if err := next.send(ws.OpPing, []byte("p")); err != nil {
			t.Fatal(err)
		}
		if op, b, err := next.read(); err != nil || op != ws.OpPong {
			t.Fatalf("round %d: the next connection: %v %q, %v", n, op, b, err)
		}
		if r := push(t, e, ToClient("2", next.id), "2"); r.Written != 1 {
			t.Fatalf("round %d: %+v", n, r)
		}
		next.Close()
	}
	settled(t, e, 0)
}

// What the kernel does not take at once goes out when it does, whatever comes behind it
// and on whatever connection.
func TestWaitsForFullSocket(t *testing.T) {
	server, client := testTLS(t)
	for name, o := range map[string]Options{"plain": {}, "tls": {TLS: server}} {
		var sockets fullSockets
		e := newEngine(t, o, func(e *Engine) {
			sockets.kernelSockets = e.sockets.(kernelSockets)
			e.sockets = &sockets
		})
		var p *peer
		if o.TLS != nil {
			p = dialTLS(t, e, client, "system_id=1")
		} else {
			p = dial(t, e, "system_id=1")
		}
		c, _ := e.Client(p.id)
		for n := range 20 {
			sockets.full.Store(c)
			for k := range 3 {
				push(t, e, ToClient("1", p.id), fmt.Sprint(3*n+k))
			}
			for k := range 3 {
				if env := p.next(); string(env.Data) != fmt.Sprint(3*n+k) {
					t.Fatalf("%s: got %s, want %d", name, env.Data, 3*n+k)
				}
			}
		}
		eventually(t, "nothing waits", func() bool { return e.backlog.total() == 0 && holdings(e) == 0 })
	}
}
