package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unique"
)

// chooseSubprotocol decides what c speaks. A client that offers subprotocols and gets
// none fails the connection itself, with an error that says nothing (RFC 6455 section
// 4.1), therefore it is refused with one that does.
func (c *Client) chooseSubprotocol(h *Handshake, id Identity) error {
	offered := h.Subprotocols()
	if id.Subprotocol != "" {
		if !slices.Contains(offered, id.Subprotocol) || len(id.Subprotocol) > math.MaxUint16 {
			return fmt.Errorf("engine: Authenticate chose the subprotocol %.128q: want one that the client offers, of at most %d bytes",
				id.Subprotocol, math.MaxUint16)
		}
		c.raw = id.Subprotocol == SubprotocolRaw
		return nil
	}
	if c.raw = slices.Contains(offered, SubprotocolRaw); c.raw {
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
	if c.raw {
		subprotocol = "" // a flag says it
	}
	if names := subprotocol + user; names != "" {
		c.user, c.chosen = unique.Make(names), uint16(len(subprotocol))
	}
}
