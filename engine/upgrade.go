package engine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"carillon/engine/ws"
	"carillon/registry"
)

// handshake is what a connection owns until it is open. It is the poller's.
type handshake struct {
	holding        // head and parked
	head    []byte // of the request, or what is before it, if it comes in parts
	begun   bool   // it is known whether a header of the PROXY protocol comes first
	proxied bool   // a trusted proxy's: such a header may come
	ours    bool   // the request line asks for Options.Path
	noBody  bool   // the request is a HEAD: no answer to it has a body
	over    string // the label of the limit per address that it is over, if any

	room bool // memory was taken for a client; guarded by Client.mu

	authenticating bool
	parked         []byte // came behind the head, and waits for the end of that
	ended          bool   // the peer's FIN came behind parked

	returned bool   // net/http gave the connection back
	back     []byte // what it begins with
	unsent   []byte // what net/http has not sent: it had no answer to send it before
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

// readHead gathers the request head. Most come in one piece, are parsed where they lie
// in the poller's buffer, and cost none.
func (c *Client) readHead(hs *handshake, b []byte) {
	searched := max(0, len(hs.head)-len(headEnd)+1)
	inParts := hs.head != nil
	if inParts {
		hs.head = append(hs.head, b...)
		b = hs.head
	}
	hs.noBody = asksHEAD(b)
	if !c.route(hs, b) {
		return
	}
	if hs.returned { // it is whole, and net/http's limit was for the head as it was sent
		c.request(hs, b)
		return
	}
	limit := c.loop.e.opts.MaxHandshakeBytes
	end := bytes.Index(b[searched:], headEnd)
	switch whole := end >= 0; {
	case whole && searched+end+len(headEnd) <= limit:
		c.request(hs, b)
	case whole || len(b) > limit:
		c.refuse(&RefuseError{Status: 431, Code: CodeConnectFailed, Detail: fmt.Sprintf("want a request head of at most %d bytes", limit)}, "head_size")
	default:
		if !inParts {
			hs.head = slices.Clone(b)
		}
		c.loop.e.gathered(hs, hs.head)
	}
}

// route reports whether the request is for Options.Path, as far as that is known of its
// front. If not, it is no longer ours.
func (c *Client) route(hs *handshake, b []byte) bool {
	if hs.ours {
		return true
	}
	e := c.loop.e
	_, path, known, err := ws.PeekRequestLine(b)
	hs.ours = known && string(path) == e.opts.Path
	switch {
	case err != nil && e.asksForUs(b):
		c.refuse(err, "")
		return false
	case err != nil || known && !hs.ours:
		c.handOver(b, err)
		return false
	}
	return true
}

// asksForUs reports whether what is no request was meant for Options.Path. What was
// not is net/http's, which also takes targets that are not ASCII.
func (e *Engine) asksForUs(b []byte) bool {
	rest, ok := bytes.CutPrefix(b, []byte("GET "+e.opts.Path))
	return ok && (len(rest) == 0 || strings.IndexByte(" ?#", rest[0]) >= 0)
}

// asksHEAD reports whether b is the front of a HEAD request, well-formed or not.
func asksHEAD(b []byte) bool { return bytes.HasPrefix(b, []byte("HEAD ")) }

// request handles the head at the front of b, which is whole.
func (c *Client) request(hs *handshake, b []byte) {
	req, n, err := ws.ParseRequest(b)
	if err != nil {
		c.refuse(err, "")
		return
	}
	for _, check := range checks {
		if label, err := check(c, hs, &req); err != nil {
			c.refuse(err, label)
			return
		}
	}
	c.identify(hs, &Handshake{req: req, remote: c.remote()}, b[n:])
}

// checks are what a request has to pass before it is asked who the client is. The
// label goes with an error, as for refuse.
var checks = []func(c *Client, hs *handshake, r *ws.Request) (label string, err error){
	checkUpgrade, checkAddr, checkMaxConnections, checkMemory, checkOrigin,
}

func checkUpgrade(_ *Client, _ *handshake, r *ws.Request) (string, error) {
	return "", r.CheckUpgrade()
}

func checkAddr(c *Client, hs *handshake, r *ws.Request) (string, error) {
	c.noteForwarded(hs, r)
	return hs.over, refuseIf(hs.over != "", errTooMany)
}

func checkMaxConnections(c *Client, _ *handshake, _ *ws.Request) (string, error) {
	return labelMaxConnections, refuseIf(c.loop.e.overLimit(0), errOverloaded)
}

func checkMemory(c *Client, hs *handshake, _ *ws.Request) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hs.room = c.state == stateHandshake && c.loop.e.hasRoom() // of one that has ended, nobody would free it
	return labelMemory, refuseIf(!hs.room, errOverloaded)
}

func checkOrigin(c *Client, _ *handshake, r *ws.Request) (string, error) {
	return "origin", c.loop.e.checkOrigin(r, c.remote().Addr())
}

func refuseIf(bad bool, err *RefuseError) error {
	if bad {
		return err
	}
	return nil
}

var (
	errOverloaded = &RefuseError{Status: 503, Code: CodeConnectFailed, Detail: "try again in a moment"}
	errTooMany    = &RefuseError{Status: 429, Code: CodeConnectFailed, Detail: "too many connections from this address"}
)

// identify finds out who the client is, here or on a goroutine of Authenticate, and
// admits it. rest came behind the request.
func (c *Client) identify(hs *handshake, h *Handshake, rest []byte) {
	e := c.loop.e
	if e.opts.Authenticate == nil {
		id, err := QueryIdentity(h)
		if c.admit(h, id, err) {
			c.opensAt(hs, rest)
		}
		return
	}
	hs.authenticating, hs.parked, hs.head = true, slices.Clone(rest), nil
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

// admit opens c for the identity, or refuses it. True means that c is open.
func (c *Client) admit(h *Handshake, id Identity, err error) bool {
	label := "identity"
	if err == nil {
		err = id.check()
	}
	if err == nil {
		if err = c.chooseSubprotocol(h, id); err != nil {
			label = "subprotocol"
		}
	}
	if err == nil {
		if err = c.open(h, id); err == errOverloaded {
			label = "shutdown"
		}
	}
	if err != nil {
		c.refuse(err, label)
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
	extensions := ""
	if e.opts.Compress {
		window := 0
		window, extensions = ws.NegotiateDeflate(h.req.Values("Sec-WebSocket-Extensions"))
		c.window = uint8(window)
	}
	c.setNames(id.User, id.Subprotocol)
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
			return tooManyGroups(e.opts.MaxGroups)
		}
		return fmt.Errorf("engine: %w", err)
	}
	c.state, c.due = stateOpen, 0
	e.open.Add(1)
	sent := c.writeBytesLocked(e.appendWelcome(nil, c, &h.req, messageID(welcome), extensions))
	c.mu.Unlock()

	c.startHeartbeat()
	e.accepted.Add(1)
	if id.Notify {
		e.notifier.post(c, CodeBound)
	}
	if ev := e.log.Debug(); ev.Enabled() {
		ev.Stringer("client", cid).Str("system", id.System).Stringer("remote", h.RemoteAddr()).Msg("client connected")
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
	if c.raw() {
		return ws.AppendSwitchingProtocols(b, req.Key(), SubprotocolRaw, extensions,
			ws.HeaderField{Name: "Carillon-Client-Id", Value: c.ID().String()})
	}
	b = ws.AppendSwitchingProtocols(b, req.Key(), c.Subprotocol(), extensions)
	if e.opts.NoWelcome {
		return b
	}
	r := renderers.Get().(*renderer)
	defer r.release()
	return append(b, r.render(newEnvelope(CodeConnected, Message{Params: welcomeParams(c)}, "", id, e.opts.Lang), c)...)
}

// maxWelcomed is how many groups the welcome names, which is to stay a short message.
const maxWelcomed = 64

// welcomeParams say what the client was taken for: a field that it has misspelt is not
// there.
func welcomeParams(c *Client) []byte {
	groups := c.Groups()
	slices.Sort(groups)
	b := []byte(`{"groups":[`)
	for i, g := range groups[:min(len(groups), maxWelcomed)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendJSONString(b, g)
	}
	b = AppendJSONString(append(b, `],"user_id":`...), c.User())
	return append(b, '}')
}
