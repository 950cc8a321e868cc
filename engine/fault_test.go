package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carillon/engine/ws"
)

// settled waits until n open clients are all that is left of everything: sockets,
// records in the wheels, places in the registry, bytes that wait.
func settled(t testing.TB, e *Engine, n int) {
	t.Helper()
	// Who connected before this one, which is answered, has been accepted.
	last := rawConn(t, e, "nonsense\r\n\r\n")
	if b, err := io.ReadAll(last); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400") {
		t.Fatalf("nonsense was answered %q, %v", b, err)
	}
	last.Close()
	type left struct{ sockets, open, registry, timers, queued, backlog int }
	want := left{sockets: n, open: n, registry: n, timers: n}
	var got left
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		got = left{int(e.conns.Load()), int(e.open.Load()), e.reg.Len(), 0, int(e.backlog.total()), 0}
		for _, l := range e.loops {
			got.timers += l.wheel.Len()
		}
		got.backlog = holdings(e)
		if got == want && (n > 0 || e.reg.Systems()+e.reg.Groups() == 0) {
			return
		}
	}
	t.Fatalf("left after 30 s: %+v, %d systems, %d groups; want %+v", got, e.reg.Systems(), e.reg.Groups(), want)
}

// holdings is how many holdings the engine's backlog knows.
func holdings(e *Engine) (n int) {
	e.backlog.mu.Lock()
	defer e.backlog.mu.Unlock()
	for i := range e.backlog.classes {
		n += e.backlog.classes[i].Len()
	}
	return n
}

// A ledger checks that callbacks come in pairs: for each client OnOpen once, then
// OnClose once.
type ledger struct {
	t       testing.TB
	mu      sync.Mutex
	open    map[ID]bool // false once closed
	total   int         // clients ever opened
	reasons map[CloseReason]int
}

// keepLedger sets the callbacks of o.
func keepLedger(t testing.TB, o *Options) *ledger {
	l := &ledger{t: t, open: map[ID]bool{}, reasons: map[CloseReason]int{}}
	o.OnOpen = func(c *Client) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, twice := l.open[c.ID()]; twice {
			t.Errorf("OnOpen of client %v again, or after OnClose", c.ID())
		}
		l.open[c.ID()] = true
		l.total++
	}
	o.OnClose = func(c *Client, why CloseReason) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.open[c.ID()] {
			t.Errorf("OnClose(%v) of client %v before OnOpen, or again", why, c.ID())
		}
		l.open[c.ID()] = false
		l.reasons[why]++
	}
	return l
}

// closed waits until the callbacks have caught up with the engine, of which n
// clients are open, and returns how often each reason was given since the last call.
func (l *ledger) closed(e *Engine, n int) (reasons map[CloseReason]int) {
	l.t.Helper()
	eventually(l.t, "OnOpen and OnClose were called for each", func() bool {
		ever := n
		for _, closed := range e.Stats().Closed {
			ever += int(closed)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		open := 0
		for _, is := range l.open {
			if is {
				open++
			}
		}
		return open == n && l.total == ever
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	open := map[ID]bool{} // a new one: TestSoak measures memory
	for id, is := range l.open {
		if is {
			open[id] = true
		}
	}
	l.open = open
	reasons, l.reasons = l.reasons, map[CloseReason]int{}
	return reasons
}

// ring shows that a client gets pushes, whatever happens to others.
func ring(t testing.TB, e *Engine, w *wire) {
	t.Helper()
	data := fmt.Sprint(time.Now().UnixNano())
	push(t, e, ToClient("bystander", w.id), data)
	_, payload, err := w.read()
	if want := `"data":` + data; err != nil || !strings.Contains(string(payload), want) {
		t.Fatalf("the bystander got %q, %v, want %s", payload, err, want)
	}
}

// Resets at every point of a connection's life: each ends, once, and leaves nothing.
func TestResets(t *testing.T) {
	const rounds = 20
	proceed := make(chan struct{})
	o := Options{
		OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) },
		Authenticate: func(_ context.Context, h *Handshake) (Identity, error) {
			if h.Header("X-Wait") != "" {
				<-proceed
			}
			return QueryIdentity(h)
		},
	}
	ledger := keepLedger(t, &o)
	e := newEngine(t, o)
	innocent := dialWire(t, e, "system_id=bystander")
	request := fmt.Sprintf(upgrade, "system_id=1&group_name=g")
	client := func(do func(w *wire)) func() net.Conn {
		return func() net.Conn {
			w := dialWire(t, e, "system_id=1&group_name=g")
			do(w)
			return w
		}
	}
	send := func(b string) func() net.Conn { return func() net.Conn { return rawConn(t, e, b) } }
	tests := []struct {
		name   string
		do     func() net.Conn // what comes before the reset
		opened bool            // whether that surely makes it an open client
		why    CloseReason
	}{
		{"before any byte", send(""), false, CloseReset},
		{"in the request line", send("GET /w"), false, CloseReset},
		{"in the head", send(request[:len(request)-7]), false, CloseReset},
		{"right after the request", send(request), false, CloseReset},
		{"in Authenticate", send(request[:len(request)-2] + "X-Wait: 1\r\n\r\n"), false, CloseReset},
		{"right after the 101", client(func(*wire) {}), true, CloseReset},
		{"in a frame's header", client(func(w *wire) { io.WriteString(w, "\x81\xfe\x10") }), true, CloseReset},
		{"in a frame", client(func(w *wire) { io.WriteString(w, "\x81\xfe\x10\x00\x00\x00\x00\x00half") }), true, CloseReset},
		{"between fragments", client(func(w *wire) { io.WriteString(w, "\x01\x84\x00\x00\x00\x00half") }), true, CloseReset},
		{"with an answer on its way", client(func(w *wire) { w.send(ws.OpBinary, make([]byte, 30_000)) }), true, CloseReset},
		{"with data queued", func() net.Conn {
			conn, c := stuck(t, e, "system_id=1&group_name=g")
			for c.Echo(Binary, make([]byte, 32<<10)) == Written {
			}
			for c.Echo(Binary, make([]byte, 1<<10)) == Queued && c.Stats().QueuedBytes < 60<<10 {
			}
			return conn
		}, true, CloseReset},
		{"instead of the answer to our close frame", client(func(w *wire) {
			c, _ := e.Client(w.id)
			c.Close("")
		}), true, CloseBackend},
	}
	for _, tt := range tests {
		for range rounds {
			reset(tt.do())
			ring(t, e, innocent)
		}
		if tt.name == "in Authenticate" {
			close(proceed) // they go on with clients that are gone
		}
		settled(t, e, 1)
		reasons := ledger.closed(e, 1)
		if n := reasons[tt.why]; len(reasons) > 1 || tt.opened && n != rounds {
			t.Errorf("%s: OnClose was given %v, want %v alone", tt.name, reasons, tt.why)
		}
		ring(t, e, innocent)
	}
}

// Half-closed connections. What came before the peer's FIN is handled and answered;
// then the connection ends, with a FIN and not with a reset, also if something
// waits for the peer: what it has got by then is an unbroken run from the first.
func TestHalfClosed(t *testing.T) {
	o := Options{OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) }}
	ledger := keepLedger(t, &o)
	e := newEngine(t, o)
	innocent := dialWire(t, e, "system_id=bystander")
	tests := []struct {
		name string
		do   func() (w *wire, got []string, end ended)
		want string
		code uint16
		why  CloseReason
	}{
		{"after the request", func() (*wire, []string, ended) {
			w := &wire{TCPConn: rawConn(t, e, "").(*net.TCPConn)}
			w.br = bufio.NewReader(w)
			io.WriteString(w, fmt.Sprintf(upgrade, "system_id=1"))
			w.CloseWrite()
			if head, err := readUntil(w.br, "\r\n\r\n"); err != nil {
				t.Errorf("got %q, %v, want the 101", head, err)
			}
			var got []string
			end := w.each(func([]byte) bool { got = append(got, "welcome"); return true })
			return w, got, end
		}, "[welcome]", 0, CloseReset},
		{"after messages", func() (*wire, []string, ended) {
			w := dialWire(t, e, "system_id=1")
			for _, s := range []string{"one", "two"} {
				w.send(ws.OpText, []byte(s))
			}
			w.CloseWrite()
			var got []string
			end := w.each(func(b []byte) bool { got = append(got, string(b)); return true })
			return w, got, end
		}, "[one two]", 0, CloseReset},
		{"after a close frame", func() (*wire, []string, ended) {
			w := dialWire(t, e, "system_id=1")
			w.sendClose()
			w.CloseWrite()
			end := w.each(func([]byte) bool { return true })
			return w, nil, end
		}, "[]", 1000, ClosePeer},
		{"with data queued", func() (*wire, []string, ended) {
			w := dialWire(t, e, "system_id=1")
			c, _ := e.Client(w.id)
			sent := 0
			for queued := 0; queued < 5; sent++ {
				if o, err := c.Send(Message{Data: numbered(sent, 8<<10)}); o == Queued && err == nil {
					queued++
				}
			}
			w.CloseWrite()
			eventually(t, "it has ended", func() bool { return e.Count(Query{System: "1"}) == 0 })
			next := 0
			end := w.each(func(b []byte) bool {
				if n := number(b); n != next {
					t.Errorf("message %d came instead of %d", n, next)
				}
				next++
				return true
			})
			if next == 0 || next > sent {
				t.Errorf("%d messages came of the %d sent", next, sent)
			}
			if end.err == io.ErrUnexpectedEOF { // in a frame, as it must be
				end.err = io.EOF
			}
			return w, nil, end
		}, "[]", 0, CloseReset},
		{"both ways", func() (*wire, []string, ended) {
			w := dialWire(t, e, "system_id=1")
			w.CloseRead()
			w.CloseWrite()
			return w, nil, ended{0, io.EOF}
		}, "[]", 0, CloseReset},
	}
	for _, tt := range tests {
		w, got, end := tt.do()
		if fmt.Sprint(got) != tt.want || end != (ended{tt.code, io.EOF}) {
			t.Errorf("%s: got %v and %+v; want %s, close code %d and EOF", tt.name, got, end, tt.want, tt.code)
		}
		settled(t, e, 1) // before w is closed
		if reasons := ledger.closed(e, 1); len(reasons) != 1 || reasons[tt.why] != 1 {
			t.Errorf("%s: OnClose was given %v, want %v", tt.name, reasons, tt.why)
		}
		ring(t, e, innocent)
		w.Close()
	}
}

// A peer that shuts its reading side down is one that does not read. (Where the
// kernel throws away what arrives for it, it is one that does.)
func TestReadingSideShut(t *testing.T) {
	var o Options
	ledger := keepLedger(t, &o)
	e := newEngine(t, o)
	w := dialWire(t, e, "system_id=1")
	innocent := dialWire(t, e, "system_id=bystander")
	w.CloseRead()
	c, _ := e.Client(w.id)
	for n := 0; n < 10_000 && c.Echo(Binary, make([]byte, 32<<10)) != Dropped; n++ {
	}
	ring(t, e, innocent)
	reset(w)
	settled(t, e, 1)
	if reasons := ledger.closed(e, 1); reasons[CloseSlowConsumer]+reasons[CloseReset] != 1 {
		t.Errorf("OnClose was given %v, want slow consumer", reasons)
	}
}

// Both sides close at the same moment, many times: OnClose comes once, its reason
// is that of the one close frame which the client sees, and then comes a FIN.
func TestCloseFromBothSides(t *testing.T) {
	const rounds = 500
	var o Options
	ledger := keepLedger(t, &o)
	e := newEngine(t, o)
	var byCode [2]atomic.Int32
	for range rounds / 50 {
		var wg sync.WaitGroup
		for range 50 {
			w := dialWire(t, e, "system_id=1")
			c, _ := e.Client(w.id)
			begin := make(chan struct{})
			wg.Go(func() { <-begin; c.Close("") })
			wg.Go(func() {
				<-begin
				if err := w.sendClose(); err != nil {
					t.Error(err)
				}
				switch op, b, err := w.read(); {
				case err == nil && op == ws.OpClose && string(b) == "\x03\xe8":
					byCode[0].Add(1)
				case err == nil && op == ws.OpClose && string(b) == "\x0d\xac":
					byCode[1].Add(1)
				default:
					t.Errorf("the client saw %v %q, %v, want a close frame of 1000 or 3500", op, b, err)
				}
				if _, b, err := w.read(); err != io.EOF {
					t.Errorf("behind the close frame came %q, %v, want EOF", b, err)
				}
				w.Close()
			})
			close(begin)
		}
		wg.Wait()
	}
	settled(t, e, 0)
	reasons := ledger.closed(e, 0)
	if reasons[ClosePeer] != int(byCode[0].Load()) || reasons[CloseBackend] != int(byCode[1].Load()) || ledger.total != rounds {
		t.Errorf("OnClose was given %v for %d clients; they saw 1000 %d times and 3500 %d times",
			reasons, ledger.total, byCode[0].Load(), byCode[1].Load())
	}
	t.Logf("the client was first %d times of %d", byCode[0].Load(), rounds)
}
