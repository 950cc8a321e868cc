package engine

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carillon/engine/ws"
)

// Clients that are reset while bytes of theirs wait for their turn, with an unfinished
// message at the end, leave nothing: the poller handles what was read, at the moment at
// which the housekeeper sees them off.
func TestResetBehindTurn(t *testing.T) {
	e := newEngine(t, Options{MaxInboundMessages: -1, MaxInboundBytes: -1, OnMessage: func(c *Client, k Kind, b []byte) {
		c.Echo(k, b)
	}})
	small := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, []byte("hello"))
	large := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 20_000))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 150 {
				w, err := openWire(&net.Dialer{Timeout: 20 * time.Second}, e.Addr().String(), "system_id=1")
				if err != nil {
					t.Error(err)
					return
				}
				go io.Copy(io.Discard, w)
				w.Write(append(bytes.Repeat(small, 200+rand.IntN(800)), large[:15_000]...))
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
				reset(w)
			}
		})
	}
	wg.Wait()
	settled(t, e, 0)
}

// A connection that leaves the event loop with bytes that wait for it is not watched for
// writing any more: its descriptor lives on, and would wake the poller for ever.
func TestTakenOutUnwatched(t *testing.T) {
	e := newEngine(t, Options{Pollers: 1})
	conn, c := stuck(t, e, "system_id=1")
	for c.Echo(Binary, make([]byte, 32<<10)) == Written {
	}
	taken := make(chan int)
	c.loop.waker.call(func() {
		fd, err := c.takeOut()
		if err != nil {
			t.Error(err)
		}
		taken <- fd
	})
	fd := <-taken
	defer syscall.Close(fd)
	go io.Copy(io.Discard, conn)
	eventually(t, "it is seen off", func() bool { return e.conns.Load() == 0 })
	for range 50 { // until it can be written to, if that were watched
		if fds := c.loop.writable.ready(nil); len(fds) > 0 {
			t.Fatalf("descriptors %v are watched", fds)
		}
		time.Sleep(time.Millisecond)
	}
}

// A message has to end in time also if nobody looks at its client for long.
func TestMessageTimeoutBehindPing(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Options{MessageTimeout: 2 * time.Second, PingInterval: time.Second, PongTimeout: time.Minute})
	w := dialWire(t, e, "system_id=1")
	if op, _, err := w.read(); err != nil || op != ws.OpPing {
		t.Fatal(op, err)
	}
	time.Sleep(1500 * time.Millisecond) // it is looked at again when the pong is due
	io.WriteString(w, "\x81\xfe\x10")
	w.SetReadDeadline(time.Now().Add(10 * time.Second))
	if end := w.each(func([]byte) bool { return true }); end.code != 1008 {
		t.Errorf("ended with %d, %v, want 1008", end.code, end.err)
	}
}

// Frames that end in time are not one message, although the reads always end within one.
func TestMessageTimeoutOfControlFrames(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Options{MessageTimeout: time.Second})
	w := dialWire(t, e, "system_id=1")
	pong := ws.AppendMaskedFrame(nil, ws.OpPong, [4]byte{1, 2, 3, 4}, []byte("0123456789"))
	w.Write(pong[:4])
	for range 40 {
		time.Sleep(100 * time.Millisecond)
		if _, err := w.Write(append(pong[4:len(pong):len(pong)], pong[:4]...)); err != nil {
			t.Fatal(err)
		}
	}
	if e.Count(Query{}) != 1 {
		t.Errorf("ended: %v", e.Stats().Closed)
	}
}

// What has no bound does not reach one by counting.
func TestInboundRateWithoutBound(t *testing.T) {
	var r inboundRate
	for range 5 {
		if n, m := r.bytes(1, 1<<30), r.frames(1<<30); n < 0 || n > math.MaxInt32 || m < 0 || m > math.MaxInt32 {
			t.Errorf("counted as %d and %d", n, m)
		}
	}
	if n := r.bytes(1, 1); n != math.MaxInt32 {
		t.Errorf("4 GiB are counted as %d", n)
	}
}

// gone waits until nothing is left of anybody. It is settled for an engine with TLS, or
// after Shutdown.
func gone(t testing.TB, e *Engine) {
	t.Helper()
	type left struct{ conns, open, members, timers, bytes, holdings int64 }
	var got left
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		got = left{e.conns.Load(), e.open.Load(), int64(e.reg.Len()), 0, e.backlog.total(), int64(holdings(e))}
		for _, l := range e.loops {
			got.timers += int64(l.wheel.Len())
		}
		if got == (left{}) {
			return
		}
	}
	t.Errorf("left after 30 s: %+v", got)
}

// Who is refused behind a proxy's header is refused once, whatever follows.
func TestRefusedOnceBehindProxy(t *testing.T) {
	t.Parallel()
	server, _ := testTLS(t)
	e := newEngine(t, Options{TLS: server, CloseTimeout: time.Second, HandshakesPerIP: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	const n = 20
	for range n {
		conn := rawConn(t, e, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"+strings.Repeat("x", 200_000))
		io.Copy(io.Discard, conn)
	}
	eventually(t, "all are gone", func() bool { return e.conns.Load() == 0 })
	refused := uint64(0)
	for _, k := range e.Stats().Refused {
		refused += k
	}
	if refused != n {
		t.Errorf("%d are refused as %v", n, e.Stats().Refused)
	}
}

// The limits of what a client sends are far from what honest ones do, whatever the size
// of a message; 0 is the default, and -1 no limit.
func TestInboundDefaults(t *testing.T) {
	for _, tt := range []struct{ message, bytes, want int }{
		{0, 0, 4 << 20}, {100, 0, 4 << 20}, {1 << 20, 0, 64 << 20}, {1 << 30, 0, math.MaxInt32},
		{100, -1, math.MaxInt32}, {100, 1, 1},
	} {
		o, err := Options{MaxMessageBytes: int64(tt.message), MaxInboundBytes: tt.bytes}.withDefaults()
		if err != nil || o.MaxInboundBytes != tt.want {
			t.Errorf("%+v: %d, %v", tt, o.MaxInboundBytes, err)
		}
	}
}
