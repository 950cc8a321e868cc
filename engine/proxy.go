package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"
	"strings"
)

// Proxies say who their own peer is, in front of everything in the PROXY protocol's
// version 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt), or in the request's
// X-Forwarded-For. Both are believed of TrustedProxies only: anybody could write
// them.

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyHeadLen   = len(proxySignature) + 4
	// maxProxyHeader is what addresses and extensions may take together.
	maxProxyHeader = 4 << 10
)

var errProxyHeader = errors.New("engine: malformed PROXY header")

// parseProxyHeader reads a header of the PROXY protocol from the front of b. n is
// its length, 0 if b may be the beginning of one; ok is false if b is something else.
// addr is invalid if the header names no TCP address, as a proxy's own health
// checks do: then the connection is the proxy's.
func parseProxyHeader(b []byte) (addr netip.AddrPort, n int, ok bool, err error) {
	k := min(len(b), len(proxySignature))
	if string(b[:k]) != proxySignature[:k] {
		return addr, 0, false, nil
	}
	if len(b) < proxyHeadLen {
		return addr, 0, true, nil
	}
	version, command, family := b[12]>>4, b[12]&0x0f, b[13]
	n = proxyHeadLen + int(binary.BigEndian.Uint16(b[14:]))
	if version != 2 || command > 1 || n > maxProxyHeader {
		return addr, 0, true, errProxyHeader
	}
	if len(b) < n {
		return addr, 0, true, nil
	}
	if command == 0 { // LOCAL
		return addr, n, true, nil
	}
	body := b[proxyHeadLen:n]
	size := map[byte]int{0x11: 4, 0x21: 16}[family] // TCP over IPv4, IPv6
	if size == 0 {
		return addr, n, true, nil
	}
	if len(body) < 2*size+4 { // two addresses and two ports
		return addr, 0, true, errProxyHeader
	}
	ip, _ := netip.AddrFromSlice(body[:size])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(body[2*size:])), n, true, nil
}

// readProxyHeader gathers the header that a trusted proxy may send first, on the
// poller. It returns what follows, once that is known.
func (c *Client) readProxyHeader(hs *handshake, b []byte) []byte {
	if hs.head != nil {
		hs.head = append(hs.head, b...)
		b = hs.head
	}
	addr, n, ok, err := parseProxyHeader(b)
	switch {
	case err != nil:
		hs.proxied = false
		c.refuse(&RefuseError{Status: 400, Code: CodeConnectFailed, Detail: "a header of the PROXY protocol, version 2"}, "proxy header")
		return nil
	case ok && n == 0:
		if hs.head == nil {
			hs.head = bytes.Clone(b)
		}
		return nil
	}
	hs.proxied, hs.head = false, nil
	if addr.IsValid() {
		c.proxiedFrom(hs, addr)
	}
	c.startTLS()
	if hs.over != "" && c.tls != nil { // as in add
		c.loop.e.refused.add(hs.over)
		c.tls.end()
		c.cut()
		return nil
	}
	return b[n:]
}

// readForwardedFor is for requests of trusted proxies. False means that the header
// is malformed, and nothing was done.
func (c *Client) readForwardedFor(hs *handshake, values iter.Seq[string]) bool {
	addr, ok := c.loop.e.forwardedFor(values)
	if addr.IsValid() {
		c.proxiedFrom(hs, addr)
	}
	return ok
}

// forwardedFor is the last address of X-Forwarded-For that is not a trusted proxy's:
// what stands before it, anybody may have written. It is invalid if there is none.
func (e *Engine) forwardedFor(values iter.Seq[string]) (addr netip.AddrPort, ok bool) {
	var hops []string
	for v := range values {
		hops = append(hops, strings.Split(v, ",")...)
	}
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.Trim(hops[i], " \t")
		ip, err := netip.ParseAddr(hop)
		addr = netip.AddrPortFrom(ip, 0)
		if err != nil {
			if addr, err = netip.ParseAddrPort(hop); err != nil { // some add the port
				return netip.AddrPort{}, false
			}
		}
		if ip = addr.Addr().Unmap(); !e.trusts(ip) {
			return netip.AddrPortFrom(ip, addr.Port()), true
		}
	}
	return netip.AddrPort{}, true
}

// trusts reports whether ip is one of TrustedProxies.
func (e *Engine) trusts(ip netip.Addr) bool {
	for _, p := range e.opts.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
