package ws

import (
	"net/netip"
	"strings"
)

// HostAllowed reports whether a request may call the server by host, the value of
// its Host: by an IP address, by localhost or a name below it, or by one of names.
// The check is against pages whose own name has been pointed at this server (DNS
// rebinding): to their browser, server and page are then one origin, and only the
// Host still says whose. Nobody can point an address or localhost elsewhere.
//
// "*.example.com" stands for every name below example.com, "*" for every name. The
// port does not count. An empty host is allowed: browsers send none.
func HostAllowed(host string, names []string) bool {
	if host == "" {
		return true
	}
	name, ok := hostName(host)
	if !ok {
		return false
	}
	if _, err := netip.ParseAddr(name); err == nil || isLocalhost(name) {
		return true
	}
	for _, n := range names {
		if n == "*" || glob(strings.TrimSuffix(n, "."), name) {
			return true
		}
	}
	return false
}

// ValidHostName reports whether name is one of HostAllowed: a host without a port,
// "*", or "*." and a host.
func ValidHostName(name string) bool {
	rest := strings.TrimPrefix(name, "*.")
	return name == "*" || rest != "" && !strings.ContainsAny(rest, "*:[]") && validAuthority(rest)
}

// LoopbackHost reports whether host, with a port or without, is the machine that
// connects: localhost, a name below it, or a loopback address.
func LoopbackHost(host string) bool {
	name, ok := hostName(host)
	if !ok {
		return false
	}
	ip, err := netip.ParseAddr(name)
	return isLocalhost(name) || err == nil && ip.Unmap().IsLoopback()
}

// LoopbackOrigin reports whether origin is a page of the machine that connects.
func LoopbackOrigin(origin string) bool {
	scheme, authority, ok := strings.Cut(origin, "://")
	return ok && validToken(scheme) && validAuthority(authority) && LoopbackHost(authority)
}

// hostName returns host without its port, the brackets of an IPv6 address, and the
// dot that a complete name may end in.
func hostName(host string) (name string, ok bool) {
	if !validAuthority(host) {
		return "", false
	}
	if strings.HasPrefix(host, "[") {
		return host[1:strings.IndexByte(host, ']')], true
	}
	name, _, _ = strings.Cut(host, ":")
	return strings.TrimSuffix(name, "."), true
}

func isLocalhost(name string) bool {
	return equalFold(name, "localhost") || glob("*.localhost", name)
}
