package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unique"

	"carillon/engine/ws"
)

// handshake is what a connection owns until it is open.
type handshake struct {
	// The poller's.
	head    []byte // of the request, if it comes in parts
	ours    bool   // the request line asks for Options.Path
	proxied bool   // a header of the PROXY protocol may come first
	over    string // the label of the limit per address that it is over, if any

	mu     sync.Mutex // guards the following fields
	phase  phase
	parked []byte // came while Authenticate runs
}

// A phase says who owns the bytes that the poller reads.
type phase uint8

const (
	phaseHead    phase = iota // the poller, which gathers the request head
	phaseAuth                 // the goroutine that authenticates; the poller parks them
	phaseRefused              // nobody: an error answer is on its way
	phaseOver                 // the poller, which reads frames
)

// maxParked bounds what a client may send ahead before it knows that it is in.
const maxParked = 64 << 10

var headEnd = []byte("\r\n\r\n")

// handshakeData handles bytes read before c was open, on the poller. False means
// that it has opened meanwhile, and nothing was done with them.
func (c *Client) handshakeData(hs *handshake, b []byte) bool {
	hs.mu.Lock()
	p := hs.phase
	tooMuch := false
	if p == phaseAuth {
		if tooMuch = len(hs.parked)+len(b) > maxParked; !tooMuch {
			hs.parked = append(hs.parked, b...)
		}
	}
	hs.mu.Unlock()
	switch {
	case tooMuch:
		c.refuse(&RefuseError{Status: 413, Code: CodeConnectFailed, Detail: "wait for the answer before sending"}, "early data")
	case p == phaseHead:
		c.readHead(hs, b)
	}
	return p != phaseOver
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
	if !e.hasRoom() {
		c.refuse(errOverloaded, "memory")
		return
	}
	if err := e.checkOrigin(&req, c.remote().Addr()); err != nil {
		c.refuse(err, "origin")
		return
	}
	h := &Handshake{req: req, remote: c.remote()}
	if e.opts.Authenticate == nil {
		id, err := QueryIdentity(h)
		if c.admit(h, id, err) {
			c.hs.Store(nil)
			if len(b) > n {
				c.read(b[n:])
			}
		}
		return
	}
	hs.mu.Lock()
	hs.phase, hs.parked = phaseAuth, slices.Clone(b[n:])
	hs.mu.Unlock()
	hs.head = nil
	// The context ends Authenticate in time; this is for one that does not listen.
	c.loop.wheel.Schedule(c, e.tickNow()+ticks(e.opts.AuthTimeout)+1)
	select {
	case e.auth <- authJob{c, hs, h}:
	default:
		c.refuse(errOverloaded, "overloaded")
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

// admit opens c for the identity, or refuses it. True means that c is open.
func (c *Client) admit(h *Handshake, id Identity, err error) bool {
	if err == nil {
		err = id.check(c.loop.e.opts.MaxGroups)
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
	if err := e.reg.Join(&c.member, uint64(cid), c.loop.index, id.System, id.Groups...); err != nil {
		c.mu.Unlock()
		return fmt.Errorf("engine: %w", err)
	}
	c.state = stateOpen
	e.open.Add(1)
	sent := c.writeBytesLocked(e.appendWelcome(nil, c, &h.req, extensions))
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

// appendWelcome appends the 101 and, for clients of the envelope, code 0.
func (e *Engine) appendWelcome(b []byte, c *Client, req *ws.Request, extensions string) []byte {
	if c.raw {
		return ws.AppendSwitchingProtocols(b, req.Key(), SubprotocolRaw, extensions,
			ws.HeaderField{Name: "Carillon-Client-Id", Value: c.ID().String()})
	}
	b = ws.AppendSwitchingProtocols(b, req.Key(), "", extensions)
	if e.opts.NoWelcome {
		return b
	}
	id, err := e.ids.next()
	if err != nil {
		return b
	}
	r := renderers.Get().(*renderer)
	defer r.release()
	return append(b, r.render(newEnvelope(CodeConnected, Message{}, "", messageID(id), e.opts.Lang), c)...)
}
