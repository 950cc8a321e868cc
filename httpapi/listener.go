package httpapi

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine"
)

const (
	defaultMaxConns = 1024
	// maxRefusing bounds the connections that are open only to be told 503, beside
	// defaultMaxConns; see refusingAtOnce.
	maxRefusing = 64
	// idleGrace is for how long a silent connection may be one whose request is on its
	// way: it does not make room yet.
	idleGrace = 100 * time.Millisecond
)

// ListenerDescriptors is how many descriptors a listener of NewListener has open at
// most, with that MaxConns.
func ListenerDescriptors(maxConns int) int { return maxConns + refusingAtOnce(maxConns) }

func refusingAtOnce(maxConns int) int { return min(max(maxConns/16, 4), maxRefusing) }

// ListenerOptions configures NewListener.
type ListenerOptions struct {
	// MaxConns bounds the open connections. Default 1024. One address, or /64 of IPv6,
	// may have a quarter of them. Loopback and Shared may have all: those are many
	// callers, of whom a proxy makes one.
	MaxConns int
	// Shared are addresses that are not one caller's, such as proxies.
	Shared []netip.Prefix
	// TLS says that the connections speak TLS: who is refused is not answered.
	TLS bool
	// Lang is the language of "msg" for those who are refused.
	Lang engine.Lang
	// Logger is told of refusals. The zero Logger writes nothing.
	Logger zerolog.Logger
}

// NewListener returns a listener for a server of NewServer, of the connections of ln,
// with a bound. At the bound a newcomer gets the place of a connection that waits for
// its next request: of the address that has most, the one that has waited longest. If
// all are at work, it is answered 503 with Retry-After.
//
// ln's connections are sockets: TLS and the PROXY protocol go on top.
func NewListener(ln net.Listener, o ListenerOptions) net.Listener {
	o.MaxConns = cmp.Or(o.MaxConns, defaultMaxConns)
	return &listener{
		Listener: ln, o: o, share: max(1, o.MaxConns/4),
		conns: map[*boundConn]struct{}{}, byIP: map[netip.Addr]int{},
	}
}

type listener struct {
	net.Listener
	o        ListenerOptions
	share    int  // of an address
	loopback bool // for tests: has a share, too

	refusing atomic.Int32

	mu     sync.Mutex // guards the following fields
	conns  map[*boundConn]struct{}
	byIP   map[netip.Addr]int // connections of those that have a share
	warned time.Time
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &boundConn{Conn: conn, l: l, ip: l.countedAs(conn.RemoteAddr())}
		c.waits.Store(time.Now().UnixNano())
		victim, ok := l.admit(c)
		if victim != nil {
			_ = victim.Close()
		}
		if ok {
			return c, nil
		}
		l.refuse(conn)
	}
}

// countedAs is the address whose share a connection counts against, invalid if it has
// none.
func (l *listener) countedAs(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if ip.IsLoopback() && !l.loopback {
		return netip.Addr{}
	}
	for _, p := range l.o.Shared {
		if p.Contains(ip) {
			return netip.Addr{}
		}
	}
	if ip.Is6() {
		p, _ := ip.WithZone("").Prefix(64)
		return p.Addr()
	}
	return ip
}

// admit counts c, in the place of victim if there is one. False means that there is
// no place.
func (l *listener) admit(c *boundConn) (victim *boundConn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	overShare := c.ip.IsValid() && l.byIP[c.ip] >= l.share
	if overShare || len(l.conns) >= l.o.MaxConns {
		if victim = l.victimLocked(c.ip, overShare); victim == nil {
			if time.Since(l.warned) > time.Second {
				l.warned = time.Now()
				l.o.Logger.Warn().Int("connections", len(l.conns)).Bool("of_one_address", overShare).
					Msg("too many connections to the API are at work: refusing more")
			}
			return nil, false
		}
		l.leaveLocked(victim)
	}
	l.conns[c] = struct{}{}
	if c.ip.IsValid() {
		l.byIP[c.ip]++
	}
	return victim, true
}

// victimLocked chooses the connection that makes room: of ip if only is set.
func (l *listener) victimLocked(ip netip.Addr, only bool) (victim *boundConn) {
	var most int
	var longest int64
	latest := time.Now().Add(-idleGrace).UnixNano()
	for c := range l.conns {
		since := c.waits.Load()
		if since == 0 || since > latest || only && c.ip != ip {
			continue
		}
		n := l.byIP[c.ip] // 0 for those without a share
		if victim == nil || n > most || n == most && since < longest {
			victim, most, longest = c, n, since
		}
	}
	return victim
}

func (l *listener) leaveLocked(c *boundConn) {
	if _, counted := l.conns[c]; !counted {
		return
	}
	delete(l.conns, c)
	if !c.ip.IsValid() {
		return
	}
	if l.byIP[c.ip]--; l.byIP[c.ip] == 0 {
		delete(l.byIP, c.ip)
	}
}

// refuse answers 503, once the request begins to come: some clients take an answer
// that comes before for a defect.
func (l *listener) refuse(conn net.Conn) {
	if l.o.TLS || l.refusing.Add(1) > int32(refusingAtOnce(l.o.MaxConns)) {
		if !l.o.TLS {
			l.refusing.Add(-1)
		}
		_ = conn.Close()
		return
	}
	go func() {
		defer l.refusing.Add(-1)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(lingerIdle))
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return
		}
		_, _ = conn.Write((&engine.RefuseError{
			Status: http.StatusServiceUnavailable, Code: engine.CodeConnectFailed,
			Detail: "too many connections to the API, try again in a moment",
		}).AppendAnswer(nil, l.o.Lang))
		closeWrite(conn)
		discard(conn, lingerIdle)
	}()
}

// A boundConn knows whether its peer waits for something, or it for its peer: what was
// read has to be answered, and who was answered may take their time.
type boundConn struct {
	net.Conn
	l     *listener
	ip    netip.Addr   // see countedAs
	waits atomic.Int64 // since when for the next request, 0 if one is under way
}

// Read implements net.Conn.
func (c *boundConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.waits.Store(0)
	}
	return n, err
}

// Write implements net.Conn.
func (c *boundConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.waits.Store(time.Now().UnixNano())
	return n, err
}

// CloseWrite sends FIN.
func (c *boundConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Conn.
func (c *boundConn) Close() error {
	c.l.mu.Lock()
	c.l.leaveLocked(c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}
