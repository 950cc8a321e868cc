package engine

import (
	"bytes"
	"compress/flate"
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

// A flightConn holds what is written to it after the first time, for one flight.
type flightConn struct {
	net.Conn
	begun, holds bool
	held         bytes.Buffer
}

func (c *flightConn) Write(b []byte) (int, error) {
	if c.begun && c.holds {
		return c.held.Write(b)
	}
	c.begun = true
	return c.Conn.Write(b)
}

func (c *flightConn) release() {
	c.Conn.SetWriteDeadline(time.Time{}) // TLS's CloseWrite has ended all writing
	c.Conn.Write(c.held.Bytes())
}

// joinDeflating is a handshake that offers compression.
const joinDeflating = "GET /ws?system_id=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n"

// utterances are n messages, in the ways that there are to send them.
func utterances(t *testing.T, n int) map[string][]byte {
	key := [4]byte{1, 2, 3, 4}
	masked := func(b []byte, first byte, payload []byte) []byte {
		at := len(b)
		b = ws.AppendMaskedFrame(b, ws.OpText, key, payload)
		b[at] = first
		return b
	}
	var plain, fragments, compressed []byte
	for i := range n {
		text := fmt.Appendf(nil, "%06d", i)
		plain = masked(plain, 0x81, text)
		fragments = masked(fragments, 0x01, text[:2])
		fragments = masked(fragments, 0x89, []byte("ping"))
		fragments = masked(fragments, 0x00, text[2:5])
		fragments = masked(fragments, 0x80, text[5:])
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(text)
		w.Flush()
		compressed = masked(compressed, 0xC1, bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
	}
	return map[string][]byte{"whole": plain, "fragments": fragments, "compressed": compressed}
}

// Everything before the end arrives, whatever it is and however the end is told: by FIN,
// with TLS's goodbye, by that alone, or by FIN without it; in the same flight as the end
// of TLS's handshake or behind it, with Authenticate and without.
func TestAllBeforeFINOfAnyKind(t *testing.T) {
	messages := 2000 / fewer
	server, client := testTLS(t)
	said := utterances(t, messages)
	var next, wrong atomic.Int64
	ends := make(chan CloseReason, 1)
	for _, authenticates := range []bool{false, true} {
		for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
			o := Options{Compress: true, OnMessage: func(_ *Client, _ Kind, b []byte) {
				if want := fmt.Sprintf("%06d", next.Add(1)-1); string(b) != want {
					wrong.Add(1)
				}
			}, OnClose: func(_ *Client, why CloseReason) { ends <- why }}
			if authenticates {
				o.Authenticate = func(_ context.Context, h *Handshake) (Identity, error) { return QueryIdentity(h) }
				o.OnOpen = func(*Client) { time.Sleep(time.Millisecond) }
			}
			how := []string{"FIN"}
			if version != 0 {
				o.TLS = server
				how = []string{"FIN", "close_notify", "close_notify and FIN"}
			}
			e := newEngine(t, o)
			config := client.Clone()
			config.MinVersion, config.MaxVersion = version, version
			for kind, b := range said {
				for _, end := range how {
					for _, oneFlight := range []bool{false, true} {
						next.Store(0)
						raw := rawConn(t, e, "").(*net.TCPConn)
						flight := &flightConn{Conn: raw, begun: version == 0, holds: oneFlight && version != tls.VersionTLS12}
						conn := net.Conn(flight)
						if version != 0 {
							conn = tls.Client(flight, config)
							if err := conn.(*tls.Conn).Handshake(); err != nil {
								t.Fatal(err)
							}
						}
						flight.holds = oneFlight
						go func() {
							conn.Write(append([]byte(joinDeflating), b...))
							if version != 0 && end != "FIN" {
								conn.(*tls.Conn).CloseWrite()
							}
							flight.release()
							if end != "close_notify" {
								raw.CloseWrite()
							}
							io.Copy(io.Discard, raw)
						}()
						select {
						case why := <-ends:
							if why != CloseReset || int(next.Load()) != messages || wrong.Load() > 0 {
								t.Errorf("TLS %x, Authenticate %v, %s, %s, in one flight %v: ended as %v after %d messages of %d, %d wrong",
									version, authenticates, kind, end, oneFlight, why, next.Load(), messages, wrong.Load())
							}
						case <-time.After(20 * time.Second):
							t.Fatalf("TLS %x, Authenticate %v, %s, %s, in one flight %v: no end after %d messages", version, authenticates, kind, end, oneFlight, next.Load())
						}
						raw.Close()
					}
				}
			}
		}
	}
}

// A client may have to wait for its turn before it is open: what it may send is decided
// when it is.
func TestCompressedBehindLongHandshake(t *testing.T) {
	got := make(chan string, 1)
	e := newEngine(t, Options{Compress: true, OnMessage: func(_ *Client, _ Kind, b []byte) { got <- string(b) }, NoWelcome: true})
	conn := rawConn(t, e, joinDeflating[:20])
	eventually(t, "it is there", func() bool { return holdings(e) == 1 })
	var c *Client
	e.backlog.mu.Lock()
	for i := range e.backlog.classes {
		if first := e.backlog.classes[i].Front(); first != nil {
			c = first.Value.(*holding).c
		}
	}
	e.backlog.mu.Unlock()
	done := make(chan struct{})
	c.loop.waker.call(func() { // as if its part of a head had taken longer than its share
		c.reader()
		close(done)
	})
	<-done
	conn.Write(append([]byte(joinDeflating[20:]), utterances(t, 1)["compressed"]...))
	if text := <-got; text != "000000" {
		t.Errorf("got %q", text)
	}
}
