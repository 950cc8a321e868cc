package engine

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"carillon/engine/ws"
)

// A Handshake is a client's request to connect, as Authenticate sees it. It may
// be kept.
type Handshake struct {
	req    ws.Request
	remote netip.AddrPort
}

// Header is the value of the first header line of that name, in any case; empty
// if there is none.
func (h *Handshake) Header(name string) string {
	v, _ := h.req.Header(name)
	return v
}

// Host is the request's Host.
func (h *Handshake) Host() string { return h.req.Host }

// Origin is the page that connects, if a browser does; else empty.
func (h *Handshake) Origin() string { return h.req.Origin() }

// Subprotocols are those that the client offers, the preferred first.
func (h *Handshake) Subprotocols() []string { return h.req.Subprotocols() }

// RemoteAddr is as Client.RemoteAddr.
func (h *Handshake) RemoteAddr() net.Addr { return addrOf(h.remote) }

// Query is the decoded query of the request. The error says what is wrong with the
// first field that cannot be decoded; such fields are left out.
func (h *Handshake) Query() (url.Values, error) { return url.ParseQuery(h.req.RawQuery) }

// An Identity says who a client is. The engine checks it: names are 1 to
// MaxNameBytes bytes of UTF-8, User may be empty, and there are at most MaxGroups
// groups; naming a group twice is the same as once.
type Identity struct {
	System string
	User   string
	Groups []string
	// Notify tells the members of the groups that the client joins of it, as a message
	// with CodeBound, the client itself among them.
	Notify bool
	// Subprotocol is the WebSocket subprotocol that the answer names, one of those that
	// the client offers: with another, the handshake fails with 500. But for
	// SubprotocolRaw, the client gets envelopes, whatever it is. Empty leaves it to the
	// engine: SubprotocolRaw if that is offered, none if none is, and otherwise the
	// handshake is refused.
	Subprotocol string
}

func (id Identity) check() error {
	if err := CheckName("system_id", id.System); err != nil {
		return err
	}
	if err := checkUser(id.User); err != nil {
		return err
	}
	for _, g := range id.Groups {
		if err := CheckName("group_name", g); err != nil {
			return err
		}
	}
	return nil
}

// QueryIdentity believes the query: system_id, user_id, group_name any number of times,
// also as group_name[], and notify, a flag. Other fields may be anything: a client sees
// in the welcome what it was taken for. It is the default Authenticate, for networks
// where every client is trusted and for backends that check the request in front of
// Carillon.
func QueryIdentity(h *Handshake) (Identity, error) {
	q := url.Values{}
	for field := range strings.SplitSeq(h.req.RawQuery, "&") {
		raw, value, _ := strings.Cut(field, "=")
		name, err := url.QueryUnescape(raw)
		name, _, element := CutIndex(name)
		if err != nil || name != "system_id" && name != "user_id" && name != "group_name" && name != "notify" {
			continue
		}
		if value, err = Unescape(name, value); err != nil {
			return Identity{}, err
		}
		if q.Add(name, value); name != "group_name" && (element || len(q[name]) > 1) {
			return Identity{}, Twice(name)
		}
	}
	groups := q["group_name"]
	if len(groups) == 1 && groups[0] == "" { // "group_name=" means none
		groups = nil
	}
	id := Identity{System: q.Get("system_id"), User: q.Get("user_id"), Groups: groups}
	if q.Has("notify") {
		var err error
		if id.Notify, err = ParseFlag("notify", q.Get("notify")); err != nil {
			return Identity{}, err
		}
	}
	return id, nil
}

// A RefuseError, returned by Authenticate, chooses the HTTP answer to a
// handshake. The body is the API's error object.
type RefuseError struct {
	Status int    // 400 to 599
	Code   Code   // zero means CodeUnauthorized
	Field  string // the field at fault, if one is
	Detail string // for the client's developer; it is sent, so no secrets
}

// Error implements error.
func (e *RefuseError) Error() string {
	return fmt.Sprintf("engine: handshake refused: %d %s %s", e.Status, e.Field, e.Detail)
}
