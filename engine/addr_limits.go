package engine

import (
	"net/netip"
	"sync"
)

// addrLimits count open connections, and the handshakes of a second, by address.
// What is over a limit is answered 429, and counted apart for as long as that takes.
// An IPv6 address counts as its /64, which is what one customer gets.
// Loopback has no limits.
type addrLimits struct {
	maxOpen, maxRate int
	loopback         bool // for tests: has limits, too

	mu   sync.Mutex // guards the following fields
	byIP map[netip.Addr]*addrCount
	// left are addresses whose last connection went in the tick of their last
	// handshake, which is still to be remembered for the rest of it. That tick is
	// over for the first ones, due of them.
	left []netip.Addr
	due  int
	tick uint32
}

type addrCount struct {
	open       int
	refused    int    // connections that are over a limit, until they are gone
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

// limitedAs is the address that ip counts as. ok is false if it has no limits.
func (l *addrLimits) limitedAs(ip netip.Addr) (as netip.Addr, ok bool) {
	if !ip.IsValid() || ip.IsLoopback() && !l.loopback {
		return ip, false
	}
	if ip.Is6() {
		p, _ := ip.Prefix(64)
		ip = p.Addr()
	}
	return ip, true
}

// enter counts a connection of ip, and returns the label of the limit that it is
// over, if any. flood says that it is not even worth an answer; then it is not
// counted.
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
	n.handshakes++
	switch {
	case l.maxOpen > 0 && n.open >= l.maxOpen:
		over = labelPerIP
	case l.maxRate > 0 && n.handshakes > l.maxRate:
		over = labelHandshakesByIP
	default:
		n.open++
		return "", false
	}
	if n.refused >= refusingPerIP {
		return over, true
	}
	n.refused++
	return over, false
}

// again counts one more handshake of an open connection of ip, and returns the label of
// the limit that it is over, if any.
func (l *addrLimits) again(ip netip.Addr, now uint32) (over string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.byIP[ip]
	if n == nil {
		return ""
	}
	if n.second != now {
		n.second, n.handshakes = now, 0
	}
	if n.handshakes++; l.maxRate > 0 && n.handshakes > l.maxRate {
		return labelHandshakesByIP
	}
	return ""
}

// leave undoes enter; refused says that it was over a limit.
func (l *addrLimits) leave(ip netip.Addr, refused bool, now uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turnLocked(now)
	n := l.byIP[ip]
	if refused {
		n.refused--
	} else {
		n.open--
	}
	switch {
	case n.open+n.refused > 0:
	case n.second == now:
		l.left = append(l.left, ip)
	default:
		delete(l.byIP, ip)
	}
}

// turnLocked forgets some of those who left in an earlier tick and did not come back:
// more than one call adds, and few enough not to hold up the others.
func (l *addrLimits) turnLocked(now uint32) {
	if l.tick != now {
		l.tick, l.due = now, len(l.left)
	}
	n := min(l.due, 4)
	for _, ip := range l.left[:n] {
		if c := l.byIP[ip]; c != nil && c.open+c.refused == 0 && c.second != now {
			delete(l.byIP, ip)
		}
	}
	l.left, l.due = l.left[n:], l.due-n
}

// enterAddr counts a connection of ip. flags is for the client, so that leaveAddr
// knows; the rest is as for addrLimits.enter.
func (e *Engine) enterAddr(ip netip.Addr) (over string, flood bool, flags clientFlags) {
	if e.addrs == nil {
		return "", false, 0
	}
	ip, limited := e.addrs.limitedAs(ip)
	if !limited {
		return "", false, 0
	}
	switch over, flood = e.addrs.enter(ip, e.tickNow()); {
	case flood:
		return over, true, 0
	case over != "":
		return over, false, flagCountedRefused
	}
	return "", false, flagCounted
}

// again is addrLimits.again.
func (e *Engine) again(ip netip.Addr) (over string) {
	if e.addrs == nil {
		return ""
	}
	if ip, limited := e.addrs.limitedAs(ip); limited {
		return e.addrs.again(ip, e.tickNow())
	}
	return ""
}

func (e *Engine) leaveAddr(ip netip.Addr, flags clientFlags) {
	if flags&(flagCounted|flagCountedRefused) != 0 {
		ip, _ := e.addrs.limitedAs(ip)
		e.addrs.leave(ip, flags&flagCountedRefused != 0, e.tickNow())
	}
}

// proxiedFrom notes that c is a connection of a, as a trusted proxy says.
func (c *Client) proxiedFrom(hs *handshake, a netip.AddrPort) {
	e := c.loop.e
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flags&flagUntracked != 0 {
		return // it ended during its TLS handshake: nobody would count it out
	}
	c.setRemote(a)
	if e.trusts(a.Addr()) {
		return // it is another proxy
	}
	var flags clientFlags
	hs.over, _, flags = e.enterAddr(a.Addr()) // a proxy's flood gets its answers
	c.flags |= flags
}
