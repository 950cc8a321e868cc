package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// upgrade is a handshake that is accepted; %s is the query.
const upgrade = "GET /ws?%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// raw opens a socket and sends b.
func rawConn(t testing.TB, e *Engine, b string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, b); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestRefusals(t *testing.T) {
	e := newEngine(t, Options{MaxGroups: 2, MaxHandshakeBytes: 2048})
	long := strings.Repeat("x", MaxNameBytes+1)
	tests := []struct {
		name   string
		req    string
		status int
		code   Code
		field  string
		reason string
	}{
		{"no system", fmt.Sprintf(upgrade, ""), 400, CodeNoSystem, "system_id", "identity"},
		{"empty system", fmt.Sprintf(upgrade, "system_id="), 400, CodeNoSystem, "system_id", "identity"},
		{"long system", fmt.Sprintf(upgrade, "system_id="+long), 400, CodeBadParameter, "system_id", "identity"},
		{"system not UTF-8", fmt.Sprintf(upgrade, "system_id=%FF"), 400, CodeBadParameter, "system_id", "identity"},
		{"two systems", fmt.Sprintf(upgrade, "system_id=1&system_id=2"), 400, CodeBadParameter, "system_id", "identity"},
		{"long user", fmt.Sprintf(upgrade, "system_id=1&user_id="+long), 400, CodeBadParameter, "user_id", "identity"},
		{"long group", fmt.Sprintf(upgrade, "system_id=1&group_name="+long), 400, CodeBadParameter, "group_name", "identity"},
		{"empty group", fmt.Sprintf(upgrade, "system_id=1&group_name=a&group_name="), 400, CodeBadParameter, "group_name", "identity"},
		{"too many groups", fmt.Sprintf(upgrade, "system_id=1&group_name=a&group_name=b&group_name=c"), 400, CodeBadParameter, "group_name", "identity"},
		{"bad percent", fmt.Sprintf(upgrade, "system_id=%zz"), 400, CodeBadParameter, "system_id", "identity"},
		{"bad percent in a user", fmt.Sprintf(upgrade, "system_id=1&user_id=100%"), 400, CodeBadParameter, "user_id", "identity"},
		{"bad percent in a group", fmt.Sprintf(upgrade, "system_id=1&group_name=a&group_name=%a"), 400, CodeBadParameter, "group_name", "identity"},
		{"bad percent, name encoded", fmt.Sprintf(upgrade, "system%5Fid=%zz"), 400, CodeBadParameter, "system_id", "identity"},
		{"semicolon", fmt.Sprintf(upgrade, "system_id=1;user_id=2"), 400, CodeBadParameter, "system_id", "identity"},
		{"two users", fmt.Sprintf(upgrade, "user_id=1&system_id=1&user_id="), 400, CodeBadParameter, "user_id", "identity"},
		{"system of another's field", fmt.Sprintf(upgrade, "x=1;system_id=1"), 400, CodeNoSystem, "system_id", "identity"},
		{"other subprotocol", offering("graphql-ws"), 400, CodeConnectFailed, "Sec-WebSocket-Protocol", "subprotocol"},
		{"other subprotocols", offering("a, b", "c"), 400, CodeConnectFailed, "Sec-WebSocket-Protocol", "subprotocol"},
		{"other case", offering("Carillon.Raw"), 400, CodeConnectFailed, "Sec-WebSocket-Protocol", "subprotocol"},
		{"no token", offering("a b"), 400, CodeConnectFailed, "Sec-WebSocket-Protocol", "subprotocol"},
		{"no upgrade", "GET /ws?system_id=1 HTTP/1.1\r\nHost: a\r\n\r\n", 426, CodeConnectFailed, "Upgrade", "upgrade"},
		{"old version", strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "Version: 13", "Version: 8", 1), 426, CodeConnectFailed, "Sec-WebSocket-Version", "version"},
		{"short key", strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 1), 400, CodeConnectFailed, "Sec-WebSocket-Key", "key"},
		{"other path", "GET /other HTTP/1.1\r\nHost: a\r\n\r\n", 404, CodeBadParameter, "path", "path"},
		{"other method", "POST /ws HTTP/1.1\r\nHost: a\r\n\r\n", 405, CodeBadMethod, "", "method"},
		{"bare LF", "GET /ws?system_id=1 HTTP/1.1\nHost: a\n\n", 400, CodeConnectFailed, "", "line_ending"},
		{"fragment", "GET /ws#x HTTP/1.1\r\nHost: a\r\n\r\n", 400, CodeConnectFailed, "", "target"},
		{"not ASCII", "GET /ws?system_id=\xe4\xbd\xa0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, CodeConnectFailed, "", "target"},
		{"HTTP/2", "GET /ws HTTP/2.0\r\nHost: a\r\n\r\n", 505, CodeConnectFailed, "", "http_version"},
		{"not HTTP", "\x16\x03\x01\x02\x00\x01", 400, CodeConnectFailed, "", "request_line"},
		{"long head", "GET /ws HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 2048) + "\r\n\r\n", 431, CodeConnectFailed, "", "head_size"},
		{"long head, not ended", "GET /ws HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 2048), 431, CodeConnectFailed, "", "head_size"},
	}
	for _, tt := range tests {
		before := e.Stats().Refused[tt.reason]
		conn := rawConn(t, e, tt.req)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var body struct {
			Code   Code
			Msg    string
			Field  string
			Detail string
		}
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Errorf("%s: body: %v", tt.name, err)
		}
		if resp.StatusCode != tt.status || body.Code != tt.code || body.Field != tt.field || body.Msg != tt.code.Text(Chinese) {
			t.Errorf("%s: %d %+v, want %d with code %d about %q", tt.name, resp.StatusCode, body, tt.status, tt.code, tt.field)
		}
		if date, err := http.ParseTime(resp.Header.Get("Date")); err != nil || time.Since(date) > time.Minute || time.Until(date) > time.Second {
			t.Errorf("%s: Date: %s", tt.name, resp.Header.Get("Date"))
		}
		if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v, want the headers of the API's answers", tt.name, resp.Header)
		}
		if tt.reason == "subprotocol" && !strings.Contains(body.Detail, SubprotocolRaw) {
			t.Errorf("%s: %q does not name what there is", tt.name, body.Detail)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: after the answer: %d bytes, %v, want EOF", tt.name, n, err)
		}
		conn.Close()
		if got := e.Stats().Refused[tt.reason]; got != before+1 {
			t.Errorf("%s: counted %d times under %q, want once", tt.name, got-before, tt.reason)
		}
	}
	eventually(t, "all sockets are closed", func() bool { return e.conns.Load() == 0 })
	if s := e.Stats(); s.Accepted != 0 || s.Connections != 0 {
		t.Errorf("refused clients are in the stats: %+v", s)
	}
}

// offering is a handshake with these lines of subprotocols.
func offering(lines ...string) string {
	head := strings.TrimSuffix(fmt.Sprintf(upgrade, "system_id=1"), "\r\n")
	for _, line := range lines {
		head += "Sec-WebSocket-Protocol: " + line + "\r\n"
	}
	return head + "\r\n"
}

// answerTo sends a request and returns all that comes back, until the end.
func answerTo(t *testing.T, e *Engine, request string) string {
	t.Helper()
	b, err := io.ReadAll(rawConn(t, e, request))
	if err != nil {
		t.Errorf("%.60q: %v", request, err)
	}
	return string(b)
}

// No answer to a HEAD has a body, whatever it is refused for.
func TestHEAD(t *testing.T) {
	server, _ := testTLS(t)
	plain := newEngine(t, Options{MaxHandshakeBytes: 512})
	public := newEngine(t, Options{TLS: server})
	proxied := newEngine(t, Options{TrustedProxies: onlyLoopback})
	full := newEngine(t, Options{MaxHandshakeBytes: 512, ServeHTTP: true})
	full.http.mu.Lock()
	for range maxHTTPConns {
		full.http.all[new(handed)] = struct{}{}
	}
	full.http.mu.Unlock()
	for _, tt := range []struct {
		name   string
		e      *Engine
		sent   string
		status int
	}{
		{"the clients' path", plain, strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "GET", "HEAD", 1), 405},
		{"without an upgrade", plain, "HEAD /ws HTTP/1.1\r\nHost: a\r\n\r\n", 405},
		{"another path", plain, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 404},
		{"absolute-form", plain, "HEAD http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 404},
		{"malformed target", plain, "HEAD x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"malformed line", plain, "HEAD /ws HTTP/1.1\nHost: a\n\n", 400},
		{"malformed header", plain, "HEAD /ws HTTP/1.1\r\nHost : a\r\n\r\n", 400},
		{"other version", plain, "HEAD /ws HTTP/2.0\r\nHost: a\r\n\r\n", 505},
		{"long head", plain, "HEAD /ws HTTP/1.1\r\nX: " + strings.Repeat("y", 600), 431},
		{"long target", plain, "HEAD /" + strings.Repeat("y", 600), 431},
		{"TLS missing", public, "HEAD /ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"behind a PROXY header", proxied, proxyHeader("192.0.2.1:1") + "HEAD /ws HTTP/1.1\r\nHost: a\r\n\r\n", 405},
		{"behind a PROXY header, not trusted", plain, "PROXY UNKNOWN\r\nHEAD /ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"no room for HTTP", full, "HEAD /stats HTTP/1.1\r\nHost: a\r\n\r\n", 503},
		{"method in small letters is another", plain, "head / HTTP/1.1\r\nHost: a\r\n\r\n", 404},
	} {
		got := answerTo(t, tt.e, tt.sent)
		head, body, ok := strings.Cut(got, "\r\n\r\n")
		if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) || !ok || !strings.Contains(head, "\r\nDate: ") {
			t.Errorf("%s: %q, want %d with a Date", tt.name, got, tt.status)
		}
		if isHEAD := strings.Contains(tt.sent, "HEAD "); isHEAD != (body == "") || isHEAD == strings.Contains(head, "Content-Length") {
			t.Errorf("%s: the answer %q", tt.name, got)
		}
	}
	full.http.mu.Lock()
	clear(full.http.all)
	full.http.mu.Unlock()
	// Nor has one for want of a descriptor.
	for method, hasBody := range map[string]bool{"HEAD": false, "GET": true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, method+" /ws HTTP/1.1\r\nHost: a\r\n\r\n")
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		file, err := accepted.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := syscall.Dup(int(file.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		accepted.Close()
		plain.refuseUnread(fd)
		b, err := io.ReadAll(conn)
		if _, body, _ := strings.Cut(string(b), "\r\n\r\n"); err != nil || !strings.Contains(string(b), "503") || (body != "") != hasBody {
			t.Errorf("%s without a descriptor: %q, %v", method, b, err)
		}
	}
	// In pieces, too.
	conn := rawConn(t, plain, "HE")
	time.Sleep(5 * time.Millisecond)
	io.WriteString(conn, "AD /ws HTTP/1.1\r\nHost: a\r\n")
	time.Sleep(5 * time.Millisecond)
	io.WriteString(conn, "\r\n")
	if b, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(b), "\r\n\r\n") {
		t.Errorf("in pieces: %q, %v", b, err)
	}
}

// What is wrong with other people's fields refuses nobody.
func TestOtherQueryFields(t *testing.T) {
	e := newEngine(t, Options{})
	for _, q := range []string{
		"x=%zz&", "x=a;b&", ";&", "%zz&", "%zz=1&", "&&=&", "system_id%zz=2&", "system_id;=2&", "x=%FF&x=%&", "utm=100%&", "?&",
	} {
		for _, query := range []string{q + "system_id=s&user_id=u%20u&group_name=a+b", "system_id=s&user_id=u+u&group_name=a%20b&" + q} {
			p := dial(t, e, query)
			if c, ok := e.Client(p.id); !ok || c.System() != "s" || c.User() != "u u" || fmt.Sprint(c.Groups()) != "[a b]" {
				t.Errorf("%s: %v %v %v %v", query, ok, c.System(), c.User(), c.Groups())
			}
			p.CloseNow()
		}
	}
}

// The longest head that is taken, in one piece and in many, and one byte more.
func TestMaxHandshakeBytes(t *testing.T) {
	for limit, o := range map[int]Options{16 << 10: {}, 600: {MaxHandshakeBytes: 600}, 100_000: {MaxHandshakeBytes: 100_000}} {
		e := newEngine(t, o)
		for more, status := range map[int]int{0: 101, 1: 431} {
			for _, piece := range []int{1 << 20, 100} {
				head := fmt.Sprintf(upgrade, "system_id=1")
				head = strings.Replace(head, "\r\n\r\n", "\r\nCookie: \r\n\r\n", 1)
				head = strings.Replace(head, "Cookie: ", "Cookie: "+strings.Repeat("c", limit+more-len(head)), 1)
				conn := rawConn(t, e, "")
				for i := 0; i < len(head); i += piece {
					io.WriteString(conn, head[i:min(i+piece, len(head))])
				}
				if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != status {
					t.Errorf("a head of %d bytes in pieces of %d: %v, %v, want %d", len(head), piece, resp, err, status)
				}
			}
		}
	}
}

// A handshake that comes byte by byte, with frames right behind it.
func TestHandshakeInPieces(t *testing.T) {
	got := make(chan string, 10)
	e := newEngine(t, Options{OnMessage: func(_ *Client, _ Kind, b []byte) { got <- string(b) }})
	conn := rawConn(t, e, "")
	req := fmt.Sprintf(upgrade, "system_id=1") + "\x81\x82\x00\x00\x00\x00hi" + "\x81\x83\x00\x00\x00\x00you"
	for i := range len(req) {
		if _, err := io.WriteString(conn, req[i:i+1]); err != nil {
			t.Fatal(err)
		}
		if i%16 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	for _, want := range []string{"hi", "you"} {
		select {
		case m := <-got:
			if m != want {
				t.Errorf("got %q, want %q", m, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q did not arrive", want)
		}
	}
}

// What comes in one packet with the handshake is not lost.
func TestDataWithHandshake(t *testing.T) {
	for _, withAuth := range []bool{false, true} {
		o := Options{OnMessage: func(c *Client, _ Kind, b []byte) { c.Echo(Text, b) }, NoWelcome: true}
		if withAuth {
			o.Authenticate = func(_ context.Context, h *Handshake) (Identity, error) {
				time.Sleep(50 * time.Millisecond)
				return QueryIdentity(h)
			}
		}
		e := newEngine(t, o)
		conn := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1")+"\x81\x82\x00\x00\x00\x00hi")
		io.WriteString(conn, "\x81\x85\x00\x00\x00\x00again") // perhaps during Authenticate
		br := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		want := "\x81\x02hi\x81\x05again"
		b := make([]byte, len(want))
		if _, err := io.ReadFull(br, b); err != nil || string(b) != want {
			t.Errorf("with Authenticate %v: got %q, %v, want %q", withAuth, b, err, want)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int32
	var stacks sync.WaitGroup
	e := newEngine(t, Options{
		MaxAuthenticating: 4, AuthTimeout: time.Second,
		Authenticate: func(ctx context.Context, h *Handshake) (Identity, error) {
			stacks.Add(1)
			defer stacks.Done()
			n := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			q, _ := h.Query()
			switch token := h.Header("authorization"); token {
			case "Bearer good":
				time.Sleep(time.Millisecond)
				return Identity{System: "s", User: q.Get("user_id"), Groups: []string{"a", "b", "a"}}, nil
			case "Bearer teapot":
				return Identity{}, &RefuseError{Status: 418, Code: CodeBadParameter, Field: "token", Detail: "no tea"}
			case "Bearer slow":
				<-ctx.Done()
				return Identity{}, ctx.Err()
			case "Bearer panic":
				panic("secret")
			case "Bearer nobody":
				return Identity{}, nil
			}
			return Identity{}, errors.New("who are you")
		},
	})
	dialAs := func(token string) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(testContext(t), "ws://"+e.Addr().String()+"/ws?"+url.Values{"user_id": {"u"}}.Encode(),
			&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	}
	for token, want := range map[string]int{"bad": 401, "teapot": 418, "slow": 503, "panic": 500, "nobody": 400} {
		_, resp, err := dialAs(token)
		if err == nil || resp == nil || resp.StatusCode != want {
			t.Errorf("%s: got %v, %v, want status %d", token, resp, err, want)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		if strings.Contains(string(b), "secret") || strings.Contains(string(b), "who are you") {
			t.Errorf("%s: the answer tells %s", token, b)
		}
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			c, _, err := dialAs("good")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			if _, _, err := c.Read(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > 4 {
		t.Errorf("%d calls of Authenticate at once, want at most 4", most.Load())
	}
}

func TestIdentityIsWhatTheClientGets(t *testing.T) {
	opened := make(chan *Client, 1)
	e := newEngine(t, Options{OnOpen: func(c *Client) { opened <- c }})
	before := time.Now().Add(-time.Millisecond)
	p := dial(t, e, "system_id=s&user_id=%E4%BD%A0&group_name=a&group_name=b&group_name=a")
	c := <-opened
	if c.ID() != p.id || c.System() != "s" || c.User() != "你" || fmt.Sprint(c.Groups()) != "[a b]" ||
		c.Subprotocol() != "" || c.ConnectedAt().Before(before.Truncate(time.Millisecond)) || c.ConnectedAt().After(time.Now()) {
		t.Errorf("client %v %q %q %v %q %v", c.ID(), c.System(), c.User(), c.Groups(), c.Subprotocol(), c.ConnectedAt())
	}
	if got, ok := e.Client(p.id); !ok || got != c {
		t.Errorf("Client(%v) = %v, %v", p.id, got, ok)
	}
}

func TestOrigin(t *testing.T) {
	e := newEngine(t, Options{AllowOrigins: []string{"https://*.example.com"}})
	for origin, want := range map[string]int{
		"": 101, "https://app.example.com": 101, "https://example.org": 403, "http://app.example.com": 403,
	} {
		req := fmt.Sprintf(upgrade, "system_id=1")
		if origin != "" {
			req = strings.Replace(req, "\r\n\r\n", "\r\nOrigin: "+origin+"\r\n\r\n", 1)
		}
		resp, err := http.ReadResponse(bufio.NewReader(rawConn(t, e, req)), nil)
		if err != nil || resp.StatusCode != want {
			t.Errorf("origin %q: %v, %v, want %d", origin, resp, err, want)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	e := newEngine(t, Options{MaxConnections: 2})
	dial(t, e, "system_id=1")
	b := dial(t, e, "system_id=1")
	_, resp, err := websocket.Dial(testContext(t), "ws://"+e.Addr().String()+"/ws?system_id=1", nil)
	if err == nil || resp == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("the third got %v, %v, want 503 with Retry-After", resp, err)
	}
	b.Close(websocket.StatusNormalClosure, "")
	eventually(t, "a place is free", func() bool { return e.conns.Load() == 1 })
	dial(t, e, "system_id=1")
}

func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Options{HandshakeTimeout: time.Second})
	silent := rawConn(t, e, "")
	half := rawConn(t, e, "GET /ws?system_id=1 HTTP/1.1\r\n")
	for _, conn := range []net.Conn{silent, half} {
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want EOF", err)
		}
	}
	if got := e.Stats().Refused["handshake timeout"]; got != 2 {
		t.Errorf("%d handshakes timed out, want 2", got)
	}
}
