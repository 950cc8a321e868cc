package engine

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"carillon/engine/ws"
)

// checkOrigin is what keeps other people's pages out, which a visitor's browser
// connects with the visitor's cookies or from inside of the visitor's network. It
// goes by what the request says and not by the address listened on: behind a proxy on
// the same machine, everybody comes from loopback. peer is whom the connection is
// from.
func (e *Engine) checkOrigin(r *ws.Request, peer netip.Addr) error {
	origin := r.Origin()
	switch {
	case ws.OriginAllowed(origin, r.Host, e.opts.AllowOrigins), e.ofPagePort(origin, r.Host):
		// "The same host" is also true of a page whose name was pointed here.
		if origin == "" || len(e.opts.AllowOrigins) > 0 || e.hostAllowed(r.Host) {
			return nil
		}
		return &RefuseError{Status: 403, Code: CodeConnectFailed, Field: "Host",
			Detail: DetailHost}
	case len(e.opts.AllowOrigins) == 0 && ws.LoopbackOrigin(origin) && ws.LoopbackHost(r.Host) && e.isDirect(r, peer):
		return nil // a developer's page, on another port
	}
	return &RefuseError{Status: 403, Code: CodeConnectFailed, Field: "Origin",
		Detail: "want an allowed origin (AllowOrigins, -allow-origin)"}
}

// ofPagePort reports whether the page is of the same host, at PagePort.
func (e *Engine) ofPagePort(origin, host string) bool {
	if e.opts.PagePort == 0 || len(e.opts.AllowOrigins) > 0 {
		return false
	}
	name := (&url.URL{Host: host}).Hostname()
	return ws.OriginAllowed(origin, net.JoinHostPort(name, strconv.Itoa(e.opts.PagePort)), nil)
}

// hostAllowed holds the Host of pages against Options.AllowHosts. Without them, a
// server that only its own machine reaches is known under no name.
func (e *Engine) hostAllowed(host string) bool {
	if len(e.opts.AllowHosts) == 0 && !e.loopback {
		return true
	}
	return ws.HostAllowed(host, e.opts.AllowHosts)
}

// isDirect reports whether the request comes from this machine, as far as one can
// see without a proxy between.
func (e *Engine) isDirect(r *ws.Request, peer netip.Addr) bool {
	if !peer.IsLoopback() || e.trusts(peer) {
		return false
	}
	for name := range r.Headers() {
		switch name = strings.ToLower(name); {
		case name == "forwarded", name == "via", name == "x-real-ip", strings.HasPrefix(name, "x-forwarded"):
			return false
		}
	}
	return true
}
