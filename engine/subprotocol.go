package engine

import (
	"fmt"
	"slices"
	"strings"
	"unique"
)

// What a client speaks.
const (
	speaksEnvelope uint8 = iota
	speaksRaw            // SubprotocolRaw
	speaksChosen         // the envelope, under a name that Authenticate chose
)

func (c *Client) raw() bool { return c.spoken == speaksRaw }

// chooseSubprotocol decides what c speaks. A client that offers subprotocols and gets
// none fails the connection itself, with an error that says nothing (RFC 6455 section
// 4.1), therefore it is refused with one that does.
func (c *Client) chooseSubprotocol(h *Handshake, id Identity) error {
	offered := h.Subprotocols()
	if id.Subprotocol != "" {
		if !slices.Contains(offered, id.Subprotocol) {
			return fmt.Errorf("engine: Authenticate chose the subprotocol %.128q: want one that the client offers", id.Subprotocol)
		}
		if c.spoken = speaksChosen; id.Subprotocol == SubprotocolRaw {
			c.spoken = speaksRaw
		}
		return nil
	}
	if slices.Contains(offered, SubprotocolRaw) {
		c.spoken = speaksRaw
		return nil
	}
	for v := range h.req.Values("Sec-WebSocket-Protocol") {
		if strings.Trim(v, ", \t") != "" { // be it a token or not
			return &RefuseError{Status: 400, Code: CodeConnectFailed, Field: "Sec-WebSocket-Protocol", Detail: "want " + SubprotocolRaw + ", or no subprotocol"}
		}
	}
	return nil
}

// setNames keeps the two in one string: of the few clients whose subprotocol
// Authenticate chose, that costs the others nothing.
func (c *Client) setNames(user, subprotocol string) {
	if c.spoken == speaksChosen {
		user = subprotocol + nameEnd + user
	}
	if user != "" {
		c.user = unique.Make(user)
	}
}

// nameEnd stands in no subprotocol, which is a token (RFC 6455 section 4.1).
const nameEnd = "\x00"

// names are the parts of what setNames keeps.
func (c *Client) names() (subprotocol, user string) {
	if c.user != (unique.Handle[string]{}) {
		user = c.user.Value()
	}
	if c.spoken == speaksChosen {
		subprotocol, user, _ = strings.Cut(user, nameEnd)
	}
	return subprotocol, user
}
