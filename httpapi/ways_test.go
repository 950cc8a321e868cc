package httpapi

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// A way is how a request reaches net/http: over the engine's port, or a listener alone.
type way struct {
	name string
	addr string
	tls  *tls.Config
}

// ways are those over the engine's port, without TLS and with each version of it, and
// net/http's own at the end.
func ways(t *testing.T) (ours []way, alone way) {
	for _, on := range []port{{}, {tls: true}} {
		s := newServerOn(t, Options{}, on)
		addr := strings.TrimPrefix(s.url, "http://")
		if on.tls {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				config := s.client.Clone()
				config.MinVersion, config.MaxVersion = version, version
				config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				ours = append(ours, way{tls.VersionName(version), addr, config})
			}
			continue
		}
		ours = append(ours, way{"plain", addr, nil})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := NewServer(s.api, zerolog.Nop())
		srv.ConnState, srv.ConnContext = nil, nil
		go srv.Serve(ln)
		t.Cleanup(func() { srv.Close() })
		alone = way{"net/http alone", ln.Addr().String(), nil}
	}
	return ours, alone
}

// A holdingConn keeps what is written to it for one flight, from the second write on: with
// TLS the first is the ClientHello, which has to be answered.
type holdingConn struct {
	net.Conn
	begun bool
	held  bytes.Buffer
}

func (c *holdingConn) Write(b []byte) (int, error) {
	if c.begun {
		return c.held.Write(b)
	}
	c.begun = true
	return c.Conn.Write(b)
}

var messageID = regexp.MustCompile(`"message_id":"\w*"`)

// A manner is how a request is sent.
type manner struct {
	name      string
	piece     int  // of so many bytes; 0: in one
	oneFlight bool // with the end of TLS's handshake
	fin       bool // and FIN behind it
	notify    bool // TLS says good-bye before that
}

// talk sends the requests and returns the answers, until the connection ends or there are
// as many as requests. An answer is a status, whether it is the last, and a body.
func (w way) talk(requests string, methods []string, how manner) (answers []string, err error) {
	tcp, err := net.Dial("tcp", w.addr)
	if err != nil {
		return nil, err
	}
	defer tcp.Close()
	tcp.SetDeadline(time.Now().Add(20 * time.Second))
	conn, flight := net.Conn(tcp), &holdingConn{Conn: tcp}
	switch {
	case w.tls != nil && how.oneFlight:
		conn = tls.Client(flight, w.tls)
	case w.tls != nil:
		conn = tls.Client(tcp, w.tls)
	}
	sent := make(chan error, 1)
	go func() {
		for b := requests; len(b) > 0; {
			n := len(b)
			if how.piece > 0 {
				n = min(n, how.piece)
			}
			if _, err := io.WriteString(conn, b[:n]); err != nil {
				sent <- err
				return
			}
			b = b[n:]
		}
		if how.notify && w.tls != nil {
			conn.(*tls.Conn).CloseWrite()
			tcp.SetWriteDeadline(time.Now().Add(20 * time.Second)) // which has ended all writing
		}
		tcp.Write(flight.held.Bytes())
		if how.fin {
			tcp.(*net.TCPConn).CloseWrite()
		}
		sent <- nil
	}()
	if how.oneFlight || how.fin { // nothing that TLS does for reading is to come between
		if err := <-sent; err != nil {
			return nil, err
		}
	}
	in := bufio.NewReader(conn)
	for _, method := range methods {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil && len(answers) > 0 || err == io.EOF { // it was the last: what is sent behind it may be reset
			break
		}
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return answers, err
		}
		answers = append(answers, fmt.Sprint(resp.StatusCode, " ", resp.Close, " ", messageID.ReplaceAllString(string(b), "")))
		if resp.StatusCode == 100 {
			return answers, nil
		}
	}
	return answers, nil
}

// sized is a push whose body or head is of so many bytes.
func sized(body, head int, chunked bool) string {
	form := "data="
	form += strings.Repeat("x", max(0, body-len(form)))
	request := "POST /push_to_all HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + typeForm + "\r\n"
	if chunked {
		request += "Transfer-Encoding: chunked\r\n"
		var b strings.Builder
		for piece := range slices.Chunk([]byte(form), 60_000) {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(piece), piece)
		}
		form = b.String() + "0\r\n\r\n"
	} else {
		request += fmt.Sprintf("Content-Length: %d\r\n", len(form))
	}
	if head > 0 {
		request += "Cookie: " + strings.Repeat("c", head-len(request)-len("Cookie: \r\n\r\n")) + "\r\n"
	}
	return request + "\r\n" + form
}

// The engine's port, with TLS and without, answers whatever is sent, and however, as
// net/http does alone: the same statuses, and whole bodies.
func TestWaysAnswerAlike(t *testing.T) {
	const health, health10 = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /healthz HTTP/1.0\r\n\r\n"
	push := sized(10, 0, false)
	const body, head = 1 << 20, 16 << 10
	type exchange struct {
		name, requests string
		methods        []string
	}
	one := []string{"POST"}
	tests := []exchange{
		{"GET", health, one}, {"push", push, one}, {"chunked push", sized(10, 0, true), one},
		{"HEAD", strings.Replace(health, "GET", "HEAD", 1), []string{"HEAD"}},
		{"HTTP/1.0", health10, one},
		{"HTTP/1.0, persistent", strings.Repeat("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 2), []string{"GET", "GET"}},
		{"closing", strings.Replace(health, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1) + health, []string{"GET", "GET"}},
		{"404 and on", "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" + health, []string{"GET", "GET"}},
		{"no request", "nonsense\r\n\r\n", one}, {"no host", "GET /healthz HTTP/1.1\r\n\r\n", one},
		{"two lengths", strings.Replace(push, "Content-Length: 10", "Content-Length: 10\r\nContent-Length: 11", 1), one},
		{"length and chunked", strings.Replace(sized(10, 0, true), "Transfer", "Content-Length: 10\r\nTransfer", 1), one},
		{"another version", "GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n", one},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", one},
		{"another path in escapes", "GET /health%7A HTTP/1.1\r\nHost: localhost\r\n\r\n", one},
		{"an absolute target", "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", one},
		{"asking first", strings.Replace(push, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1), one},
		{"part of a body", push[:len(push)-1], one},
	}
	for _, off := range []int{-1, 0, 1} {
		tests = append(tests,
			exchange{fmt.Sprintf("body %+d", off), sized(body+off, 0, false), one},
			exchange{fmt.Sprintf("chunked body %+d", off), sized(body+off, 0, true), one},
			exchange{fmt.Sprintf("head %+d", off), sized(10, head+off, false), one},
			exchange{fmt.Sprintf("second head %+d", off), push + sized(10, head+off, false), []string{"POST", "POST"}})
	}
	for _, n := range []int{2, 3, 17, 50} {
		methods := slices.Repeat([]string{"POST", "GET"}, n/2)
		tests = append(tests, exchange{fmt.Sprint(len(methods), " requests"), strings.Repeat(push+health, n/2), methods})
	}
	manners := []manner{
		{name: "in one", piece: 0}, {name: "in pieces of 7", piece: 7}, {name: "byte by byte", piece: 1},
		{name: "in one flight", oneFlight: true}, {name: "with FIN", fin: true}, {name: "with good-bye", fin: true, notify: true},
		{name: "in one flight with FIN", oneFlight: true, fin: true}, {name: "in one flight with good-bye", oneFlight: true, fin: true, notify: true},
	}
	ours, alone := ways(t)
	for _, tt := range tests {
		malformed := false // net/http closes as soon as it knows, and resets what still comes
		for _, how := range manners {
			if malformed && how.piece > 0 {
				continue
			}
			if how.piece > 0 && len(tt.requests) > 2000 || len(tt.requests) > 100_000 && how.notify != how.oneFlight {
				continue // it would take long
			}
			if tt.name == "part of a body" && !how.fin {
				continue // it would be waited for
			}
			want, err := alone.talk(tt.requests, tt.methods, how)
			if err != nil {
				t.Fatalf("%s, %s: net/http alone: %v", tt.name, how.name, err)
			}
			malformed = malformed || len(want) > 0 && (strings.HasPrefix(want[0], "400 true") || strings.HasPrefix(want[0], "5"))
			for _, w := range ours {
				if got, err := w.talk(tt.requests, tt.methods, how); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s, %s, %s: %.200q, %v; net/http alone: %.200q", w.name, tt.name, how.name, got, err, want)
				}
			}
		}
	}
}

// Callers that half-close right behind their request, many at a time, and pushes of the
// largest size: each gets its whole answer.
func TestWaysAnswerAll(t *testing.T) {
	ours, _ := ways(t)
	for _, w := range ours {
		for _, tt := range []struct {
			name        string
			size        int
			how         manner
			tries, once int
		}{
			{"FIN", 10, manner{fin: true}, 64, 4},
			{"good-bye", 10, manner{fin: true, notify: true}, 64, 16},
			{"one flight with FIN", 10, manner{oneFlight: true, fin: true}, 160, 16},
			{"one flight with good-bye", 10, manner{oneFlight: true, fin: true, notify: true}, 160, 8},
			{"the largest", 1 << 20, manner{}, 96, 4},
			{"the largest with FIN", 1 << 20, manner{fin: true}, 8, 4},
			{"the largest in one flight", 1 << 20, manner{oneFlight: true, fin: true, notify: true}, 8, 4},
		} {
			if tt.size > 10 && w.name != "TLS 1.3" { // which is what it was about
				tt.tries = 4
			}
			var all sync.WaitGroup
			request := sized(tt.size, 0, false)
			for range tt.once {
				all.Go(func() {
					for range tt.tries / tt.once {
						got, err := w.talk(request, []string{"POST"}, tt.how)
						if err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "200 ") || !strings.Contains(got[0], `"matched":0`) {
							t.Errorf("%s, %s: %.200q, %v", w.name, tt.name, got, err)
						}
					}
				})
			}
			all.Wait()
		}
	}
}
