package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Clients may come by an http.Server that the program has, at its path, and behind other
// requests; there they are as at the engine's own address.
func TestHandler(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Options{MaxGroups: 2, CloseTimeout: time.Second, OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) }})
	mux := http.NewServeMux()
	mux.Handle("/push/socket", e.Handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for range 3 {
		c, _, err := websocket.Dial(testContext(t), srv.URL+"/push/socket?system_id=1&group_name=g", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if _, b, err := c.Read(testContext(t)); err != nil || !strings.Contains(string(b), `"code":0`) {
			t.Fatalf("welcome %s, %v", b, err)
		}
		c.Write(testContext(t), websocket.MessageText, []byte("hi"))
		if _, b, err := c.Read(testContext(t)); err != nil || string(b) != "hi" {
			t.Errorf("came back as %q, %v", b, err)
		}
	}
	if r := push(t, e, ToGroup("1", "g"), "1"); r.Written != 3 {
		t.Errorf("%+v, want 3 written", r)
	}
	for c := range e.Clients(Query{}) {
		if c.RemoteAddr().(*net.TCPAddr).Port == 0 {
			t.Errorf("a client comes from %v", c.RemoteAddr())
		}
	}
	// Behind another request, with frames behind it, and refused.
	addr := strings.TrimPrefix(srv.URL, "http://")
	for query, want := range map[string]string{"system_id=1": "101", "system_id=1&group_name=a&group_name=b&group_name=c": "400", "x=1": "400"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		br := bufio.NewReader(conn)
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		fmt.Fprint(conn, strings.Replace(fmt.Sprintf(upgrade, query), "GET /ws", "GET /push/socket", 1)+"\x81\x82\x00\x00\x00\x00ok")
		if resp, err = http.ReadResponse(br, nil); err != nil || !strings.HasPrefix(resp.Status, want) {
			t.Errorf("%s: %v, %v, want %s", query, resp, err, want)
		}
	}
	resp, err := http.Get(srv.URL + "/push/socket")
	if err != nil || resp.StatusCode != 426 {
		t.Errorf("a plain request: %v, %v, want 426", resp, err)
	}
	secured := httptest.NewTLSServer(mux)
	defer secured.Close()
	if resp, err := secured.Client().Get(secured.URL + "/push/socket"); err != nil || resp.StatusCode != 501 {
		t.Errorf("over net/http's TLS: %v, %v, want 501", resp, err)
	}
	shutdown(t, e)
	if resp, err := http.Get(srv.URL + "/push/socket"); err != nil || resp.StatusCode != 503 {
		t.Errorf("after Shutdown: %v, %v, want 503", resp, err)
	}
}

// The engine serves a listener that it is given, and leaves its file.
func TestListener(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, ln := range []net.Listener{tcp, unix} {
		addr := ln.Addr()
		e := newEngine(t, Options{Listener: ln})
		conn, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(conn, upgrade, "system_id=1")
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 101 {
			t.Errorf("%s: %v, %v", addr.Network(), resp, err)
		}
		conn.Close()
		shutdown(t, e)
		if _, err := net.Dial(addr.Network(), addr.String()); err == nil {
			t.Errorf("%s: it still listens", addr.Network())
		}
	}
	if m, _ := filepath.Glob(path); len(m) == 0 {
		t.Error("the socket's file is gone")
	}
	var bad *OptionError
	if _, err := New(Options{Listener: struct{ net.Listener }{tcp}}); !errors.As(err, &bad) || bad.Option != "Listener" {
		t.Errorf("another kind of listener: %v", err)
	}
}

// The listener HTTP ends a Serve as an http.Server's own does, and does not pretend.
func TestServeOfHTTPEnds(t *testing.T) {
	e := newEngine(t, Options{ServeHTTP: true})
	ended := make(chan error, 1)
	go func() { ended <- http.Serve(e.HTTP(), nil) }()
	if err := e.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve ended with %v", err)
	}
	e = newEngine(t, Options{})
	if err := http.Serve(e.HTTP(), nil); err == nil || !strings.Contains(err.Error(), "ServeHTTP") {
		t.Errorf("without ServeHTTP: %v", err)
	}
}
