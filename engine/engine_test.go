package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// newEngine starts an engine on a free port and shuts it down after the test.
func newEngine(t testing.TB, o Options, prepare ...func(*Engine)) *Engine {
	t.Helper()
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:0")
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range prepare {
		f(e)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(t, e) })
	return e
}

func shutdown(t testing.TB, e *Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil && !errors.Is(err, ErrShutdown) {
		t.Errorf("Shutdown: %v, %d sockets left", err, e.conns.Load())
	}
}

// A peer is a client of the independent library.
type peer struct {
	*websocket.Conn
	t  testing.TB
	id ID
}

type envelope struct {
	SystemID  string          `json:"system_id"`
	ClientID  string          `json:"client_id"`
	MessageID string          `json:"message_id"`
	GroupName string          `json:"group_name"`
	Code      Code            `json:"code"`
	Msg       string          `json:"msg"`
	Data      json.RawMessage `json:"data"`
	Params    json.RawMessage `json:"params"`
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// dial connects and reads the welcome.
func dial(t testing.TB, e *Engine, query string) *peer {
	t.Helper()
	ctx := testContext(t)
	c, _, err := websocket.Dial(ctx, "ws://"+e.Addr().String()+"/ws?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(-1)
	p := &peer{Conn: c, t: t}
	w := p.next()
	if w.Code != CodeConnected {
		t.Fatalf("the first envelope has code %d, want the welcome", w.Code)
	}
	n, err := strconv.ParseUint(w.ClientID, 10, 63)
	if err != nil {
		t.Fatalf("client_id %q: %v", w.ClientID, err)
	}
	p.id = ID(n)
	return p
}

func (p *peer) next() (env envelope) {
	p.t.Helper()
	typ, b, err := p.Read(testContext(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	if typ != websocket.MessageText {
		p.t.Fatalf("got a %v message, want text", typ)
	}
	if err := json.Unmarshal(b, &env); err != nil {
		p.t.Fatalf("envelope %s: %v", b, err)
	}
	return env
}

// closed reads until the connection ends and returns how it did.
func (p *peer) closed() websocket.CloseError {
	p.t.Helper()
	for {
		if _, _, err := p.Read(testContext(p.t)); err != nil {
			var ce websocket.CloseError
			if !errors.As(err, &ce) {
				ce.Code = -1
				ce.Reason = err.Error()
			}
			return ce
		}
	}
}

func push(t testing.TB, e *Engine, to Target, data string) Report {
	t.Helper()
	r, err := e.Push(testContext(t), to, Message{Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// eventually waits for what happens soon.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestWelcome(t *testing.T) {
	e := newEngine(t, Options{})
	ctx := testContext(t)
	c, _, err := websocket.Dial(ctx, "ws://"+e.Addr().String()+"/ws?system_id=123", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	_, b, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var env envelope
	if err := json.Unmarshal(b, &env); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"system_id":"123","client_id":"%s","message_id":"%s","group_name":"","code":0,"msg":"客户端连接成功","data":null,"params":{"groups":[],"user_id":""}}`,
		env.ClientID, env.MessageID)
	if string(b) != want {
		t.Errorf("welcome\n%s, want\n%s", b, want)
	}
}

func TestPushToEachTarget(t *testing.T) {
	e := newEngine(t, Options{})
	a := dial(t, e, "system_id=one&group_name=g&group_name=h&user_id=u")
	b := dial(t, e, "system_id=one&group_name=g")
	x := dial(t, e, "system_id=two&group_name=g")

	tests := []struct {
		name  string
		to    Target
		group string
		get   []*peer
	}{
		{"client", ToClient("one", a.id), "", []*peer{a}},
		{"clients", ToClients("one", b.id, x.id, a.id), "", []*peer{a, b}},
		{"group", ToGroup("one", "g"), "g", []*peer{a, b}},
		{"group of one", ToGroup("one", "h"), "h", []*peer{a}},
		{"group except one", ToGroup("one", "g", a.id), "g", []*peer{b}},
		{"system", ToSystem("one"), "", []*peer{a, b}},
		{"system except one", ToSystem("one", b.id), "", []*peer{a}},
		{"other system", ToSystem("two"), "", []*peer{x}},
		{"empty group", ToGroup("two", "none"), "none", nil},
		{"all", ToAll(), "", []*peer{a, b, x}},
	}
	for i, tt := range tests {
		r := push(t, e, tt.to, fmt.Sprint(i))
		if r.Matched != len(tt.get) || r.Matched != r.Written+r.Queued+r.Dropped || r.Dropped != 0 {
			t.Errorf("%s: report %+v, want %d matched", tt.name, r, len(tt.get))
		}
		for _, p := range tt.get {
			env := p.next()
			system := "one"
			if p == x {
				system = "two"
			}
			if env.ClientID != p.id.String() || env.SystemID != system || env.MessageID != r.MessageID ||
				env.GroupName != tt.group || env.Code != CodeSent || string(env.Data) != fmt.Sprint(i) {
				t.Errorf("%s: client %v got %+v", tt.name, p.id, env)
			}
		}
	}
	// What was not meant for someone would come before these.
	push(t, e, ToAll(), `"end"`)
	for _, p := range []*peer{a, b, x} {
		if env := p.next(); string(env.Data) != `"end"` {
			t.Errorf("client %v got %s that was not for it", p.id, env.Data)
		}
	}
}

func TestOtherRequests(t *testing.T) {
	e := newEngine(t, Options{ServeHTTP: true})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, b)
	})}
	go srv.Serve(e.HTTP())
	defer srv.Close()
	base := "http://" + e.Addr().String()
	for range 3 { // the second and third on the same connection
		resp, err := http.Post(base+"/push?x=1", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got, want := string(b), "POST /push?x=1 body"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// Byte by byte, as a slow network delivers it.
	conn, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, b := range []byte("GET /stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") {
		conn.Write([]byte{b})
		time.Sleep(time.Millisecond)
	}
	if b, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(b), "GET /stats ") {
		t.Errorf("got %q, %v", b, err)
	}
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "the connections are gone", func() bool { return e.conns.Load() == 0 })
}
