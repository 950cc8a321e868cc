package engine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unique"

	"carillon/engine/ws"
	"carillon/registry"
)

// handshake is what a connection owns until it is open. It is the poller's.
type handshake struct {
	holding        // head and parked
	head    []byte // of the request, if it comes in parts
	ours    bool   // the request line asks for Options.Path
	proxied bool   // a header of the PROXY protocol may come first
	over    string // the label of the limit per address that it is over, if any

	room bool // memory was taken for a client

	authenticating bool
	parked         []byte // came behind the head, and waits for the end of that

	back []byte // what a connection begins with that net/http gave back
}

var headEnd = []byte("\r\n\r\n")

// handshakeData handles bytes read before c was open, on the poller.
func (c *Client) handshakeData(hs *handshake, b []byte) {
	switch {
	case c.deaf():
		c.discard(len(b))
	case hs.authenticating: // of what was read with the head: nothing else is read now
		hs.parked = append(hs.parked, b...)
		c.loop.e.gathered(hs, hs.parked)
	default:
		c.readHead(hs, b)
	}
}

// gathered counts what hs keeps.
func (e *Engine) gathered(hs *handshake, b []byte) {
	e.backlog.set(&hs.holding, cap(b))
	e.shed()
}

// opensAt goes on with the frames behind the request of a client that has opened.
func (c *Client) opensAt(hs *handshake, b []byte) {
	c.loop.e.backlog.set(&hs.holding, 0)
	c.hs.Store(nil)
	if len(b) > 0 {
		c.read(b)
	}
}

// readHead gathers the request head. Most come in one piece, are parsed where
// they lie in the poller's buffer, and cost none.
func (c *Client) readHead(hs *handshake, b []byte) {
	e := c.loop.e
	searched := max(0, len(hs.head)-len(headEnd)+1)
	inParts := hs.head != nil
	if inParts {
		hs.head = append(hs.head, b...)
		b = hs.head
	}
	if !hs.ours {
		_, path, known, err := ws.PeekRequestLine(b)
		hs.ours = known && string(path) == e.opts.Path
		switch {
		case err != nil && e.asksForUs(b):
			c.refuse(err, "")
			return
		case err != nil || known && !hs.ours:
			c.handOver(b, err)
			return
		}
	}
	end := bytes.Index(b[searched:], headEnd)
	if end < 0 && len(b) <= e.opts.MaxHandshakeBytes {
		if !inParts {
			hs.head = slices.Clone(b)
		}
		e.gathered(hs, hs.head)
		return
	}
	if end < 0 || searched+end+len(headEnd) > e.opts.MaxHandshakeBytes {
		c.refuse(&RefuseError{Status: 431, Code: CodeConnectFailed,
			Detail: fmt.Sprintf("a request head of at most %d bytes", e.opts.MaxHandshakeBytes)}, "head_size")
		return
	}
	req, n, err := ws.ParseRequest(b)
	if err == nil {
		err = req.CheckUpgrade()
	}
	if err != nil {
		c.refuse(err, "")
		return
	}
	if e.trusts(c.remote().Addr()) && !c.readForwardedFor(hs, req.Values("X-Forwarded-For")) {
		c.refuse(&RefuseError{Status: 400, Code: CodeConnectFailed, Field: "X-Forwarded-For", Detail: "IP addresses"}, "forwarded")
		return
	}
	if hs.over != "" {
		c.refuse(errTooMany, hs.over)
		return
	}
	if e.overLimit(0) {
		c.refuse(errOverloaded, labelMaxConnections)
		return
	}
	if hs.room = e.hasRoom(); !hs.room {
		c.refuse(errOverloaded, labelMemory)
		return
	}
	if !e.originAllowed(&req) {
		c.refuse(&RefuseError{Status: 403, Code: CodeConnectFailed, Field: "Origin", Detail: "an allowed origin"}, "origin")
		return
	}
	h := &Handshake{req: req, remote: c.remote()}
	if e.opts.Authenticate == nil {
		id, err := QueryIdentity(h)
		if c.admit(h, id, err) {
			c.opensAt(hs, b[n:])
		}
		return
	}
	hs.authenticating, hs.parked, hs.head = true, slices.Clone(b[n:]), nil
	e.sockets.listen(c, false)
	e.gathered(hs, hs.parked)
	// The context ends Authenticate in time; this is for one that does not listen.
	c.mu.Lock()
	c.setDeadlineLocked(ticks(e.opts.AuthTimeout) + 1)
	c.mu.Unlock()
	select {
	case e.auth <- authJob{c, hs, h}:
	default:
		c.refuse(errOverloaded, "overloaded")
		e.sockets.listen(c, true)
	}
}

// asksForUs reports whether what is no request was meant for Options.Path. What was
// not is net/http's, which also takes targets that are not ASCII.
func (e *Engine) asksForUs(b []byte) bool {
	rest, ok := bytes.CutPrefix(b, []byte("GET "+e.opts.Path))
	return ok && (len(rest) == 0 || strings.IndexByte(" ?#", rest[0]) >= 0)
}

var (
	errOverloaded = &RefuseError{Status: 503, Code: CodeConnectFailed, Detail: "try again in a moment"}
	errTooMany    = &RefuseError{Status: 429, Code: CodeConnectFailed, Detail: "too many connections from this address"}
)

// originAllowed is a browser's protection from other people's pages. On loopback
// every page is somebody at the same machine.
func (e *Engine) originAllowed(r *ws.Request) bool {
	if len(e.opts.AllowOrigins) == 0 && e.loopback {
		return true
	}
	return ws.OriginAllowed(r.Origin(), r.Host, e.opts.AllowOrigins)
}

// admit opens c for the identity, or refuses it. True means that c is open.
func (c *Client) admit(h *Handshake, id Identity, err error) bool {
	if err == nil {
		err = id.check()
	}
	if err == nil {
		err = c.open(h, id)
	}
	if err != nil {
		c.refuse(err, "identity")
		return false
	}
	return true
}

// open makes c a member of its system and groups and sends the 101 and the welcome
// in one write. Whoever finds c in the registry meanwhile waits at c.mu, so that
// nothing overtakes the welcome.
func (c *Client) open(h *Handshake, id Identity) error {
	e := c.loop.e
	cid, err := e.ids.next()
	if err != nil {
		return err
	}
	welcome, err := e.ids.next()
	if err != nil {
		return err
	}
	c.raw = slices.Contains(h.req.Subprotocols(), SubprotocolRaw)
	extensions := ""
	if e.opts.Compress {
		window := 0
		window, extensions = ws.NegotiateDeflate(h.req.Values("Sec-WebSocket-Extensions"))
		c.window = uint8(window)
	}
	if id.User != "" {
		c.user = unique.Make(id.User)
	}
	c.mu.Lock()
	if c.state != stateHandshake || e.phase.Load() != phaseRunning {
		c.mu.Unlock()
		return errOverloaded // or gone already: then nobody hears it
	}
	c.member.Value = c
	last := e.fanout.number.Load()
	c.marks = marks{last, last} // what was pushed before is not for it
	if err := e.reg.Join(&c.member, uint64(cid), c.loop.index, id.System, id.Groups...); err != nil {
		c.mu.Unlock()
		if errors.Is(err, registry.ErrGroups) {
			return &FieldError{"group_name", fmt.Sprintf("at most %d groups", e.opts.MaxGroups)}
		}
		return fmt.Errorf("engine: %w", err)
	}
	c.state = stateOpen
	e.open.Add(1)
	sent := c.writeBytesLocked(e.appendWelcome(nil, c, &h.req, messageID(welcome), extensions))
	c.mu.Unlock()

	c.startHeartbeat()
	e.accepted.Add(1)
	if ev := e.log.Debug(); ev.Enabled() {
		ev.Stringer("client", cid).Str("system", id.System).Stringer("remote", h.remote).Msg("client connected")
	}
	if e.opts.OnOpen != nil {
		c.guard("OnOpen", func() { e.opts.OnOpen(c) })
	}
	c.opened()
	if sent && e.phase.Load() != phaseRunning { // Shutdown may not have seen c
		c.endForShutdown(reconnectAfter)
	}
	return nil
}

// appendWelcome appends the 101 and, for clients of the envelope, code 0 with the given
// message id.
func (e *Engine) appendWelcome(b []byte, c *Client, req *ws.Request, id, extensions string) []byte {
	if c.raw {
		return ws.AppendSwitchingProtocols(b, req.Key(), SubprotocolRaw, extensions,
			ws.HeaderField{Name: "Carillon-Client-Id", Value: c.ID().String()})
	}
	b = ws.AppendSwitchingProtocols(b, req.Key(), "", extensions)
	if e.opts.NoWelcome {
		return b
	}
	r := renderers.Get().(*renderer)
	defer r.release()
	return append(b, r.render(newEnvelope(CodeConnected, Message{}, "", id, e.opts.Lang), c)...)
}
