package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine"
)

// A bounded is a server on a listener of NewListener. Its handler answers, and for
// /wait when the test ends.
type bounded struct {
	t    *testing.T
	from net.IP // of whom dial is
	l    *listener
	busy atomic.Int32
}

// loopback says whether that has a share as any other address.
func newBounded(t *testing.T, o ListenerOptions, loopback bool) *bounded {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bound := NewListener(ln, o)
	s := &bounded{t: t, l: bound.(*listener)}
	s.l.loopback = loopback
	end := make(chan struct{})
	srv := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			s.busy.Add(1)
			<-end
		}
		_, _ = io.WriteString(w, "ok")
	}), zerolog.Nop())
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(bound) }()
	t.Cleanup(func() { close(end); _ = srv.Close(); <-served })
	return s
}

func (s *bounded) dial() net.Conn {
	s.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: s.from}}
	conn, err := dialer.Dial("tcp", s.l.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// get makes a request on the connection.
func (s *bounded) get(conn net.Conn) (*http.Response, string, error) {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return nil, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func (s *bounded) work(n int) {
	s.t.Helper()
	for range n {
		_, _ = io.WriteString(s.dial(), "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	s.soon(fmt.Sprintf("%d requests are at work", n), func() bool { return s.busy.Load() == int32(n) })
}

func (s *bounded) soon(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Idle connections make room, the longest idle first, those that never said a word
// among them; those at work do not.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	s := newBounded(t, ListenerOptions{MaxConns: 8}, false)
	s.work(2)
	silent := s.dial()
	s.soon("the silent one is there", func() bool { return s.l.open() == 3 })
	var idle []net.Conn
	for range 5 {
		conn := s.dial()
		if resp, _, err := s.get(conn); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		idle = append(idle, conn)
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(idleGrace)
	if _, _, err := s.get(idle[0]); err != nil { // now it is the one used last
		t.Fatal(err)
	}
	for i, victim := range []net.Conn{silent, idle[1], idle[2], idle[3], idle[4]} {
		if resp, body, err := s.get(s.dial()); err != nil || resp.StatusCode != 200 {
			t.Fatalf("newcomer %d: %v %s %v, want 200", i, resp, body, err)
		}
		if n, err := victim.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("newcomer %d: the one that waited longest is still there", i)
		}
		if n := s.l.open(); n > 8 {
			t.Errorf("%d connections, want at most 8", n)
		}
	}
	if resp, _, err := s.get(idle[0]); err != nil || resp.StatusCode != 200 {
		t.Errorf("the one used last was ended: %v", err)
	}
}

// When all are at work a newcomer is told, also if it sends much before it reads.
func TestTooManyAtWork(t *testing.T) {
	logs := &lockedBuffer{}
	s := newBounded(t, ListenerOptions{MaxConns: 8, Lang: engine.English, Logger: zerolog.New(logs)}, false)
	s.work(8)
	for range 3 {
		conn := s.dial()
		body := strings.Repeat("x", 4<<20)
		if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		var a answer
		if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != 503 || a.Code != 10002 || a.Msg == "" || a.Detail == "" {
			t.Errorf("%d %+v, %v, want 503", resp.StatusCode, a, err)
		}
		if resp.Header.Get("Retry-After") != "1" || resp.Header.Get("Date") == "" || !resp.Close {
			t.Errorf("header %v", resp.Header)
		}
	}
	if got := logs.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "too many connections") {
		t.Errorf("log %q, want one line", got)
	}
	// Silent newcomers cost no more than their share of descriptors.
	var crowd []net.Conn
	for range 2 * maxRefusing {
		crowd = append(crowd, s.dial())
	}
	ended := 0
	time.Sleep(lingerIdle / 4)
	for _, conn := range crowd {
		_ = conn.SetReadDeadline(time.Now().Add(lingerIdle / 4 / maxRefusing))
		if _, err := conn.Read(make([]byte, 1)); err == io.EOF {
			ended++
		}
	}
	if ended < maxRefusing {
		t.Errorf("%d of %d silent newcomers were closed at once, want at least %d", ended, len(crowd), maxRefusing)
	}
}

// Who ends gives the place back, however it ends.
func TestPlacesComeBack(t *testing.T) {
	s := newBounded(t, ListenerOptions{MaxConns: 4}, false)
	for range 50 {
		conn := s.dial()
		if resp, _, err := s.get(conn); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	s.soon("all have gone", func() bool { return s.l.open() == 0 })
	if len(s.l.byIP) != 0 {
		t.Errorf("addresses are left: %v", s.l.byIP)
	}
}

// One address has a quarter. Over it, its own idle connections make room and nobody
// else's; a proxy's address has no such bound, nor has loopback.
func TestShareOfAnAddress(t *testing.T) {
	s := newBounded(t, ListenerOptions{MaxConns: 16}, true)
	other := s.dial()
	if _, _, err := s.get(other); err != nil {
		t.Fatal(err)
	}
	s.from = net.IPv4(127, 9, 9, 9)
	s.work(3)
	first := s.dial()
	if _, _, err := s.get(first); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * idleGrace)
	second := s.dial()
	if resp, _, err := s.get(second); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v, want 200 in the place of its idle one", resp, err)
	}
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("its own idle connection: %v, want EOF", err)
	}
	_, _ = io.WriteString(second, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	s.soon("it has four at work", func() bool { return s.busy.Load() == 4 })
	if resp, _, err := s.get(s.dial()); err != nil || resp.StatusCode != 503 {
		t.Errorf("the fifth at work: %v, %v, want 503", resp, err)
	}
	if resp, _, err := s.get(other); err != nil || resp.StatusCode != 200 {
		t.Errorf("another's connection: %v, %v, want it to be still there", resp, err)
	}
	s = newBounded(t, ListenerOptions{MaxConns: 16, Shared: []netip.Prefix{netip.MustParsePrefix("127.9.0.0/16")}}, true)
	s.from = net.IPv4(127, 9, 9, 9)
	s.work(12)
	s = newBounded(t, ListenerOptions{MaxConns: 16}, false)
	s.work(16)
}

func TestCountedAs(t *testing.T) {
	l := NewListener(nil, ListenerOptions{Shared: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}).(*listener)
	for addr, want := range map[string]string{
		"192.0.2.1:1": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1", "[2001:db8::1:2:3:4]:1": "2001:db8::",
		"127.0.0.1:1": "invalid IP", "[::1]:1": "invalid IP", "[::ffff:127.0.0.1]:1": "invalid IP", "10.9.9.9:1": "invalid IP",
	} {
		if got := l.countedAs(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))); got.String() != want {
			t.Errorf("%s counts as %s, want %s", addr, got, want)
		}
	}
	if got := l.countedAs(&net.UnixAddr{}); got.IsValid() {
		t.Errorf("a Unix socket counts as %s", got)
	}
}
