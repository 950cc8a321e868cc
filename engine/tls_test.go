package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"carillon/engine/ws"
)

// testTLS returns a server's and a client's configuration.
func testTLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func dialTLS(t testing.TB, e *Engine, client *tls.Config, query string) *peer {
	t.Helper()
	c, _, err := websocket.Dial(testContext(t), "wss://"+e.Addr().String()+"/ws?"+query, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: client}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(-1)
	p := &peer{Conn: c, t: t}
	if p.id, err = ParseID(p.next().ClientID); err != nil {
		t.Fatal(err)
	}
	return p
}

// openTLS opens a client by hand, and reads its welcome.
func openTLS(t testing.TB, e *Engine, client *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", e.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, upgrade, "system_id=1")
	if _, err := readUntil(conn, "}"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Both versions of TLS, messages of every size in both directions, pushes to many,
// and a clean end from either side.
func TestTLS(t *testing.T) {
	server, client := testTLS(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			client := client.Clone()
			client.MinVersion, client.MaxVersion = version, version
			ends := make(chan CloseReason, 100)
			e := newEngine(t, Options{
				TLS: server, MaxMessageBytes: 8 << 20,
				OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) },
				OnClose:   func(_ *Client, why CloseReason) { ends <- why },
			})
			var peers []*peer
			for range 20 {
				peers = append(peers, dialTLS(t, e, client, "system_id=1"))
			}
			for _, n := range []int{0, 1, 1000, 16 << 10, 70_000, 5 << 20} {
				want := bytes.Repeat([]byte("x"), n)
				if err := peers[0].Write(testContext(t), websocket.MessageBinary, want); err != nil {
					t.Fatal(err)
				}
				if _, got, err := peers[0].Read(testContext(t)); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes came back as %d, %v", n, len(got), err)
				}
			}
			for n := range 50 {
				if r := push(t, e, ToSystem("1"), fmt.Sprint(n)); r.Written+r.Queued != len(peers) {
					t.Fatalf("%+v", r)
				}
			}
			for _, p := range peers {
				for n := range 50 {
					if env := p.next(); string(env.Data) != fmt.Sprint(n) || env.ClientID != p.id.String() {
						t.Fatalf("%+v instead of %d", env, n)
					}
				}
			}
			if err := peers[0].Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Errorf("close: %v", err)
			}
			if why := <-ends; why != ClosePeer {
				t.Errorf("closed for %v", why)
			}
			e.Close("1", peers[1].id, "bye")
			if got := peers[1].closed(); got.Code != 3500 || got.Reason != "bye" {
				t.Errorf("%+v", got)
			}
			if why := <-ends; why != CloseBackend {
				t.Errorf("closed for %v", why)
			}
			peers[2].CloseNow()
			if why := <-ends; why != CloseReset {
				t.Errorf("closed for %v", why)
			}
			eventually(t, "17 are left", func() bool { return e.conns.Load() == 17 })
		})
	}
}

// After the close frame comes close_notify, and then FIN: nobody can cut a
// connection short unnoticed (RFC 8446 section 6.1).
func TestTLSCloseNotify(t *testing.T) {
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server, NoWelcome: true})
	conn, err := tls.Dial("tcp", e.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if p := conn.ConnectionState().NegotiatedProtocol; p != "" {
		t.Errorf("negotiated %q", p)
	}
	fmt.Fprintf(conn, upgrade, "system_id=1")
	if _, err := readUntil(conn, "\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "\x88\x82\x00\x00\x00\x00\x03\xe8")
	// crypto/tls reports an end without close_notify as io.ErrUnexpectedEOF.
	if b, err := io.ReadAll(conn); err != nil || string(b) != "\x88\x02\x03\xe8" {
		t.Errorf("%q, %v", b, err)
	}
}

// slowConn delivers one byte at a time.
type slowConn struct{ net.Conn }

func (c slowConn) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		_, err = c.Conn.Write(b[n : n+1])
		n++
		if n%50 == 0 {
			time.Sleep(time.Millisecond) // or the kernel puts them together again
		}
	}
	return n, err
}

// Records cut anywhere, the handshake's, and frames sent ahead: with and without an
// Authenticate that takes its time.
func TestTLSInPieces(t *testing.T) {
	server, client := testTLS(t)
	for _, slow := range []bool{false, true} {
		o := Options{TLS: server, NoWelcome: true, OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) }}
		if slow {
			o.Authenticate = func(_ context.Context, h *Handshake) (Identity, error) {
				time.Sleep(20 * time.Millisecond)
				return QueryIdentity(h)
			}
		}
		e := newEngine(t, o)
		tcp, err := net.Dial("tcp", e.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		tcp.(*net.TCPConn).SetNoDelay(true)
		tcp.SetDeadline(time.Now().Add(30 * time.Second))
		conn := tls.Client(slowConn{tcp}, client)
		fmt.Fprintf(conn, upgrade+"\x81\x82\x00\x00\x00\x00hi", "system_id=1")
		io.WriteString(conn, "\x81\x85\x00\x00\x00\x00again")
		if b, err := readUntil(conn, "\x81\x02hi\x81\x05again"); err != nil {
			t.Errorf("slow %v: %q, %v", slow, b, err)
		}
	}
}

// The API's requests on the TLS port go to net/http, with their keep-alive.
func TestTLSOtherRequests(t *testing.T) {
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server, ServeHTTP: true})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // net/http does not read on once an answer has begun
		w.Write(b)
	})}
	go srv.Serve(e.HTTP())
	defer srv.Close()
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: client, ForceAttemptHTTP2: true}}
	defer hc.CloseIdleConnections()
	body := strings.Repeat("long ", 100_000)
	for range 3 {
		resp, err := hc.Post("https://"+e.Addr().String()+"/x", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != body || resp.ProtoMajor != 1 {
			t.Fatalf("%d bytes of %d, HTTP/%d, %v", len(b), len(body), resp.ProtoMajor, err)
		}
	}
	hc.CloseIdleConnections()
	eventually(t, "the connections are gone", func() bool { return e.conns.Load() == 0 })
	if n := e.backlog.total(); n != 0 {
		t.Errorf("%d bytes are still parked", n)
	}
}

// clientHello is the first thing that a client sends.
func clientHello(config *tls.Config) string {
	ours, theirs := net.Pipe()
	go func() {
		tls.Client(ours, config).Handshake()
		ours.Close()
	}()
	defer theirs.Close()
	b := make([]byte, 4<<10)
	n, _ := theirs.Read(b)
	return string(b[:n])
}

// Who does not speak TLS, or not to the end, is refused, and costs no goroutine.
func TestTLSRefusals(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server, HandshakeTimeout: time.Second, CloseTimeout: time.Second})
	plain := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
	if b, err := io.ReadAll(plain); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400 ") || !strings.Contains(string(b), "wss://") {
		t.Errorf("plain HTTP: %q, %v", b, err)
	}
	strange := client.Clone()
	strange.RootCAs = x509.NewCertPool() // the client ends the handshake
	if _, err := tls.Dial("tcp", e.Addr().String(), strange); err == nil {
		t.Error("the client accepted any certificate")
	}
	hello := clientHello(client)
	eventually(t, "no handshake runs", func() bool { return e.tlsRunning.Load() == 0 })
	e.tlsRunning.Add(maxTLSHandshakes) // what comes has to wait
	flood := rawConn(t, e, hello)
	if n, err := flood.Write(make([]byte, 64<<20)); err == nil { // until the handshake's time is over
		t.Errorf("%d bytes were taken ahead of the handshake", n)
	}
	if n := e.backlog.total(); n > 4*tlsAhead {
		t.Errorf("%d bytes are kept of it", n)
	}
	e.tlsRunning.Add(-maxTLSHandshakes)
	<-e.tlsWaiting
	stalls := rawConn(t, e, hello) // and never a Finished
	silent := rawConn(t, e, "")
	part := rawConn(t, e, "\x16\x03\x01\x02\x00\x01")
	garbage := rawConn(t, e, "\x16\x03\x01\x00\x05hello")
	for name, conn := range map[string]net.Conn{"stalls": stalls, "silent": silent, "part": part, "garbage": garbage} {
		if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
	}
	eventually(t, "no handshake runs", func() bool { return e.tlsRunning.Load() == 0 && e.conns.Load() == 0 })
	if n := e.backlog.total(); n != 0 {
		t.Errorf("%d bytes are still parked", n)
	}
	refused := e.Stats().Refused
	for label, want := range map[string]uint64{"no tls": 1, "tls": 2, "handshake timeout": 4} {
		if refused[label] != want {
			t.Errorf("%d counted as %q, want %d: %v", refused[label], label, want, refused)
		}
	}
	// Garbage in the place of a record, when the client is open.
	conn := openTLS(t, e, client)
	conn.NetConn().Write([]byte("\x17\x03\x03\x00\x05hello"))
	eventually(t, "it is gone", func() bool { return e.conns.Load() == 0 })
	if n := e.Stats().Closed[CloseReset]; n != 1 {
		t.Errorf("closed: %v", e.Stats().Closed)
	}
}

// A client that does not read holds what its budget allows, and gets it whole.
func TestTLSQueueDrains(t *testing.T) {
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server, MaxQueuedBytes: 64 << 20, CloseTimeout: 20 * time.Second})
	p := dialTLS(t, e, client, "system_id=1")
	noise := strings.Repeat("x", 50_000)
	sent := 0
	for queued := 0; queued < 20; sent++ {
		if r := push(t, e, ToSystem("1"), fmt.Sprintf(`{"n":%d,"noise":%q}`, sent, noise)); r.Queued > 0 {
			queued++
		}
	}
	e.Close("1", p.id, "end")
	for n := range sent {
		if env := p.next(); !bytes.HasPrefix(env.Data, fmt.Appendf(nil, `{"n":%d,`, n)) || len(env.Data) < len(noise) {
			t.Fatalf("message %d is %.20s", n, env.Data)
		}
	}
	if got := p.closed(); got.Code != 3500 {
		t.Errorf("%+v", got)
	}
}

// Clients that reset or half-close, with data queued for them and without: each ends
// once, and what waited for it is given back.
func TestTLSResets(t *testing.T) {
	server, client := testTLS(t)
	var ends atomic.Int64
	e := newEngine(t, Options{TLS: server, MaxQueuedBytes: 1 << 20, OnClose: func(*Client, CloseReason) { ends.Add(1) }})
	const rounds = 20
	for n := range rounds {
		conn := openTLS(t, e, client)
		if n%2 == 0 {
			data := `"` + strings.Repeat("x", 100_000) + `"`
			for queued := 0; queued < 2; {
				queued += push(t, e, ToSystem("1"), data).Queued
			}
		}
		if n%4 < 2 {
			conn.NetConn().(*net.TCPConn).SetLinger(0)
			conn.NetConn().Close()
		} else {
			conn.CloseWrite()
			conn.NetConn().(*net.TCPConn).CloseWrite()
			go func() {
				io.Copy(io.Discard, conn)
				conn.Close()
			}()
		}
		eventually(t, "it is gone", func() bool { return e.conns.Load() == 0 })
	}
	if s := e.Stats(); ends.Load() != rounds || s.Closed[CloseReset] != rounds || s.QueuedBytes != 0 {
		t.Errorf("%d ends, closed %v, %d bytes wait", ends.Load(), s.Closed, s.QueuedBytes)
	}
}

// The inbound rate is that of the socket: records around next to nothing count.
func TestTLSInboundRate(t *testing.T) {
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server, MaxInboundBytes: 20_000})
	conn := openTLS(t, e, client)
	for range 2000 { // 14,000 bytes in 58,000
		if _, err := io.WriteString(conn, "\x82\x81\x00\x00\x00\x00x"); err != nil {
			break
		}
	}
	eventually(t, "it is closed", func() bool { return e.Stats().Closed[CloseRate] == 1 })
}

// Handshakes, pushes and shutdown race.
func TestTLSShutdown(t *testing.T) {
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				c, _, err := websocket.Dial(testContext(t), "wss://"+e.Addr().String()+"/ws?system_id=1", &websocket.DialOptions{
					HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: client}},
				})
				if err != nil {
					return
				}
				go func() {
					defer c.CloseNow()
					for {
						if _, _, err := c.Read(testContext(t)); err != nil {
							return
						}
					}
				}()
			}
		})
	}
	for range 100 {
		push(t, e, ToAll(), `"x"`)
		time.Sleep(time.Millisecond)
	}
	shutdown(t, e)
	wg.Wait()
	if n := e.conns.Load(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

// A holdingConn keeps what is written after the first write, until it is released.
type holdingConn struct {
	net.Conn
	writes int
	held   []byte
}

func (c *holdingConn) Write(b []byte) (int, error) {
	if c.writes++; c.writes == 1 {
		return c.Conn.Write(b)
	}
	c.held = append(c.held, b...)
	return len(b), nil
}

// The end of the handshake, the request, and the end of the connection in one
// piece: what was counted for it is counted out, whichever is seen first.
func TestTLSGoneWithHandshake(t *testing.T) {
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server, MaxPerIP: 1000, TrustedProxies: onlyLoopback})
	request := strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "\r\n\r\n", "\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n", 1)
	for range 100 {
		tcp, err := net.Dial("tcp", e.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		tcp.SetDeadline(time.Now().Add(30 * time.Second))
		held := &holdingConn{Conn: tcp}
		conn := tls.Client(held, client)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, request)
		if _, err := tcp.Write(held.held); err != nil {
			t.Fatal(err)
		}
		tcp.Close()
	}
	eventually(t, "all are gone", func() bool { return e.conns.Load() == 0 && e.tlsRunning.Load() == 0 })
	shutdown(t, e)
	for ip, count := range e.addrs.byIP {
		if count.open != 0 {
			t.Errorf("%v counts as %+v", ip, count)
		}
	}
}

// Clients that take up every handshake do not keep others out.
func TestTLSStalledHandshakes(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server, HandshakeTimeout: time.Hour})
	eventually(t, "no handshake runs", func() bool { return e.tlsRunning.Load() == 0 })
	const stalled = 4
	e.tlsRunning.Add(maxTLSHandshakes - stalled)
	hello := clientHello(client)
	for n := range stalled {
		drips := rawConn(t, e, hello)
		go func() { // which is no reason to wait for it
			for _, b := range append([]byte("\x16\x03\x03\x40\x00"), make([]byte, 100)...) {
				if _, err := drips.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(300 * time.Millisecond)
			}
		}()
		eventually(t, "it runs", func() bool { return e.tlsRunning.Load() == maxTLSHandshakes-stalled+int32(n)+1 })
	}
	rawConn(t, e, hello) // waits
	dialTLS(t, e, client, "system_id=1")
	if n := e.Stats().Refused["tls handshakes"]; n == 0 || n > stalled+1 {
		t.Errorf("%d handshakes were ended for others", n)
	}
	huge := "\x16\x03\x01\xff\xff" + strings.Repeat("x", maxTLSRecord)
	e.tlsRunning.Add(stalled - maxTLSHandshakes)
	rawConn(t, e, huge)
	eventually(t, "its header is enough to refuse it", func() bool { return e.Stats().Refused["tls"] == 1 })
}

// Records of TLS are work of their own: who sends many small ones is served in turns, and
// what waits for them is counted.
func TestTLSRecordsInTurns(t *testing.T) {
	server, client := testTLS(t)
	got := make(chan int, 1)
	e := newEngine(t, Options{TLS: server, Pollers: 1, OnMessage: func(_ *Client, _ Kind, b []byte) { got <- len(b) }})
	conn, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var sent bytes.Buffer
	w := &recordConn{out: bufio.NewWriter(&sent)}
	w.Conn = tls.Client(&gatheringConn{conn, w}, client)
	fmt.Fprintf(w.Conn, upgrade, "system_id=1")
	if _, err := readUntil(w.Conn, "}"); err != nil {
		t.Fatal(err)
	}
	w.gathers = true
	w.Write(ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{}, make([]byte, 1200)))
	l := e.loops[0]
	late, held := make(chan bool, 1), make(chan int64, 1)
	l.waker.call(func() { // as if it had come over the socket, in one piece
		for c := range e.Clients(Query{}) {
			l.beginTurn()
			c.input(sent.Bytes())
			late <- c.tls.more
			l.endTurn(c)
			held <- e.backlog.in.Load()
		}
	})
	if !<-late {
		t.Error("all of it was decrypted in one turn")
	}
	if n := <-held; n < int64(sent.Len())/2 {
		t.Errorf("%d bytes are held of %d", n, sent.Len())
	}
	if n := <-got; n != 1200 {
		t.Errorf("a message of %d bytes", n)
	}
	eventually(t, "nothing is held", func() bool { return e.backlog.total() == 0 })
}
