package engine

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

// from connects through a trusted proxy, and returns the status of the answer.
func from(t *testing.T, e *Engine, addr string) (net.Conn, *http.Response) {
	t.Helper()
	conn := rawConn(t, e, proxyHeader(addr)+fmt.Sprintf(upgrade, "system_id=1"))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, resp
}

func TestMaxPerIP(t *testing.T) {
	e := newEngine(t, Options{MaxPerIP: 2, TrustedProxies: onlyLoopback})
	want := func(addr string, status int) net.Conn {
		t.Helper()
		conn, resp := from(t, e, addr)
		if resp.StatusCode != status || status == 429 && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %v, want %d", addr, resp, status)
		}
		return conn
	}
	first := want("192.0.2.1:1", 101)
	want("192.0.2.1:2", 101)
	want("192.0.2.1:3", 429)
	want("[::ffff:192.0.2.1]:4", 429)
	want("192.0.2.2:1", 101)
	want("[2001:db8::1]:1", 101)
	want("[2001:db8::2]:1", 101)
	want("[2001:db8::ffff:3]:1", 429) // of the same /64
	want("[2001:db8:0:1::1]:1", 101)
	for range 5 {
		want("127.0.0.9:1", 101) // loopback has no limit, nor has the proxy
	}
	dial(t, e, "system_id=1")
	if n := e.Stats().Refused[labelPerIP]; n != 3 {
		t.Errorf("%d refused, want 3", n)
	}
	before := e.conns.Load()
	first.Close()
	eventually(t, "it and those refused are gone", func() bool { return e.conns.Load() < before })
	eventually(t, "there is a place", func() bool {
		_, resp := from(t, e, "192.0.2.1:5")
		return resp.StatusCode == 101
	})
}

func TestHandshakesPerIP(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Options{HandshakesPerIP: 3, TrustedProxies: onlyLoopback})
	accepted, refused := 0, 0
	for start := e.tickNow(); e.tickNow() == start; { // the rest of a second
	}
	for start := e.tickNow(); e.tickNow() == start; {
		conn, resp := from(t, e, "192.0.2.1:1")
		conn.Close()
		if e.tickNow() != start {
			break
		}
		if resp.StatusCode == 101 {
			accepted++
		} else {
			refused++
		}
	}
	if accepted != 3 || refused == 0 {
		t.Errorf("%d accepted and %d refused within a second, want 3 and some", accepted, refused)
	}
	eventually(t, "the next second has room", func() bool {
		conn, resp := from(t, e, "192.0.2.1:1")
		conn.Close()
		return resp.StatusCode == 101
	})
	eventually(t, "nobody is left", func() bool { return e.conns.Load() == 0 })
	e.addrs.enter(netip.MustParseAddr("192.0.2.9"), e.tickNow()+1)
	if n := len(e.addrs.byIP); n != 1 {
		t.Errorf("%d addresses are remembered, want the last one alone", n)
	}
}

// The bookkeeping of a million addresses that come and go is that of those there.
func TestAddrLimitsForget(t *testing.T) {
	l := newAddrLimits(Options{MaxPerIP: 1, HandshakesPerIP: 1})
	ip := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}) }
	for tick := range uint32(10) {
		for n := range 1000 {
			if over, _ := l.enter(ip(n), tick); over != "" {
				t.Fatalf("over %s", over)
			}
		}
		if over, flood := l.enter(ip(1), tick); over != labelPerIP || flood {
			t.Errorf("over %q, flood %v", over, flood)
		}
		l.leave(ip(1), true, tick)
		for n := range 1000 {
			l.leave(ip(n), false, tick)
		}
		if over, _ := l.enter(ip(1), tick); over != labelHandshakesByIP {
			t.Errorf("over %q", over)
		}
		l.leave(ip(1), true, tick)
		if len(l.byIP) != 1000 || len(l.left) > 1002 {
			t.Errorf("%d addresses, %d left", len(l.byIP), len(l.left))
		}
	}
	for tick := range uint32(1000) { // a few are forgotten each time
		l.enter(ip(5000), 100+tick)
		l.leave(ip(5000), false, 100+tick)
	}
	l.enter(ip(5000), 1100)
	if len(l.byIP) != 1 || l.due != 0 {
		t.Errorf("%d addresses, %d left", len(l.byIP), len(l.left))
	}
	for n := range 1 + refusingPerIP {
		if _, flood := l.enter(ip(5000), uint32(1200+n)); flood != (n == refusingPerIP) {
			t.Errorf("connection %d over the limit: flood %v", n+1, flood)
		}
	}
}

// A direct connection counts from the moment that it is accepted, and who floods is
// closed without an answer; with TLS, so is everyone over the limit.
func TestLimitsOfDirectConnections(t *testing.T) {
	server, _ := testTLS(t)
	for _, config := range []*tls.Config{nil, server} {
		e, err := New(Options{Addr: "127.0.0.1:0", MaxPerIP: 1, TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		e.addrs.loopback = true
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { shutdown(t, e) })
		first := rawConn(t, e, "")
		eventually(t, "it is there", func() bool { return e.conns.Load() == 1 })
		refused := uint64(1)
		over := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
		if config == nil {
			if resp, err := http.ReadResponse(bufio.NewReader(over), nil); err != nil || resp.StatusCode != 429 {
				t.Errorf("%v, %v, want 429", resp, err)
			}
			over.Close()
			eventually(t, "that is gone", func() bool { return e.conns.Load() == 1 })
			for range refusingPerIP { // they wait for their requests
				rawConn(t, e, "")
			}
			eventually(t, "all are there", func() bool { return e.conns.Load() == 1+refusingPerIP })
			over = rawConn(t, e, "")
			refused++
		}
		if n, err := over.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("with TLS %v: an answer, %v", config != nil, err)
		}
		if n := e.Stats().Refused[labelPerIP]; n != refused {
			t.Errorf("with TLS %v: %d refused, want %d", config != nil, n, refused)
		}
		first.Close()
		eventually(t, "there is a place", func() bool {
			ip := netip.MustParseAddrPort(first.LocalAddr().String()).Addr()
			over, _, flags := e.enterAddr(ip)
			e.leaveAddr(ip, flags)
			return over == ""
		})
	}
}

func TestLimitedAs(t *testing.T) {
	l := newAddrLimits(Options{})
	for _, a := range []struct {
		addr    string
		want    string
		limited bool
	}{
		{"192.0.2.1:1", "192.0.2.1", true}, {"[::ffff:192.0.2.1]:1", "192.0.2.1", true},
		{"[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::", true}, {"[fe80::1%lo]:1", "fe80::", true},
		{"127.3.4.5:1", "127.3.4.5", false}, {"[::1]:1", "::1", false},
	} {
		var c Client
		c.setRemote(netip.MustParseAddrPort(a.addr))
		ip, limited := l.limitedAs(c.remote().Addr())
		if ip.String() != a.want || limited != a.limited {
			t.Errorf("%s counts as %v, limited %v; want %s, %v", a.addr, ip, limited, a.want, a.limited)
		}
	}
}
