package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// Pushes to every kind of target race with Shutdown. Those that succeed reach
// whom they say they reach, in order; every client gets them before its close
// frame; and who connects meanwhile is refused or closed like the others.
func TestPushRacesWithShutdown(t *testing.T) {
	const clients, posts = 3 * small / 2, 50 // more than small, so that workers take part
	rounds := 3
	if full() {
		rounds = 10
	}
	for range rounds {
		o := Options{MaxQueuedBytes: 1 << 20}
		ledger := keepLedger(t, &o)
		e := newEngine(t, o)
		var received, reported atomic.Int64
		var reading, pushing, connecting sync.WaitGroup
		listen := func(w *wire, posted int) {
			next := map[string]int{}
			end := w.each(func(payload []byte) bool {
				var env struct {
					Data struct {
						To string
						N  int
					}
				}
				if err := json.Unmarshal(payload, &env); err != nil {
					t.Errorf("%q: %v", payload, err)
				}
				if n, seen := next[env.Data.To]; seen && n != env.Data.N {
					t.Errorf("client %v got push %d %s instead of %d", w.id, env.Data.N, env.Data.To, n)
				}
				next[env.Data.To] = env.Data.N + 1
				received.Add(1)
				return true
			})
			if next["posted"] != posted {
				t.Errorf("client %v got %d pushes of those posted before Shutdown, want %d", w.id, next["posted"], posted)
			}
			if end != (ended{3001, io.EOF}) {
				t.Errorf("client %v saw %+v, want a close frame of 3001 and EOF", w.id, end)
			}
			w.Close()
		}
		var ids []ID
		for range clients {
			w := dialWire(t, e, "system_id=1&group_name=g")
			ids = append(ids, w.id)
			reading.Go(func() { listen(w, posts) })
		}
		for name, to := range map[string]Target{
			"to all": ToAll(), "to the system": ToSystem("1"), "to the group": ToGroup("1", "g"),
			"to clients": ToClients("1", ids...), "to one": ToClient("1", ids[0]),
		} {
			pushing.Go(func() {
				for n := 0; ; n++ {
					r, err := e.Push(context.Background(), to, Message{Data: fmt.Appendf(nil, `{"to":%q,"n":%d}`, name, n)})
					reported.Add(int64(r.Written + r.Queued))
					switch {
					case errors.Is(err, ErrShutdown), errors.Is(err, ErrNoClient):
						return
					case err != nil || r.Matched != r.Written+r.Queued+r.Dropped,
						r.Dropped > 0 && (to.scope == scopeSystem || to.scope == scopeGroup): // Shutdown was to wait for it
						t.Errorf("%s: %+v, %v", name, r, err)
						return
					}
					time.Sleep(time.Millisecond) // readers are to keep up
				}
			})
		}
		stop := make(chan struct{})
		connecting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if w, err := openWire(new(net.Dialer), e.Addr().String(), "system_id=2"); err == nil {
						reading.Go(func() { listen(w, 0) })
					}
				}
			}
		})
		time.Sleep(10 * time.Millisecond)
		for n := range posts {
			if _, err := e.Post(context.Background(), ToSystem("1"), Message{Data: fmt.Appendf(nil, `{"to":"posted","n":%d}`, n)}); err != nil {
				t.Error(err)
			}
		}
		reported.Add(posts * clients)
		shutdown(t, e)
		close(stop)
		pushing.Wait()
		connecting.Wait()
		reading.Wait()
		if received.Load() != reported.Load() {
			t.Errorf("%d messages arrived, %d were reported as sent", received.Load(), reported.Load())
		}
		if reasons := ledger.closed(e, 0); len(reasons) != 1 || reasons[CloseShutdown] == 0 {
			t.Errorf("OnClose was given %v, want shutdown", reasons)
		}
	}
}

// Clients that Shutdown cuts off because its time is over get their OnClose, too.
// Each housekeeper is held up in an OnClose meanwhile, so that it
// still has the sockets to see off when it is told to quit.
func TestShutdownReportsThoseCutOff(t *testing.T) {
	const clients = 200
	var opened, closed atomic.Int64
	hold := make(chan struct{})
	o := Options{
		Pollers: 8, DrainRate: 1,
		OnOpen: func(*Client) { opened.Add(1) },
		OnClose: func(_ *Client, why CloseReason) {
			if why == CloseBackend {
				<-hold
			}
			closed.Add(1)
		},
	}
	e := newEngine(t, o)
	for range clients {
		dialWire(t, e, "system_id=1")
	}
	held := map[*loop]bool{}
	for c := range e.Clients(Query{}) {
		if !held[c.loop] {
			held[c.loop] = true
			c.Close("")
		}
	}
	go func() { // the pollers are gone, and only the housekeepers are waited for
		for e.phase.Load() != phaseStopping || e.ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		close(hold)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := e.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want the deadline", err)
	}
	if opened.Load() != clients {
		t.Errorf("OnOpen for %d of %d clients", opened.Load(), clients)
	}
	eventually(t, "OnClose for all", func() bool { return closed.Load() == clients })
}

// A client whose OnOpen runs longer than everything else gets its OnClose, too: with
// Authenticate, OnOpen is on no poller.
func TestShutdownReportsBehindOnOpen(t *testing.T) {
	began, hold := make(chan struct{}), make(chan struct{})
	var closed atomic.Int64
	e := newEngine(t, Options{
		Authenticate: func(_ context.Context, h *Handshake) (Identity, error) { return QueryIdentity(h) },
		OnOpen: func(*Client) {
			close(began)
			<-hold
		},
		OnClose: func(*Client, CloseReason) { closed.Add(1) },
	})
	dialWire(t, e, "system_id=1")
	<-began
	go func() { // the housekeepers have found nothing left to do
		<-e.ctx.Done()
		time.Sleep(100 * time.Millisecond)
		close(hold)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_ = e.Shutdown(ctx)
	eventually(t, "OnClose was called", func() bool { return closed.Load() == 1 })
}

// Shutdown does not wait for who connects while it runs, whatever the moment.
func TestShutdownWhileConnecting(t *testing.T) {
	rounds := 20
	if full() {
		rounds = 200
	}
	for range rounds {
		e := newEngine(t, Options{})
		done := make(chan struct{})
		for range 3 {
			go func() {
				for range 1000 {
					conn, err := net.Dial("tcp", e.Addr().String())
					if err != nil {
						break
					}
					defer conn.Close()
				}
				<-done
			}()
		}
		time.Sleep(3 * time.Millisecond)
		leave := sync.OnceFunc(func() { close(done) })
		go func() { shutdown(t, e); leave() }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			leave()
			t.Fatal("Shutdown hangs")
		}
	}
}

// Shutdown is no fault of the listener's, and is not logged as one.
func TestShutdownIsQuiet(t *testing.T) {
	var log logBook
	logger := zerolog.New(&log).Level(zerolog.InfoLevel)
	e := newEngine(t, Options{Logger: &logger})
	shutdown(t, e)
	if entries := log.take(t); len(entries) > 0 {
		t.Errorf("it logs %v", entries)
	}
}
