package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// eachPeer runs f against every peer over real sockets. The clients are of a library
// that is none of them. With -race, nbio's own layers are reported now and then: their
// goroutines that accept and that read share a connection by way of epoll alone.
func eachPeer(t *testing.T, echo bool, f func(t *testing.T, s *server)) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if p.name == floorName && runtime.GOOS != "linux" {
				t.Skip("the floor is epoll's, which only Linux has")
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			stop, err := p.start(ln, echo)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			f(t, &server{t, ln.Addr().String(), p.name == "centrifuge"})
		})
	}
}

type server struct {
	t        *testing.T
	addr     string
	protocol bool // has the protocol of centrifuge
}

type client struct {
	*websocket.Conn
	s     *server
	id    string
	lines [][]byte // of centrifuge, which puts several messages into a frame
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// dial connects and takes the welcome.
func (s *server) dial(query string) *client {
	s.t.Helper()
	conn, _, err := websocket.Dial(testContext(s.t), "ws://"+s.addr+"/ws?"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	c := &client{Conn: conn, s: s}
	if s.protocol {
		c.send(websocket.MessageText, `{"id":1,"connect":{}}`)
	}
	text := c.receive()
	var reply struct {
		Connect struct{ Data json.RawMessage }
	}
	if s.protocol {
		unmarshal(s.t, text, &reply)
		text = reply.Connect.Data
	}
	var e envelope
	if unmarshal(s.t, text, &e); e.Code != codeConnected || len(e.ClientID) < 18 {
		s.t.Fatalf("welcome %s", text)
	}
	c.id = e.ClientID
	return c
}

func unmarshal(t *testing.T, text []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func (c *client) send(kind websocket.MessageType, text string) {
	c.s.t.Helper()
	if err := c.Write(testContext(c.s.t), kind, []byte(text)); err != nil {
		c.s.t.Fatal(err)
	}
}

func (c *client) receive() []byte {
	c.s.t.Helper()
	if len(c.lines) == 0 {
		_, text, err := c.Read(testContext(c.s.t))
		if err != nil {
			c.s.t.Fatal(err)
		}
		c.lines = bytes.Split(text, []byte("\n"))
	}
	line := c.lines[0]
	c.lines = c.lines[1:]
	return line
}

// data is the data of the next push.
func (c *client) data() string {
	c.s.t.Helper()
	text := c.receive()
	var frame struct {
		Push struct {
			Pub, Message struct{ Data json.RawMessage }
		}
	}
	if c.s.protocol {
		unmarshal(c.s.t, text, &frame)
		text = append(frame.Push.Pub.Data, frame.Push.Message.Data...) // one of them is there
	}
	var e envelope
	if unmarshal(c.s.t, text, &e); e.Code != codeSent {
		c.s.t.Fatalf("a push's envelope is %s", text)
	}
	var data string
	unmarshal(c.s.t, e.Data, &data)
	return data
}

// push returns how many clients matched.
func (s *server) push(path string, fields url.Values) int {
	s.t.Helper()
	resp, err := http.PostForm("http://"+s.addr+path, fields)
	if err != nil {
		s.t.Fatal(err)
	}
	return matched(s.t, resp)
}

func matched(t *testing.T, resp *http.Response) int {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("push: %s %v %s", resp.Status, err, body)
	}
	var reply struct{ Report struct{ Matched int } }
	unmarshal(t, body, &reply)
	return reply.Report.Matched
}

func TestPushReachesWhoItNames(t *testing.T) {
	eachPeer(t, false, func(t *testing.T, s *server) {
		ann := s.dial("system_id=a&group_name=vip&group_name=x")
		bob := s.dial("system_id=a")
		eve := s.dial("system_id=b&group_name=vip")
		for _, p := range []struct {
			path, fields string
			want         []*client
		}{
			{"/push_to_system", "system_id=a&data=to-a", []*client{ann, bob}},
			{"/push_to_group", "system_id=a&group_name=vip&data=to-vip", []*client{ann}},
			{"/push_to_group", "system_id=a&group_name=none&data=to-none", nil},
			{"/push_to_client", "system_id=a&client_id=" + bob.id + "&data=to-bob", []*client{bob}},
			{"/push_to_client", "system_id=b&client_id=" + bob.id + "&data=to-no-bob", nil},
			{"/push_to_client", "system_id=a&client_id=7&data=to-7", nil},
			{"/push_to_all", "data=" + strings.Repeat("to-all", 20_000), []*client{ann, bob, eve}},
			{"/push_to_all", "data=the+end+\"", []*client{ann, bob, eve}},
		} {
			fields, err := url.ParseQuery(p.fields)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.push(p.path, fields); got != len(p.want) {
				t.Errorf("%s %.50s: matched %d, want %d", p.path, p.fields, got, len(p.want))
			}
			for _, c := range p.want { // in order: another's message would come first
				if got := c.data(); got != fields.Get("data") {
					t.Errorf("%s %.50s: got %.50q", p.path, p.fields, got)
				}
			}
		}
	})
}

func TestPushTakesJSONAndSaysWhatIsMissing(t *testing.T) {
	eachPeer(t, false, func(t *testing.T, s *server) {
		c := s.dial("system_id=a")
		post := func(body string) *http.Response {
			resp, err := http.Post("http://"+s.addr+"/push_to_system", "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		if got := matched(t, post(`{"system_id":"a","data":"quote \" and 中文"}`)); got != 1 {
			t.Errorf("matched %d, want 1", got)
		}
		if got := c.data(); got != `quote " and 中文` {
			t.Errorf("got %q", got)
		}
		resp := post(`{"data":"x"}`)
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !bytes.Contains(body, []byte("system_id")) {
			t.Errorf("without a system: %s %s", resp.Status, body)
		}
	})
}

func TestEcho(t *testing.T) {
	eachPeer(t, true, func(t *testing.T, s *server) {
		c := s.dial("system_id=a")
		if s.protocol {
			c.send(websocket.MessageText, `{"send":{"data":{"n":1}}}`)
			if got, want := string(c.receive()), `{"push":{"message":{"data":{"n":1}}}}`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			return
		}
		for _, m := range []struct {
			kind websocket.MessageType
			text string
		}{
			{websocket.MessageText, "hello"},
			{websocket.MessageBinary, strings.Repeat("\x00\xff", 100)},
			{websocket.MessageText, strings.Repeat("long ", 2_000)},
		} {
			c.send(m.kind, m.text)
			kind, got, err := c.Read(testContext(t))
			if err != nil || kind != m.kind || string(got) != m.text {
				t.Errorf("sent %v %.20q, got %v %.20q, %v", m.kind, m.text, kind, got, err)
			}
		}
		if err := c.Ping(c.CloseRead(testContext(t))); err != nil { // which reads the pong
			t.Errorf("ping: %v", err)
		}
	})
}

func TestLeaving(t *testing.T) {
	eachPeer(t, false, func(t *testing.T, s *server) {
		const rounds = 20
		stays := s.dial("system_id=a&group_name=g")
		for i := range rounds {
			c := s.dial("system_id=a&group_name=g")
			if i%2 == 0 {
				c.CloseNow()
			} else if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Errorf("close handshake: %v", err)
			}
		}
		group := url.Values{"system_id": {"a"}, "group_name": {"g"}, "data": {"x"}}
		deadline := time.Now().Add(30 * time.Second)
		for s.push("/push_to_group", group) != 1 {
			if time.Now().After(deadline) {
				t.Fatal("who left is still in the group")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := stays.data(); got != "x" {
			t.Errorf("who stays got %q", got)
		}
	})
}

// Pushes made one after the other arrive in that order, whatever waits.
func TestOrder(t *testing.T) {
	eachPeer(t, false, func(t *testing.T, s *server) {
		const pushes = 200
		clients := []*client{s.dial("system_id=a"), s.dial("system_id=a"), s.dial("system_id=a")}
		for i := range pushes {
			if got := s.push("/push_to_system", url.Values{"system_id": {"a"}, "data": {fmt.Sprint(i)}}); got != len(clients) {
				t.Fatalf("push %d: matched %d", i, got)
			}
		}
		for _, c := range clients {
			for i := range pushes {
				if got := c.data(); got != fmt.Sprint(i) {
					t.Fatalf("message %d is %q", i, got)
				}
			}
		}
	})
}

func TestHandshakeWithoutSystem(t *testing.T) {
	eachPeer(t, false, func(t *testing.T, s *server) {
		if _, _, err := websocket.Dial(testContext(t), "ws://"+s.addr+"/ws?group_name=g", nil); err == nil {
			t.Error("accepted")
		}
	})
}
