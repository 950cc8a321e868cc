package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"carillon/engine/ws"
)

// closeFrame is a client's, with code 1000.
var closeFrame = ws.AppendMaskedFrame(nil, ws.OpClose, [4]byte{}, []byte{0x03, 0xe8})

// talkers are the ways to a server: plain and TLS.
func talkers(t *testing.T, o Options) map[string]func() (*Engine, net.Conn) {
	server, client := testTLS(t)
	secured := o
	secured.TLS = server
	plainEngine, tlsEngine := newEngine(t, o), newEngine(t, secured)
	return map[string]func() (*Engine, net.Conn){
		"plain": func() (*Engine, net.Conn) { return plainEngine, rawConn(t, plainEngine, "") },
		"tls": func() (*Engine, net.Conn) {
			conn, err := tls.Dial("tcp", tlsEngine.Addr().String(), client)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			conn.SetDeadline(time.Now().Add(time.Minute))
			return tlsEngine, conn
		},
	}
}

// Everything that a client sends before its FIN arrives, and then the end: with a close
// frame or without, however much it is, and at the pace of the callback.
func TestAllBeforeFIN(t *testing.T) {
	const clients, messages = 20, 1041
	for _, closes := range []bool{true, false} {
		var got atomic.Int64
		ends := make(chan CloseReason, clients)
		for name, connect := range talkers(t, Options{
			OnMessage: func(*Client, Kind, []byte) {
				if got.Add(1)%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			},
			OnClose: func(_ *Client, why CloseReason) { ends <- why },
		}) {
			got.Store(0)
			said := bytes.Repeat(ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 1000)), messages)
			want := CloseReset
			if closes {
				said = append(said, closeFrame...)
				want = ClosePeer
			}
			for range clients {
				_, conn := connect()
				go func() {
					fmt.Fprintf(conn, upgrade, "system_id=1")
					conn.Write(said)
					conn.(interface{ CloseWrite() error }).CloseWrite()
					io.Copy(io.Discard, conn)
				}()
			}
			for range clients {
				select {
				case why := <-ends:
					if why != want {
						t.Errorf("%s, close frame %v: ended as %v, want %v", name, closes, why, want)
					}
				case <-time.After(30 * time.Second):
					t.Fatal(name, ": not all have ended")
				}
			}
			if n := got.Load(); n != clients*messages {
				t.Errorf("%s, close frame %v: %d messages, want %d", name, closes, n, clients*messages)
			}
		}
	}
}

// What comes while somebody finds out who the client is, and while its OnOpen runs, is
// handled afterwards: all of it, in order, however much.
func TestMuchBehindHandshake(t *testing.T) {
	const messages = 4000
	var next, wrong atomic.Int64
	ends := make(chan CloseReason, 1)
	o := Options{
		Authenticate: func(_ context.Context, h *Handshake) (Identity, error) { return QueryIdentity(h) },
		OnOpen:       func(*Client) { time.Sleep(2 * time.Millisecond) },
		OnMessage: func(_ *Client, _ Kind, b []byte) {
			if want := fmt.Sprintf("%06d", next.Add(1)-1); string(b[:6]) != want {
				wrong.Add(1)
			}
		},
		OnClose: func(_ *Client, why CloseReason) { ends <- why },
	}
	for name, connect := range talkers(t, o) {
		for range 5 {
			next.Store(0)
			_, conn := connect()
			said := fmt.Appendf(nil, upgrade, "system_id=1")
			for n := range messages {
				said = ws.AppendMaskedFrame(said, ws.OpText, [4]byte{1, 2, 3, 4}, fmt.Appendf(nil, "%06d%0100d", n, 0))
			}
			go func() {
				conn.Write(append(said, closeFrame...))
				io.Copy(io.Discard, conn)
			}()
			if why := <-ends; why != ClosePeer || next.Load() != messages || wrong.Load() > 0 {
				t.Fatalf("%s: ended as %v after %d messages of %d, %d out of order", name, why, next.Load(), messages, wrong.Load())
			}
		}
	}
}

// A client that reads slowly what it is sent is not silent: its answer to the ping
// behind that is not due. One that reads nothing is.
func TestHeartbeatOfSlowReader(t *testing.T) {
	t.Parallel()
	ends := make(chan *Client, 2)
	e := newEngine(t, Options{NoWelcome: true, PingInterval: time.Second, PongTimeout: time.Second, MaxQueuedBytes: 8 << 20,
		OnClose: func(c *Client, why CloseReason) {
			if why == CloseHeartbeat {
				ends <- c
			}
		}})
	slow, reads := stuck(t, e, "system_id=1")
	_, deaf := stuck(t, e, "system_id=1")
	reads.Echo(Binary, make([]byte, 1<<20))
	deaf.Echo(Binary, make([]byte, 1<<20))
	long := 6 * time.Second // the deaf one has 2 s and up to two ticks
	if full() {
		long = 8 * time.Second
	}
	b := make([]byte, 20<<10)
	for begin := time.Now(); time.Since(begin) < long; time.Sleep(250 * time.Millisecond) {
		if _, err := slow.Read(b); err != nil {
			t.Fatalf("it was closed after %v", time.Since(begin))
		}
	}
	select {
	case c := <-ends:
		if c != deaf {
			t.Error("the one that reads was closed")
		}
	default:
		t.Error("the deaf one was not closed")
	}
}
