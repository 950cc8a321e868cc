package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/coder/websocket"
)

func TestBindAndUnbind(t *testing.T) {
	e := newEngine(t, Options{MaxGroups: 2})
	p := dial(t, e, "system_id=1&group_name=a")
	steps := []struct {
		bind   bool
		group  string
		did    bool
		groups string
	}{
		{true, "b", true, "[a b]"}, {true, "b", false, "[a b]"}, {false, "a", true, "[b]"},
		{false, "a", false, "[b]"}, {true, "c", true, "[b c]"}, {true, "c", false, "[b c]"},
	}
	c, _ := e.Client(p.id)
	for _, s := range steps {
		f := e.Unbind
		if s.bind {
			f = e.Bind
		}
		if did, err := f("1", p.id, s.group); did != s.did || err != nil || fmt.Sprint(c.Groups()) != s.groups {
			t.Errorf("bind %v %s: %v, %v, groups %v; want %v and %s", s.bind, s.group, did, err, c.Groups(), s.did, s.groups)
		}
	}
	var field *FieldError
	if _, err := e.Bind("1", p.id, "d"); !errors.As(err, &field) || field.Field != "group_name" {
		t.Errorf("a group over MaxGroups: %v", err)
	}
	for name, err := range map[string]error{
		"other system": second(e.Bind("2", p.id, "x")), "no client": second(e.Bind("1", 77, "x")),
		"unbind other system": second(e.Unbind("2", p.id, "b")), "close other system": e.Close("2", p.id, ""),
	} {
		if !errors.Is(err, ErrNoClient) {
			t.Errorf("%s: %v, want ErrNoClient", name, err)
		}
	}
	if r := push(t, e, ToGroup("1", "c"), "1"); r.Matched != 1 {
		t.Errorf("the group has %d members, want 1", r.Matched)
	}
	if got := e.Stats(); got.Groups != 2 || got.Systems != 1 {
		t.Errorf("stats %+v", got)
	}
}

func second[T any](_ T, err error) error { return err }

// Pages of a system while others come and go: those who stay are seen once.
func TestPaging(t *testing.T) {
	e := newEngine(t, Options{})
	stay := map[ID]bool{}
	for range 60 {
		stay[dial(t, e, "system_id=1&group_name=g").id] = true
	}
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				p := dial(t, e, "system_id=1&group_name=g")
				p.CloseNow()
			}
		}
	})
	for _, q := range []Query{{}, {System: "1"}, {System: "1", Group: "g"}} {
		for range 20 {
			seen := map[ID]int{}
			for after := q; ; {
				page := 0
				for c := range e.Clients(after) {
					seen[c.ID()]++
					after.After = c.Cursor()
					if page++; page == 7 {
						break
					}
				}
				if page == 0 {
					break
				}
				cur, err := ParseCursor(after.After.String())
				if err != nil || cur != after.After {
					t.Fatalf("cursor %v: %v, %v", after.After, cur, err)
				}
			}
			for id := range stay {
				if seen[id] != 1 {
					t.Fatalf("%+v: client %v seen %d times", q, id, seen[id])
				}
			}
			for id, n := range seen {
				if n > 1 {
					t.Fatalf("%+v: client %v seen %d times", q, id, n)
				}
			}
		}
	}
	close(stop)
	churn.Wait()
	eventually(t, "the counts are right", func() bool {
		return e.Count(Query{}) == 60 && e.Count(Query{System: "1"}) == 60 && e.Count(Query{System: "1", Group: "g"}) == 60
	})
	if n := e.Count(Query{System: "2"}) + e.Count(Query{System: "1", Group: "x"}); n != 0 {
		t.Errorf("%d clients where there are none", n)
	}
	if _, err := ParseCursor("nonsense"); !errors.Is(err, ErrInvalid) {
		t.Errorf("ParseCursor: %v", err)
	}
}

// How a connection ends, and that everybody is told the same.
func TestCloseReasons(t *testing.T) {
	type ended struct {
		id  ID
		why CloseReason
	}
	ends := make(chan ended, 10)
	e := newEngine(t, Options{
		MaxMessageBytes: 100, MaxInboundMessages: 20,
		OnMessage: func(_ *Client, _ Kind, b []byte) {
			if string(b) == "panic" {
				panic("in the handler")
			}
		},
		OnClose: func(c *Client, why CloseReason) { ends <- ended{c.ID(), why} },
	})
	tests := []struct {
		name   string
		why    CloseReason
		do     func(p *peer)
		code   websocket.StatusCode // what the peer sees; -1 for none
		reason string
	}{
		{"backend", CloseBackend, func(p *peer) {
			if err := e.Close("1", p.id, "bye 你"); err != nil {
				t.Error(err)
			}
			if _, ok := e.Client(p.id); ok {
				t.Error("a closed client is still found")
			}
			if err := e.Close("1", p.id, ""); !errors.Is(err, ErrNoClient) {
				t.Errorf("a second Close: %v, want ErrNoClient", err)
			}
		}, 3500, "bye 你"},
		{"peer", ClosePeer, func(p *peer) { p.Close(4001, "enough") }, -1, ""},
		{"reset", CloseReset, func(p *peer) { p.CloseNow() }, -1, ""},
		{"too big", CloseTooBig, func(p *peer) { p.Write(testContext(t), websocket.MessageText, make([]byte, 101)) }, 1009, "message too big"},
		{"protocol", CloseProtocol, func(p *peer) { p.Write(testContext(t), websocket.MessageText, []byte("\xff")) }, 1007, "text is not UTF-8"},
		{"rate", CloseRate, func(p *peer) {
			for range 60 { // more than twice the limit: a second may turn in between
				p.Write(testContext(t), websocket.MessageText, []byte("x"))
			}
		}, 1008, "too many messages"},
		{"panic", ClosePanic, func(p *peer) { p.Write(testContext(t), websocket.MessageText, []byte("panic")) }, 1011, ""},
	}
	for _, tt := range tests {
		before := e.Stats().Closed[tt.why]
		p := dial(t, e, "system_id=1")
		tt.do(p)
		if tt.code > 0 {
			if got := p.closed(); got.Code != tt.code || got.Reason != tt.reason {
				t.Errorf("%s: the peer saw %v %q, want %v %q", tt.name, got.Code, got.Reason, tt.code, tt.reason)
			}
		}
		if got := <-ends; got != (ended{p.id, tt.why}) {
			t.Errorf("%s: OnClose(%v, %v), want (%v, %v)", tt.name, got.id, got.why, p.id, tt.why)
		}
		if got := e.Stats().Closed[tt.why]; got != before+1 {
			t.Errorf("%s: counted %d times", tt.name, got-before)
		}
		eventually(t, tt.name+": the socket is gone", func() bool { return e.conns.Load() == 0 })
	}
	if len(ends) > 0 {
		t.Errorf("OnClose was called again: %v", <-ends)
	}
	if s := e.Stats(); s.Connections != 0 || s.Systems != 0 {
		t.Errorf("left behind: %+v", s)
	}
	for l := range e.loops {
		if n := e.loops[l].wheel.Len(); n != 0 {
			t.Errorf("%d records left in wheel %d", n, l)
		}
	}
	if err := e.Close("1", 1, string(make([]byte, 124))); !errors.Is(err, ErrInvalid) {
		t.Errorf("a reason of 124 bytes: %v", err)
	}
}

// A closing client that never answers is cut off after CloseTimeout.
func TestCloseTimeout(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Options{CloseTimeout: time.Second, NoWelcome: true})
	conn := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
	eventually(t, "open", func() bool { return e.Count(Query{}) == 1 })
	for c := range e.Clients(Query{}) {
		c.Close("bye")
	}
	if got, err := readUntil(conn, "\x88\x05\x0d\xacbye"); err != nil {
		t.Fatalf("%q, %v, want a close frame of 3500", got, err)
	}
	eventually(t, "the socket is gone", func() bool { return e.conns.Load() == 0 })
}

// A client that is closed in the moment in which its heartbeat is due has the time
// for its close frame all the same.
func TestCloseWhileVisited(t *testing.T) {
	e := newEngine(t, Options{CloseTimeout: time.Minute, NoWelcome: true})
	conn := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
	eventually(t, "open", func() bool { return e.Count(Query{}) == 1 })
	for c := range e.Clients(Query{}) {
		c.Close("bye")
		if again := c.loop.visit(c); again <= e.tickNow() {
			t.Errorf("the next visit is at %d, now it is %d", again, e.tickNow())
		}
	}
	if got, err := readUntil(conn, "\x88\x05\x0d\xacbye"); err != nil {
		t.Fatalf("%q, %v, want a close frame of 3500", got, err)
	}
	time.Sleep(50 * time.Millisecond)
	if e.conns.Load() != 1 {
		t.Error("it was cut off before it could answer")
	}
}

// OnOpen, then OnMessage, then OnClose, each client's own, with panics on the way.
func TestCallbackOrder(t *testing.T) {
	var mu sync.Mutex
	calls := map[ID][]string{}
	note := func(c *Client, s string) {
		mu.Lock()
		defer mu.Unlock()
		calls[c.ID()] = append(calls[c.ID()], s)
	}
	var n atomic.Int32
	e := newEngine(t, Options{
		OnOpen: func(c *Client) {
			time.Sleep(time.Duration(n.Add(1)%3) * time.Millisecond)
			note(c, "open")
			if c.System() == "panic" {
				panic("in OnOpen")
			}
		},
		OnMessage: func(c *Client, _ Kind, b []byte) { note(c, "message") },
		OnClose:   func(c *Client, _ CloseReason) { note(c, "close"); panic("in OnClose") },
	})
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			system := []string{"a", "panic"}[i%2]
			conn := rawConn(t, e, fmt.Sprintf(upgrade, "system_id="+system)+"\x81\x80\x00\x00\x00\x00")
			if i%3 == 0 {
				readUntil(conn, "}")
			}
			conn.Close()
		})
	}
	wg.Wait()
	eventually(t, "all are gone", func() bool { return e.conns.Load() == 0 })
	eventually(t, "all are reported", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range calls {
			if c[len(c)-1] != "close" {
				return false
			}
		}
		return true
	})
	mu.Lock()
	defer mu.Unlock()
	if uint64(len(calls)) != e.Stats().Accepted {
		t.Errorf("callbacks for %d clients, %d were opened", len(calls), e.Stats().Accepted)
	}
	for id, c := range calls {
		ok := c[0] == "open" && c[len(c)-1] == "close" && len(c) <= 3 && !slices.Contains(c[1:], "open") && !slices.Contains(c[:len(c)-1], "close")
		if !ok {
			t.Errorf("client %v: %v", id, c)
		}
	}
}

// Every byte of a Client is a megabyte of a server with a million of them, and the
// allocator has sizes of 208, 224 and 240: the package comment's table says what there is.
func TestClientSize(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 && unsafe.Sizeof(Client{}) > 224 {
		t.Errorf("a Client takes %d bytes, want at most 224, a size class", unsafe.Sizeof(Client{}))
	}
}

// A value of the program's own stays with its client, also in OnClose.
func TestClientData(t *testing.T) {
	type session struct{ visits int }
	ends := make(chan any, 1)
	e := newEngine(t, Options{
		OnOpen:    func(c *Client) { c.SetData(&session{}) },
		OnMessage: func(c *Client, _ Kind, _ []byte) { c.Data().(*session).visits++ },
		OnClose:   func(c *Client, _ CloseReason) { ends <- c.Data() },
	})
	p := dial(t, e, "system_id=1")
	for range 3 {
		p.Write(testContext(t), websocket.MessageText, []byte("x"))
	}
	p.Close(websocket.StatusNormalClosure, "")
	if s, ok := (<-ends).(*session); !ok || s.visits != 3 {
		t.Errorf("OnClose found %+v, want 3 visits", s)
	}
	if v := new(Client).Data(); v != nil {
		t.Errorf("without a value: %v", v)
	}
}

func TestKindString(t *testing.T) {
	if got := fmt.Sprint(JSON, Text, Binary, Kind(9)); got != "JSON Text Binary Kind(9)" {
		t.Error(got)
	}
}
