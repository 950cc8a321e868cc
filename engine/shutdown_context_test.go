package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carillon/engine/ws"
)

// Shutdown returns when its context is done, whatever callback does not return, and says
// so. What it leaves behind ends with the callback, without a panic.
func TestShutdownDoesNotWaitForCallbacks(t *testing.T) {
	t.Parallel()
	authenticate := func(_ context.Context, h *Handshake) (Identity, error) { return QueryIdentity(h) }
	tests := []struct {
		name  string
		block func(o *Options, wait func()) // of clients whose user is "blocked"
		begin func(t *testing.T, e *Engine) *wire
	}{
		{"OnOpen", func(o *Options, wait func()) { o.OnOpen = onBlocked(wait) }, nil},
		{"OnOpen behind Authenticate", func(o *Options, wait func()) {
			o.Authenticate, o.OnOpen = authenticate, onBlocked(wait)
		}, nil},
		{"OnMessage", func(o *Options, wait func()) {
			o.OnMessage = func(c *Client, _ Kind, _ []byte) { onBlocked(wait)(c) }
		}, func(t *testing.T, e *Engine) *wire {
			w := dialWire(t, e, "system_id=1&user_id=blocked")
			w.send(ws.OpText, []byte("hi"))
			return w
		}},
		{"OnClose", func(o *Options, wait func()) {
			closed := o.OnClose
			o.OnClose = func(c *Client, why CloseReason) { onBlocked(wait)(c); closed(c, why) }
		}, func(t *testing.T, e *Engine) *wire {
			w := dialWire(t, e, "system_id=1&user_id=blocked")
			w.sendClose()
			return w
		}},
		{"Authenticate", func(o *Options, wait func()) {
			o.Authenticate = func(ctx context.Context, h *Handshake) (Identity, error) {
				id, err := authenticate(ctx, h)
				if id.User == "blocked" {
					wait()
				}
				return id, err
			}
		}, func(t *testing.T, e *Engine) *wire {
			conn := rawConn(t, e, "GET /ws?system_id=1&user_id=blocked HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			_ = conn
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			began, hold := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(hold) })
			defer release()
			var opened, closed atomic.Int64
			o := Options{ServeHTTP: true, OnClose: func(*Client, CloseReason) { closed.Add(1) }}
			tt.block(&o, func() { close(began); <-hold })
			inner := o.OnOpen
			o.OnOpen = func(c *Client) {
				opened.Add(1)
				if inner != nil {
					inner(c)
				}
			}
			e := newEngine(t, o)
			served := make(chan struct{})
			go func() {
				defer close(served)
				_ = http.Serve(e.HTTP(), http.NotFoundHandler())
			}()
			var others []*wire
			for range 20 {
				others = append(others, dialWire(t, e, "system_id=1"))
			}
			if tt.begin != nil {
				tt.begin(t, e)
			} else {
				dialWire(t, e, "system_id=1&user_id=blocked")
			}
			<-began
			const limit = 300 * time.Millisecond
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			start := time.Now()
			err := e.Shutdown(ctx)
			if d := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || d < limit-10*time.Millisecond || d > limit+time.Second {
				t.Errorf("Shutdown: %v after %v, want the deadline after %v", err, d, limit)
			}
			start = time.Now()
			if err := e.Shutdown(context.Background()); err != ErrShutdown || time.Since(start) > 100*time.Millisecond {
				t.Errorf("a second Shutdown: %v after %v", err, time.Since(start))
			}
			<-served // the HTTP listener is closed
			for _, w := range others {
				if end := w.each(func([]byte) bool { return true }); end.err == nil {
					t.Errorf("a client saw %+v", end)
				}
				w.Close()
			}
			release()
			eventually(t, "all sockets are closed", func() bool { return e.conns.Load() == 0 })
			eventually(t, "every end is reported", func() bool { return closed.Load() == opened.Load() })
			eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+1 })
		})
	}
}

func onBlocked(wait func()) func(*Client) {
	return func(c *Client) {
		if c.User() == "blocked" {
			wait()
		}
	}
}

// A callback that takes long, but less than the context has, is waited for.
func TestShutdownWaitsForCallbacks(t *testing.T) {
	began := make(chan struct{})
	var ended atomic.Bool
	e := newEngine(t, Options{OnClose: func(*Client, CloseReason) {
		close(began)
		time.Sleep(300 * time.Millisecond)
		ended.Store(true)
	}})
	w := dialWire(t, e, "system_id=1")
	w.Close()
	<-began
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil || !ended.Load() {
		t.Errorf("Shutdown: %v, the callback has returned: %v", err, ended.Load())
	}
}

// Shutdown waits for every push that was admitted, be it to few, by ids, or to many, and
// closes nobody before; later ones are refused.
func TestShutdownWaitsForPushes(t *testing.T) {
	const clients = 40
	for name, to := range map[string]func(ids []ID) Target{
		"small group": func([]ID) Target { return ToGroup("1", "g") },
		"small all":   func([]ID) Target { return ToAll() },
		"clients":     func(ids []ID) Target { return ToClients("1", ids...) },
		"one client":  func(ids []ID) Target { return ToClient("1", ids[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, Options{})
			var ids []ID
			var reading sync.WaitGroup
			var got atomic.Int64
			for range clients {
				w := dialWire(t, e, "system_id=1&group_name=g")
				ids = append(ids, w.id)
				reading.Go(func() {
					if end := w.each(func([]byte) bool { got.Add(1); return true }); end != (ended{3001, io.EOF}) {
						t.Errorf("client %v saw %+v", w.id, end)
					}
					w.Close()
				})
			}
			plug, _ := e.Client(ids[0])
			plug.mu.Lock()
			report := make(chan Report)
			go func() { report <- push(t, e, to(ids), "1") }()
			eventually(t, "the push is under way", func() bool { return e.fanout.pushes.n.Load() == 1 })
			stopped := make(chan error)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				stopped <- e.Shutdown(ctx)
			}()
			eventually(t, "not ready", func() bool { return !e.Ready() })
			time.Sleep(20 * time.Millisecond)
			if n := e.reg.Len(); n != clients {
				t.Errorf("%d of %d clients are left", n, clients)
			}
			for _, to := range []Target{ToClient("1", ids[1]), ToClients("1", ids[1]), ToGroup("1", "g"), ToSystem("1"), ToAll()} {
				if _, err := e.Push(context.Background(), to, Message{}); err != ErrShutdown {
					t.Errorf("a push that began later: %v", err)
				}
			}
			plug.mu.Unlock()
			r := <-report
			if want := len(to(ids).ids); r.Dropped > 0 || r.Matched != r.Written || want > 0 && r.Matched != want || want == 0 && r.Matched != clients {
				t.Errorf("report %+v", r)
			}
			if err := <-stopped; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			reading.Wait()
			if int(got.Load()) != r.Written {
				t.Errorf("%d messages arrived, %d were written", got.Load(), r.Written)
			}
		})
	}
}

// A push that was admitted and does not end holds Shutdown up as long as its context
// allows.
func TestShutdownDoesNotWaitForPushesForever(t *testing.T) {
	e := newEngine(t, Options{})
	if !e.fanout.pushes.enter() {
		t.Fatal("not admitted")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := e.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want the deadline", err)
	}
	e.fanout.pushes.leave()
	select {
	case <-e.fanout.pushes.idle:
	default:
		t.Error("nothing is under way, and it is not idle")
	}
}
