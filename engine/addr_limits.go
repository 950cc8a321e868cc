package engine

import (
	"net"
	"net/netip"
	"sync"
)

// addrLimits count open connections, and the handshakes of a second, by address.
// What is over a limit is answered 429, so it is counted, too, for as long as that
// takes. An IPv6 address counts as its /64, which is what one customer gets.
// Loopback has no limits.
type addrLimits struct {
	maxOpen, maxRate int

	mu   sync.Mutex // guards the following fields
	byIP map[netip.Addr]*addrCount
	// left are addresses whose last connection went in the tick of their last
	// handshake, which is still to be remembered for the rest of it.
	left []netip.Addr
	tick uint32
}

type addrCount struct {
	open       int
	second     uint32 // tick that handshakes were counted in
	handshakes int
}

const (
	labelPerIP          = "per ip"
	labelHandshakesByIP = "handshakes per ip"

	// refusingPerIP is refusing, for one address.
	refusingPerIP = 16
)

func newAddrLimits(o Options) *addrLimits {
	return &addrLimits{maxOpen: o.MaxPerIP, maxRate: o.HandshakesPerIP, byIP: map[netip.Addr]*addrCount{}}
}

// limitedAs is the address that a counts as. ok is false if it has no limits.
func limitedAs(a net.Addr) (ip netip.Addr, ok bool) {
	ip = ipOf(a)
	if !ip.IsValid() || ip.IsLoopback() {
		return ip, false
	}
	if ip.Is6() {
		p, _ := ip.Prefix(64)
		ip = p.Addr()
	}
	return ip, true
}

// enter counts a connection of ip, and returns the label of the limit that it is
// over, if any. flood says that it is not even worth an answer.
func (l *addrLimits) enter(ip netip.Addr, now uint32) (over string, flood bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turnLocked(now)
	n := l.byIP[ip]
	if n == nil {
		n = new(addrCount)
		l.byIP[ip] = n
	}
	if n.second != now {
		n.second, n.handshakes = now, 0
	}
	n.open++
	n.handshakes++
	switch {
	case l.maxOpen > 0 && n.open > l.maxOpen:
		return labelPerIP, n.open > l.maxOpen+refusingPerIP
	case l.maxRate > 0 && n.handshakes > l.maxRate:
		return labelHandshakesByIP, n.handshakes > l.maxRate+refusingPerIP
	}
	return "", false
}

func (l *addrLimits) leave(ip netip.Addr, now uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turnLocked(now)
	n := l.byIP[ip]
	switch n.open--; {
	case n.open > 0:
	case n.second == now:
		l.left = append(l.left, ip)
	default:
		delete(l.byIP, ip)
	}
}

// turnLocked forgets those who left in an earlier tick and did not come back.
func (l *addrLimits) turnLocked(now uint32) {
	if l.tick == now {
		return
	}
	l.tick = now
	for _, ip := range l.left {
		if n := l.byIP[ip]; n != nil && n.open == 0 {
			delete(l.byIP, ip)
		}
	}
	l.left = nil
}

// enterAddr counts a connection of a. counted tells whether it was, and so has to
// be given to leaveAddr; the rest is as for addrLimits.enter.
func (e *Engine) enterAddr(a net.Addr) (over string, flood, counted bool) {
	if e.addrs == nil {
		return "", false, false
	}
	ip, limited := limitedAs(a)
	if !limited {
		return "", false, false
	}
	over, flood = e.addrs.enter(ip, e.tickNow())
	return over, flood, true
}

func (e *Engine) leaveAddr(a net.Addr) {
	ip, _ := limitedAs(a)
	e.addrs.leave(ip, e.tickNow())
}

// proxiedFrom notes that c is a connection of a, as a trusted proxy says.
func (c *Client) proxiedFrom(hs *handshake, a netip.AddrPort) {
	c.remote = net.TCPAddrFromAddrPort(a)
	if c.loop.e.trusts(c.remote) {
		return // it is another proxy
	}
	var counted bool
	if hs.over, _, counted = c.loop.e.enterAddr(c.remote); counted {
		c.mu.Lock()
		c.flags |= flagCounted
		c.mu.Unlock()
	}
}
