package engine

import (
	"bufio"
	"context"
	"crypto/tls"
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

// bothWays are an engine without TLS and one with it, each with net/http behind it, and
// how to connect to them.
func bothWays(t *testing.T, o Options) map[string]func() (*Engine, net.Conn) {
	server, client := testTLS(t)
	secured := o
	secured.TLS = server
	plain, overTLS := serveBoth(t, o), serveBoth(t, secured)
	return map[string]func() (*Engine, net.Conn){
		"plain": func() (*Engine, net.Conn) { return plain, rawConn(t, plain, "") },
		"tls": func() (*Engine, net.Conn) {
			conn, err := tls.Dial("tcp", overTLS.Addr().String(), client)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			conn.SetDeadline(time.Now().Add(time.Minute))
			return overTLS, conn
		},
	}
}

// Not a byte is lost or changes its place on the way from net/http back to the engine,
// wherever they lie: 40,000 messages in one flight with the requests in front of them,
// while somebody finds out who the client is and its OnOpen takes its time, with a close
// frame or FIN alone behind them.
func TestMuchBehindUpgrade(t *testing.T) {
	messages := 40000 / fewer
	var next, wrong, pause atomic.Int64
	ends := make(chan CloseReason, 1)
	o := Options{
		Authenticate: func(_ context.Context, h *Handshake) (Identity, error) { return QueryIdentity(h) },
		OnOpen:       func(*Client) { time.Sleep(time.Duration(pause.Load())) },
		OnMessage: func(_ *Client, _ Kind, b []byte) {
			if want := fmt.Sprintf("%06d", next.Add(1)-1); string(b) != want {
				wrong.Add(1)
			}
		},
		OnClose: func(_ *Client, why CloseReason) { ends <- why },
	}
	frames := []byte{}
	for n := range messages {
		frames = ws.AppendMaskedFrame(frames, ws.OpText, [4]byte{1, 2, 3, 4}, fmt.Appendf(nil, "%06d", n))
	}
	for name, connect := range bothWays(t, o) {
		for _, before := range []string{"", apiGet, apiPost + apiGet} {
			for wait, want := range map[time.Duration]CloseReason{0: ClosePeer, 200 * time.Microsecond: CloseReset, 2 * time.Millisecond: ClosePeer} {
				next.Store(0)
				pause.Store(int64(wait))
				_, conn := connect()
				said := append(fmt.Appendf(nil, before+upgrade, "system_id=1"), frames...)
				if want == ClosePeer {
					said = append(said, closeFrame...)
				}
				go func() {
					conn.Write(said)
					conn.(interface{ CloseWrite() error }).CloseWrite()
				}()
				go io.Copy(io.Discard, conn)
				select {
				case why := <-ends:
					if why != want || int(next.Load()) != messages || wrong.Load() > 0 {
						t.Fatalf("%s, behind %q, OnOpen of %v: ended as %v after %d messages of %d, %d out of order",
							name, before, wait, why, next.Load(), messages, wrong.Load())
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("%s, behind %q, OnOpen of %v: no end after %d messages of %d", name, before, wait, next.Load(), messages)
				}
				conn.Close()
			}
		}
	}
}

// A request is judged as it was sent: a body makes it no handshake, and its head may be as
// long as that of a first request, though net/http's way of writing it is longer.
func TestUpgradeJudgedAsSent(t *testing.T) {
	long := strings.Replace(strings.ReplaceAll(fmt.Sprintf(upgrade, "system_id=1"), ": ", ":"), "\r\n\r\n", "\r\nX-1:a\r\nX-2:a\r\nCookie:%s\r\n\r\n", 1)
	const limit = 8 << 10
	long = fmt.Sprintf(long, strings.Repeat("c", limit-len(long)+len("%s")))
	with := func(line string) string {
		return strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "\r\n\r\n", "\r\n"+line+"\r\n\r\n", 1)
	}
	for name, connect := range bothWays(t, Options{MaxHandshakeBytes: limit}) {
		for request, want := range map[string]int{
			long: 101,
			with("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n": 400,
			with("Content-Length: 5") + "hello":                            400,
			with("Content-Length: 0"):                                      101,
			strings.Replace(with("X: y"), "GET ", "HEAD ", 1):              405,
			strings.Replace(with("X: y"), "GET ", "BREW ", 1):              405,
			strings.Replace(with("X: y"), "/ws", "http://other/ws", 1):     101,
			strings.Replace(with("X: y"), "/ws", "/%77s", 1):               404, // as the handler takes it, but not a client's
		} {
			for _, before := range []string{"", apiGet} {
				e, conn := connect()
				io.WriteString(conn, before+request)
				br := bufio.NewReader(conn)
				if before != "" {
					if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 200 {
						t.Fatal(resp, err)
					} else {
						io.Copy(io.Discard, resp.Body)
					}
				}
				resp, err := http.ReadResponse(br, nil)
				if err != nil || resp.StatusCode != want {
					t.Errorf("%s, behind %q: %.90q: %v, %v, want %d", name, before, request, resp, err, want)
				} else if want == 405 && resp.Header.Get("Allow") == "" {
					t.Errorf("no Allow in %v", resp.Header)
				}
				conn.Close()
				eventually(t, "it is gone", func() bool { return e.conns.Load() == 0 })
			}
		}
	}
}

// unsentListener has connections begin with bytes that were to be written before, as the
// end of a TLS handshake may be.
type unsentListener struct{ net.Listener }

func (l unsentListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		conn.(*handedConn).unsent = []byte("before ")
	}
	return conn, err
}

// What was to be written before the connection was handed over is, also when it comes
// back without an answer.
func TestUnsentComesBack(t *testing.T) {
	e := newEngine(t, Options{ServeHTTP: true})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.Upgrade(w, r) })}
	ServeUpgrade(srv)
	go srv.Serve(unsentListener{e.HTTP()})
	t.Cleanup(func() { srv.Close() })
	conn := rawConn(t, e, strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "/ws", "/%77s", 1))
	if b, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(b), "before HTTP/1.1 404") {
		t.Errorf("got %q, %v", b, err)
	}
}
