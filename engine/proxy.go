package engine

import (
	"bytes"
	"net"
	"net/netip"

	"carillon/engine/proxied"
	"carillon/engine/ws"
)

// readProxyHeader gathers what a connection begins with, on the poller, until it is
// known whether that is a header of the PROXY protocol. It returns what follows the
// header, or all if there is none. A header of somebody who is not trusted is refused,
// and not ignored: behind it there would be a client with the proxy's address.
func (c *Client) readProxyHeader(hs *handshake, b []byte) []byte {
	if hs.head != nil {
		hs.head = append(hs.head, b...)
		b = hs.head
	}
	h, n, err := proxied.ParseHeader(b)
	switch {
	case h.Version != 0 && !hs.proxied:
		hs.begun, hs.noBody = true, asksHEAD(b[n:])
		c.refuseProxy()
		return nil
	case err == proxied.ErrIncomplete:
		if hs.head == nil {
			hs.head = bytes.Clone(b)
		}
		c.loop.e.gathered(hs, hs.head)
		return nil
	case err == proxied.ErrMalformed:
		hs.begun = true
		c.refuse(&RefuseError{Status: 400, Code: CodeConnectFailed, Detail: "a header of the PROXY protocol, version 1 or 2"}, "proxy header")
		return nil
	}
	if hs.head != nil {
		c.loop.e.backlog.set(&hs.holding, 0)
	}
	hs.begun, hs.head = true, nil
	if !hs.proxied {
		return b
	}
	if h.From.IsValid() {
		c.proxiedFrom(hs, h.From)
	}
	c.startTLS()
	if hs.over != "" && c.tls != nil { // as in add
		c.giveUp(hs.over)
		return nil
	}
	return b[n:]
}

// refuseProxy refuses a proxy that is not one of TrustedProxies. The operator hears of
// the first one: the others would fill the log.
func (c *Client) refuseProxy() {
	e := c.loop.e
	e.warnProxy.Do(func() {
		e.log.Warn().Stringer("remote", c.RemoteAddr()).
			Msg("a header of the PROXY protocol from a peer that is not trusted is refused, and so are all to come, without a word here: if it is your proxy, name it in -trusted-proxies (Options.TrustedProxies)")
	})
	c.mu.Lock()
	c.tls = nil // it has not begun
	c.mu.Unlock()
	c.refuse(&RefuseError{Status: 400, Code: CodeConnectFailed, Detail: "no header of the PROXY protocol: this peer is not a trusted proxy"}, labelUntrustedProxy)
}

const labelUntrustedProxy = "untrusted proxy"

// noteForwarded notes whom a trusted proxy says that a request is from.
func (c *Client) noteForwarded(hs *handshake, r *ws.Request) {
	e := c.loop.e
	if !e.trusts(c.remote().Addr()) {
		return
	}
	if a := proxied.Client(r.Values("X-Forwarded-For"), r.Values("Forwarded"), e.opts.TrustedProxies); a.IsValid() {
		c.proxiedFrom(hs, a)
	}
}

// trusts reports whether ip is one of TrustedProxies, or a peer's without one.
func (e *Engine) trusts(ip netip.Addr) bool {
	return proxied.Among(e.opts.TrustedProxies, ip) || e.opts.TrustUnix && isUnix(ip)
}

// isUnix reports whether ip is a unix peer's, who has none. A Client keeps that as the
// address that is nobody's.
func isUnix(ip netip.Addr) bool { return !ip.IsValid() || ip == netip.IPv6Unspecified() }

// addrOf is what Go calls the address, with the same name for a unix peer as Go's own.
func addrOf(a netip.AddrPort) net.Addr {
	if isUnix(a.Addr()) {
		return &net.UnixAddr{Name: "@", Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a)
}
