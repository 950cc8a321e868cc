package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// 1,000 pushes to one group arrive at each member in order, while members come
// and go: whoever is in it sees an unbroken run of numbers.
func TestGroupOrderWhileMembersChange(t *testing.T) {
	const pushes, members = 1000, 100
	e := newEngine(t, Options{MaxQueuedBytes: 1 << 20})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range members {
		p := dial(t, e, "system_id=1&group_name=g")
		stays := i%2 == 0
		wg.Go(func() { // reads until the last number, or until it is closed
			last := -1
			for last < pushes-1 {
				_, b, err := p.Read(testContext(t))
				if err != nil {
					if stays {
						t.Errorf("client %v ended at %d: %v", p.id, last, err)
					}
					return
				}
				var n int
				fmt.Sscanf(string(b[strings.Index(string(b), `"data":`):]), `"data":%d`, &n)
				switch {
				case stays && n != last+1 || n <= last:
					t.Errorf("client %v (stays: %v) got %d after %d", p.id, stays, n, last)
					return
				}
				last = n
			}
		})
		if !stays {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						p.CloseNow()
						return
					default:
						e.Unbind("1", p.id, "g")
						runtime.Gosched()
						e.Bind("1", p.id, "g")
						if rand.IntN(500) == 0 {
							p.CloseNow()
							return
						}
					}
				}
			})
		}
	}
	for n := range pushes {
		push(t, e, ToGroup("1", "g"), fmt.Sprint(n))
	}
	close(stop)
	wg.Wait()
}

// Clients connect, change groups and leave while pushes to everything run. When
// all is quiet the registry is the set of open clients.
func TestChurn(t *testing.T) {
	var opened, closed atomic.Int64
	e := newEngine(t, Options{
		OnOpen:  func(*Client) { opened.Add(1) },
		OnClose: func(*Client, CloseReason) { closed.Add(1) },
	})
	var pushers, clients sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		pushers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				to := []Target{ToAll(), ToSystem("1"), ToGroup("1", "a"), ToGroup("2", "b")}[n%4]
				r, err := e.Push(context.Background(), to, Message{Data: []byte("1")})
				if err != nil || r.Matched != r.Written+r.Queued+r.Dropped {
					t.Errorf("%+v, %v", r, err)
					return
				}
			}
		})
	}
	type kept struct {
		p      *peer
		system string
		groups map[string]bool
	}
	var mu sync.Mutex
	var open []kept
	for w := range 16 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for range 40 {
				system := fmt.Sprint(1 + rnd.IntN(2))
				p := dial(t, e, "system_id="+system+"&group_name=a")
				k := kept{p, system, map[string]bool{"a": true}}
				go func() { // keeps reading, as clients do
					for {
						if _, _, err := p.Read(context.Background()); err != nil {
							return
						}
					}
				}()
				for range rnd.IntN(6) {
					g := string(rune('a' + rnd.IntN(3)))
					if rnd.IntN(2) == 0 {
						e.Bind(system, p.id, g)
						k.groups[g] = true
					} else {
						e.Unbind(system, p.id, g)
						delete(k.groups, g)
					}
				}
				switch rnd.IntN(4) {
				case 0:
					p.CloseNow()
				case 1:
					p.Close(websocket.StatusNormalClosure, "")
				case 2:
					e.Close(system, p.id, "go")
				default:
					mu.Lock()
					open = append(open, k)
					mu.Unlock()
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	pushers.Wait()
	eventually(t, "only the open clients are left", func() bool { return e.conns.Load() == int64(len(open)) })
	want := map[string]map[ID]bool{}
	add := func(set string, id ID) {
		if want[set] == nil {
			want[set] = map[ID]bool{}
		}
		want[set][id] = true
	}
	for _, k := range open {
		add("/", k.p.id)
		add(k.system+"/", k.p.id)
		for g := range k.groups {
			add(k.system+"/"+g, k.p.id)
		}
	}
	for _, set := range []string{"/", "1/", "2/", "1/a", "1/b", "1/c", "2/a", "2/b", "2/c"} {
		system, group, _ := strings.Cut(set, "/")
		q := Query{System: system, Group: group}
		got := map[ID]bool{}
		for c := range e.Clients(q) {
			got[c.ID()] = true
		}
		if fmt.Sprint(got) != fmt.Sprint(want[set]) && len(got)+len(want[set]) > 0 || e.Count(q) != len(want[set]) {
			t.Errorf("%s: %d clients (count %d), want %d", set, len(got), e.Count(q), len(want[set]))
		}
	}
	eventually(t, "every end was reported", func() bool { return opened.Load()-closed.Load() == int64(len(open)) })
}

func TestShutdown(t *testing.T) {
	before := runtime.NumGoroutine()
	var closed atomic.Int64
	e := newEngine(t, Options{OnClose: func(_ *Client, why CloseReason) {
		if why == CloseShutdown {
			closed.Add(1)
		}
	}})
	var peers []*peer
	for range 200 {
		peers = append(peers, dial(t, e, "system_id=1"))
	}
	waiting := rawConn(t, e, "GET /ws HTTP/1.1\r\n") // in its handshake
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(func() {
			if got := p.closed(); got.Code != 3001 || !strings.HasPrefix(got.Reason, `{"reconnect_ms":`) {
				t.Errorf("client %v saw %v %q, want 3001 and a time", p.id, got.Code, got.Reason)
			}
		})
	}
	// Pushes race with it: each succeeds whole or is refused.
	for range 4 {
		wg.Go(func() {
			for {
				r, err := e.Push(context.Background(), ToAll(), Message{Data: []byte("1")})
				if errors.Is(err, ErrShutdown) {
					return
				}
				if err != nil || r.Matched != r.Written+r.Queued+r.Dropped {
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	start := time.Now()
	shutdown(t, e)
	wg.Wait()
	if e.Ready() {
		t.Error("ready after Shutdown")
	}
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("took %v", d)
	}
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		t.Error("a connection in its handshake is left open")
	}
	if err := e.Shutdown(context.Background()); !errors.Is(err, ErrShutdown) {
		t.Errorf("a second Shutdown: %v", err)
	}
	if _, _, err := websocket.Dial(testContext(t), "ws://"+e.Addr().String()+"/ws?system_id=1", nil); err == nil {
		t.Error("a client could connect")
	}
	if closed.Load() != 200 || e.Count(Query{}) != 0 {
		t.Errorf("OnClose for %d of 200 clients, %d in the registry", closed.Load(), e.Count(Query{}))
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// The shortest life: nothing waits for a poller that never began.
func TestStartAndStop(t *testing.T) {
	rounds := 40
	if full() {
		rounds = 200
	}
	for range rounds {
		e := newEngine(t, Options{Pollers: 4})
		shutdown(t, e)
	}
}

// A context that ends cuts off those who do not answer.
func TestShutdownDeadline(t *testing.T) {
	e := newEngine(t, Options{CloseTimeout: time.Minute})
	conn, _ := stuck(t, e, "system_id=1")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := e.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want the deadline", err)
	}
	if _, err := readUntil(conn, "never"); err == nil {
		t.Error("still open")
	}
	if n := e.conns.Load(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

// The loop of a connection is the poller that nbio puts it on, which we know by
// the poller's own read buffer.
func TestLoopIsPoller(t *testing.T) {
	e := newEngine(t, Options{Pollers: 3})
	for range 12 {
		dial(t, e, "system_id=1")
	}
	buffers := map[int]*[]byte{}
	for c := range e.Clients(Query{}) {
		got := e.nb.PollerBufferPtr(c.nc)
		if want, ok := buffers[c.loop.index]; ok && want != got {
			t.Errorf("loop %d has clients of two pollers", c.loop.index)
		}
		buffers[c.loop.index] = got
	}
	if len(buffers) != 3 || buffers[0] == buffers[1] || buffers[1] == buffers[2] {
		t.Errorf("12 clients are on %d loops: %v", len(buffers), buffers)
	}
}

// What the kernel does not take at once is accounted for, and given back.
func TestUnsentIsExact(t *testing.T) {
	e := newEngine(t, Options{NoWelcome: true})
	conn, c := stuck(t, e, "system_id=1")
	big := make([]byte, 16<<20)
	c.mu.Lock()
	ok := c.writeBytesLocked(big)
	left := c.queuedLocked()
	c.mu.Unlock()
	if !ok || left <= 0 || left >= len(big) {
		t.Errorf("a write of 16 MiB to a client that does not read: %v, %d bytes unsent", ok, left)
	}
	readUntil(conn, "\r\n\r\n")
	if _, err := io.CopyN(io.Discard, conn, int64(len(big))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is unsent", func() bool { return c.Stats().QueuedBytes == 0 && e.backlog.total() == 0 })
}

func TestOptions(t *testing.T) {
	bad := map[string]Options{
		"Addr": {Addr: "nonsense"}, "Path": {Path: "ws"}, "Pollers": {Pollers: 257}, "NodeID": {NodeID: MaxNodeID + 1},
		"PingInterval": {PingInterval: time.Millisecond}, "MaxQueuedBytes": {MaxQueuedBytes: 1}, "MaxMessageBytes": {MaxMessageBytes: -1},
		"AllowOrigins": {AllowOrigins: []string{"a/b"}}, "TLS": {TLS: new(tls.Config)}, "TrustedProxies": {TrustedProxies: []netip.Prefix{{}}},
	}
	for name, o := range bad {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v does not name it", name, err)
		}
	}
	e := newEngine(t, Options{})
	again, err := New(Options{Addr: e.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Start(); err == nil {
		t.Error("two engines on one port")
	}
	if _, err := again.Push(context.Background(), ToAll(), Message{}); !errors.Is(err, ErrShutdown) {
		t.Errorf("Push before Start: %v", err)
	}
	if err := e.Start(); err == nil {
		t.Error("started twice")
	}
}
