package engine

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"carillon/engine/wheel"
	"carillon/engine/ws"
)

// newStillEngine is newEngine with a clock that stands still: the test is what turns it.
func newStillEngine(t *testing.T, o Options) *Engine {
	t.Helper()
	o.Addr = "127.0.0.1:0"
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	e.keepTime = func() {}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(t, e) })
	return e
}

// pass turns the clock up to tick now, second by second.
func (e *Engine) pass(now uint32) {
	for e.tickNow() < now {
		e.clock.Add(1)
		for _, l := range e.loops {
			l.wheel.Advance(e.tickNow(), l.visit)
		}
	}
}

// Each timeout lasts as long as its option says, also those that the wheel does not
// reach as far as, with a second in which it may end.
func TestTimeoutsBeyondTheWheel(t *testing.T) {
	for _, d := range []time.Duration{
		wheel.Slots * time.Second, wheel.Slots*time.Second - time.Second, wheel.Slots*time.Second + time.Second, 300 * time.Second, time.Hour, 24 * time.Hour,
	} {
		end := ticks(d)
		t.Run("HandshakeTimeout/"+d.String(), func(t *testing.T) {
			e := newStillEngine(t, Options{HandshakeTimeout: d})
			rawConn(t, e, "")
			rawConn(t, e, "GET /ws?system_id=1 HTTP/1.1\r\n")
			eventually(t, "both are accepted", func() bool { return e.conns.Load() == 2 })
			e.pass(end)
			if n := e.Stats().Refused["handshake timeout"]; n != 0 {
				t.Errorf("%d of 2 are refused after %d ticks", n, end)
			}
			e.pass(end + 1)
			if n := e.Stats().Refused["handshake timeout"]; n != 2 {
				t.Errorf("%d of 2 are refused after %d ticks", n, end+1)
			}
			eventually(t, "both are closed", func() bool { return e.conns.Load() == 0 })
		})
		t.Run("AuthTimeout/"+d.String(), func(t *testing.T) {
			began, hold := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(hold) })
			t.Cleanup(release)
			e := newStillEngine(t, Options{AuthTimeout: d, Authenticate: func(_ context.Context, h *Handshake) (Identity, error) {
				close(began)
				<-hold // it does not listen to its context
				return QueryIdentity(h)
			}})
			defer release()
			rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
			<-began
			e.pass(end)
			if n := e.Stats().Refused["handshake timeout"]; n != 0 {
				t.Errorf("refused after %d ticks", end)
			}
			e.pass(end + 1)
			if n := e.Stats().Refused["handshake timeout"]; n != 1 {
				t.Errorf("not refused after %d ticks", end+1)
			}
			eventually(t, "it is closed", func() bool { return e.conns.Load() == 0 })
		})
		t.Run("CloseTimeout/"+d.String(), func(t *testing.T) {
			e := newStillEngine(t, Options{CloseTimeout: d})
			closing := dialWire(t, e, "system_id=1")
			refused := rawConn(t, e, "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n") // does not close either
			if _, err := io.ReadAll(refused); err != nil {
				t.Fatal(err)
			}
			if err := e.Close("1", closing.id, ""); err != nil {
				t.Fatal(err)
			}
			e.pass(end - 1)
			if n := e.conns.Load(); n != 2 {
				t.Errorf("%d sockets after %d ticks, want 2", n, end-1)
			}
			e.pass(end)
			eventually(t, "both are closed", func() bool { return e.conns.Load() == 0 })
		})
		t.Run("PingInterval and PongTimeout/"+d.String(), func(t *testing.T) {
			watched := make(chan *Client, 1)
			e := newStillEngine(t, Options{PingInterval: d, PongTimeout: d, OnOpen: func(c *Client) { watched <- c }})
			w := dialWire(t, e, "system_id=1")
			c := <-watched
			c.lastSeen.Store(0)
			e.pass(end - 1)
			welcome := c.Stats().BytesOut
			e.pass(end)
			if sent := c.Stats().BytesOut - welcome; sent != uint64(len(pingFrame)) {
				t.Errorf("%d bytes at tick %d, want a ping", sent, end)
			}
			if op, _, err := w.read(); op != ws.OpPing || err != nil {
				t.Errorf("got %v, %v, want a ping", op, err)
			}
			e.pass(2*end - 1)
			if e.reg.Len() != 1 {
				t.Errorf("closed after %d ticks of silence", end-1)
			}
			e.pass(2 * end)
			if n := e.Stats().Closed[CloseHeartbeat]; n != 1 {
				t.Errorf("%d closed after %d ticks of silence, want 1", n, end)
			}
		})
	}
}
