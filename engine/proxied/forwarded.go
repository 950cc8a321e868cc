package proxied

import (
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MaxHops bounds how many hops of one request are looked at.
const MaxHops = 64

// Client is whom a request is from, by its X-Forwarded-For and Forwarded (RFC 7239)
// lines, if its peer is one of proxies: the last hop that is not one of them, for what
// stands before it anybody may have written. If all are, it is the first. A hop that
// says no address (unknown, unix:, _hidden) ends the search: then it is the hop behind
// that, one of proxies. It is invalid if not even the last hop says one; then the
// request is the peer's.
//
// Forwarded counts only if X-Forwarded-For names no hop. Most proxies write the latter
// and pass on the former as it came from the client.
func Client(forwardedFor, forwarded iter.Seq[string], proxies []netip.Prefix) netip.AddrPort {
	lines, parse := slices.Collect(forwardedFor), parseNode
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Trim(line, ", \t") != "" }) {
		lines, parse = slices.Collect(forwarded), parseElement
	}
	var client netip.AddrPort
	hops := 0
	for _, line := range slices.Backward(lines) {
		for more := true; more; {
			var hop string
			line, hop, more = cutLast(line, ',')
			if hop == "" {
				continue // an empty element is none
			}
			addr, ok := parse(hop)
			if hops++; !ok || hops > MaxHops {
				return client
			}
			if client = addr; !Among(proxies, addr.Addr()) {
				return client
			}
		}
	}
	return client
}

// Among reports whether ip is in one of the networks.
func Among(networks []netip.Prefix, ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("") // a network has none
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// Network is n as Among compares it: an IPv4 network in IPv6's form has its own.
func Network(n netip.Prefix) netip.Prefix {
	if n.Addr().Is4In6() && n.Bits() >= 96 {
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n.Masked()
}

// cutLast cuts the last part off s; more says whether there are others. A separator
// inside a quoted string does not count. Strings are told from the right: an open quote
// that a client sent then hides nothing of what a proxy has put behind it.
func cutLast(s string, separator byte) (rest, last string, more bool) {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"' && !(quoted && escaped(s[:i])):
			quoted = !quoted
		case s[i] == separator && !quoted:
			return s[:i], trim(s[i+1:]), true
		}
	}
	return "", trim(s), false
}

// escaped reports whether what follows before is the second half of a quoted pair.
func escaped(before string) bool {
	return (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1
}

func trim(s string) string { return strings.Trim(s, " \t") }

// parseElement finds the address in an element of Forwarded.
func parseElement(element string) (netip.AddrPort, bool) {
	node, found := "", false
	for more := true; more; {
		var pair string
		element, pair, more = cutLast(element, ';')
		name, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(trim(name), "for") {
			if found { // twice: who knows which
				return netip.AddrPort{}, false
			}
			node, found = unquote(trim(value)), true
		}
	}
	return parseNode(node)
}

// unquote takes the quotes off a quoted string. Other strings stay as they are.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// parseNode parses an address in any of the forms that proxies write: with a port or
// without, IPv6 in brackets or, without a port, bare. RFC 7239 has brackets, and a port
// may be hidden as _name.
func parseNode(s string) (addr netip.AddrPort, ok bool) {
	host, port, hasPort := s, "", false
	bracketed := strings.HasPrefix(s, "[")
	switch {
	case bracketed:
		if host, port, ok = strings.Cut(s[1:], "]"); !ok {
			return addr, false
		}
		if port, hasPort = strings.CutPrefix(port, ":"); !hasPort && port != "" {
			return addr, false
		}
	case strings.Count(s, ":") == 1:
		host, port, hasPort = strings.Cut(s, ":")
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || bracketed && ip.Is4() {
		return addr, false
	}
	n := uint64(0)
	if hasPort && !strings.HasPrefix(port, "_") {
		if n, err = strconv.ParseUint(port, 10, 16); err != nil {
			return addr, false
		}
	}
	return netip.AddrPortFrom(ip.Unmap().WithZone(""), uint16(n)), true
}
