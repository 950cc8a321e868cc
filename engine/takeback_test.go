package engine

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carillon/engine/ws"
)

// serveBoth has net/http answer what is not for clients, and give back what is.
func serveBoth(t testing.TB, o Options, prepare ...func(*Engine)) *Engine {
	o.ServeHTTP = true
	e := newEngine(t, o, prepare...)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			if err := e.Upgrade(w, r); err != nil {
				http.Error(w, err.Error(), http.StatusUpgradeRequired)
			}
			return
		}
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d", r.URL.Path, len(b))
	})}
	ServeUpgrade(srv)
	go srv.Serve(e.HTTP())
	t.Cleanup(func() { srv.Close() })
	return e
}

const (
	apiGet  = "GET /api HTTP/1.1\r\nHost: a\r\n\r\n"
	apiPost = "POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
)

// Any request of a persistent connection may upgrade: behind answered ones, behind ones
// that are not answered yet, and with frames behind it. The client is like any other.
func TestUpgradeBehindOtherRequests(t *testing.T) {
	server, client := testTLS(t)
	frame := string(ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, []byte("hello")))
	for _, secured := range []bool{false, true} {
		var messages atomic.Int64
		o := Options{OnMessage: func(c *Client, k Kind, b []byte) {
			messages.Add(1)
			c.Echo(k, b)
		}}
		if secured {
			o.TLS = server
		}
		e := serveBoth(t, o)
		connect := func() net.Conn {
			if !secured {
				return rawConn(t, e, "")
			}
			conn, err := tls.Dial("tcp", e.Addr().String(), client)
			if err != nil {
				t.Fatal(err)
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		for name, before := range map[string][]string{
			"one":           {apiGet},
			"one with body": {apiPost},
			"three":         {apiGet, apiPost, apiGet},
		} {
			for _, pipelined := range []bool{false, true} {
				conn := connect()
				br := bufio.NewReader(conn)
				answer := func(want int) *http.Response {
					t.Helper()
					resp, err := http.ReadResponse(br, nil)
					if err != nil || resp.StatusCode != want {
						t.Fatalf("TLS %v, %s, pipelined %v: %v, %v, want %d", secured, name, pipelined, resp, err, want)
					}
					if want == 200 {
						io.Copy(io.Discard, resp.Body)
					}
					return resp
				}
				upgrading := fmt.Sprintf(upgrade, "system_id=1&group_name=g") + frame
				if pipelined {
					io.WriteString(conn, strings.Join(before, "")+upgrading)
					for range before {
						answer(200)
					}
				} else {
					for _, request := range before {
						io.WriteString(conn, request)
						answer(200)
					}
					io.WriteString(conn, upgrading)
				}
				if resp := answer(101); resp.Header.Get("Sec-WebSocket-Accept") == "" {
					t.Error("no Sec-WebSocket-Accept")
				}
				w := &wire{br: br}
				_, welcome, err := w.read()
				var env envelope
				if json.Unmarshal(welcome, &env); err != nil || env.ClientID == "" {
					t.Fatalf("welcome %q, %v", welcome, err)
				}
				if _, b, err := w.read(); err != nil || string(b) != "hello" {
					t.Errorf("the frame behind the request came back as %q, %v", b, err)
				}
				id, _ := ParseID(env.ClientID)
				push(t, e, ToClient("1", id), `"x"`)
				if _, b, err := w.read(); err != nil || !strings.Contains(string(b), `"data":"x"`) {
					t.Errorf("pushed %q, %v", b, err)
				}
				for range 3 { // and it goes on
					io.WriteString(conn, frame)
					if _, b, err := w.read(); err != nil || string(b) != "hello" {
						t.Fatalf("came back as %q, %v", b, err)
					}
				}
				conn.Close()
			}
		}
		eventually(t, "all are gone", func() bool { return e.conns.Load() == 0 && e.open.Load() == 0 })
		e.http.mu.Lock()
		if len(e.http.all)+len(e.http.perIP) > 0 {
			t.Errorf("%d connections are still with net/http", len(e.http.all))
		}
		e.http.mu.Unlock()
	}
}

// A request that does not qualify is answered as it would be as the first one.
func TestUpgradeRefusedBehindOtherRequests(t *testing.T) {
	e := serveBoth(t, Options{})
	for request, want := range map[string]string{
		fmt.Sprintf(upgrade, "x=1"):                                                          "HTTP/1.1 400",
		"GET /ws?system_id=1 HTTP/1.1\r\nHost: a\r\n\r\n":                                    "HTTP/1.1 426",
		strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "Version: 13", "Version: 8", 1): "HTTP/1.1 426",
	} {
		conn := rawConn(t, e, apiGet)
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		io.WriteString(conn, request)
		if b, err := io.ReadAll(br); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%q: answered %q, %v, want %s", request, b, err, want)
		}
	}
	if got := e.Stats().Refused; got["identity"]+got["upgrade"]+got["version"] != 3 {
		t.Errorf("counted as %v", got)
	}
	w := newRecorder()
	if err := e.Upgrade(w, new(http.Request)); !errors.Is(err, ErrNotHanded) {
		t.Errorf("a request from elsewhere: %v", err)
	}
}

// What is handed over counts for the limits of its address until it is closed, and each
// upgrade behind it is one more handshake.
func TestHandedOverCounts(t *testing.T) {
	e := serveBoth(t, Options{MaxPerIP: 3, HandshakesPerIP: 1000}, func(e *Engine) { e.addrs.loopback = true })
	var conns []net.Conn
	for range 3 {
		conn := rawConn(t, e, apiGet)
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		conns = append(conns, conn)
	}
	for _, request := range []string{apiGet, fmt.Sprintf(upgrade, "system_id=1")} {
		fourth := rawConn(t, e, request)
		if resp, err := http.ReadResponse(bufio.NewReader(fourth), nil); err != nil || resp.StatusCode != 429 {
			t.Errorf("a fourth connection: %v, %v", resp, err)
		}
		fourth.Close()
	}
	br := bufio.NewReader(conns[0])
	fmt.Fprintf(conns[0], upgrade, "system_id=1")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("an upgrade on one of the three: %v, %v", resp, err)
	}
	fourth := rawConn(t, e, apiGet)
	if resp, err := http.ReadResponse(bufio.NewReader(fourth), nil); err != nil || resp.StatusCode != 429 {
		t.Errorf("still a fourth connection: %v, %v", resp, err)
	}
	fourth.Close()
	for _, conn := range conns {
		conn.Close()
	}
	eventually(t, "they are counted out", func() bool { return e.conns.Load() == 0 })
	dial(t, e, "system_id=1")
}

// One address cannot take all places of net/http, and who only keeps a connection open
// makes room for who asks.
func TestHandedOverMakeRoom(t *testing.T) {
	t.Parallel()
	e := serveBoth(t, Options{})
	var idle []net.Conn
	for n := range maxHTTPPerIP + 50 {
		conn := rawConn(t, e, apiGet)
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("connection %d: %v, %v", n, resp, err)
		}
		idle = append(idle, conn)
	}
	e.http.mu.Lock()
	n := len(e.http.all)
	e.http.mu.Unlock()
	if n > maxHTTPPerIP {
		t.Errorf("%d connections of one address", n)
	}
	for _, conn := range idle {
		conn.Close()
	}
	eventually(t, "all have left", func() bool { return e.conns.Load() == 0 })
	busy := "POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel" // the rest never comes
	for range maxHTTPPerIP {
		rawConn(t, e, busy)
	}
	eventually(t, "there is no room", func() bool {
		rawConn(t, e, busy) // one before may have come while another was not idle yet
		resp, err := http.ReadResponse(bufio.NewReader(rawConn(t, e, apiGet)), nil)
		return err == nil && resp.StatusCode == 503
	})
	if got := e.Stats().Refused; len(got) != 1 || got["http connections"] == 0 {
		t.Errorf("counted as %v", got)
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := other.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Skip("no other loopback address: ", err)
	}
	defer conn.Close()
	io.WriteString(conn, apiGet)
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("another address: %v, %v", resp, err)
	}
}

// newRecorder is a ResponseWriter that cannot be hijacked.
func newRecorder() http.ResponseWriter { return struct{ http.ResponseWriter }{} }
