package engine

import (
	"bytes"
	"errors"
	"math"
	"sync"
	"syscall"

	"github.com/lesismal/nbio"

	"carillon/engine/ws"
)

// A reader is what a client owns while it is in the middle of something that it sends.
// It is the poller's.
type reader struct {
	ws.Decoder
	holding
	rest  []byte // was read, and waits for the client's next turn
	pongs []byte // answers to the pings of this turn

	debt      int  // turns to be left out
	waits     bool // in loop.turns
	ended     bool // the peer's FIN came behind rest
	discarded int  // bytes read after it was clear that none would count
}

// readers are taken by clients that have bytes to read and given back between
// messages, so that an idle client owns none.
var readers = sync.Pool{New: func() any { return new(reader) }}

// reader is c's, made if it has none.
func (c *Client) reader() *reader {
	r := c.in.Load()
	if r == nil {
		r = readers.Get().(*reader)
		r.holding.c, r.holding.in = c, true
		r.MaxMessage = c.loop.e.opts.MaxMessageBytes
		r.MaxFrames = workPerLook
		c.in.Store(r)
	}
	return r
}

// unread reports whether bytes of c were read that are still to be handled.
func (c *Client) unread() bool { return c.undecoded() || c.tls != nil && c.tls.more }

// undecoded reports that of those that are not within TLS.
func (c *Client) undecoded() bool {
	r := c.in.Load()
	return r != nil && len(r.rest) > 0
}

// heldIn is the memory of what c has sent in part, or sent and was not handled yet.
func (c *Client) heldIn(r *reader) int {
	n := r.Held() + cap(r.rest)
	if c.tls != nil && c.tls.more {
		if below, ok := c.tls.Conn.(*tlsLoop); ok {
			n += cap(below.in)
		}
	}
	return n
}

// putDown notes at the end of a turn what c keeps, which is nothing between messages.
// It must not be called while c waits for its turn.
func (c *Client) putDown(r *reader) {
	c.writePongs(r)
	e := c.loop.e
	if !r.Idle() || c.unread() || r.discarded > 0 {
		if !r.Idle() {
			r.Trim() // or c would be ended for what others have sent
		}
		e.backlog.set(&r.holding, c.heldIn(r))
		e.shed()
		if begun := c.begun.Load(); begun == 0 && !r.Idle() {
			c.begun.Store(max(e.tickNow(), 1))
			if e.messageTicks < max(e.pingTicks, e.pongTicks) { // otherwise the heartbeat looks in time
				c.loop.wheel.Schedule(c, e.tickNow()+e.messageTicks+1)
			}
		}
		return
	}
	c.begun.Store(0)
	if r.debt > 0 || r.waits || !c.in.CompareAndSwap(r, nil) {
		return
	}
	e.backlog.set(&r.holding, 0)
	r.Decoder.Reset()
	if cap(r.pongs) > maxPooled {
		r.pongs = nil
	}
	*r = reader{Decoder: r.Decoder, pongs: r.pongs}
	readers.Put(r)
}

// onRead is called by nbio on the poller that owns the connection, as long as there is
// something to read.
func onRead(nc *nbio.Conn) {
	switch s := nc.Session().(type) {
	case *Client:
		s.readable()
	case *waker:
		s.readable()
	case *writeWatch:
		s.run()
	}
}

// readable reads what has come, as far as c's share goes.
func (c *Client) readable() {
	if r := c.in.Load(); r != nil && r.waits {
		return
	}
	l := c.loop
	l.beginTurn()
	for {
		n, err := c.nc.Read(l.buf)
		switch {
		case n > 0:
			c.input(l.buf[:n])
			if n == len(l.buf) && !l.did(n/workBytes) && !c.unread() {
				continue
			}
		case err == syscall.EINTR:
			continue
		case err != syscall.EAGAIN:
			c.hungUp()
		}
		l.endTurn(c)
		return
	}
}

// input handles bytes of the network.
func (c *Client) input(b []byte) {
	c.bytesIn.Add(uint64(len(b)))
	c.loop.bytesIn.Add(uint64(len(b)))
	hs := c.hs.Load()
	switch {
	case hs != nil && !hs.begun:
		if b = c.readProxyHeader(hs, b); len(b) == 0 {
			return
		}
	case (hs != nil || c.tls != nil) && c.deaf():
		c.discard(len(b))
		return
	case hs == nil:
		now := c.loop.e.tickNow()
		c.lastSeen.Store(now)
		if c.rate.bytes(now, len(b)) > c.loop.e.opts.MaxInboundBytes {
			c.tooFast()
			return
		}
	}
	if c.tls != nil {
		c.tls.received(b)
		return
	}
	c.received(b)
}

// deaf reports whether nothing that the peer sends counts any more.
func (c *Client) deaf() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deafLocked()
}

func (c *Client) deafLocked() bool {
	return c.state == stateClosing && c.flags&flagGotClose != 0 || c.state == stateClosed
}

// discardMost is how much is read of a client that is not listened to, so that the
// close frame or the answer on its way to it is not destroyed by a reset (RFC 9112
// section 9.6). Beyond, it has to wait for CloseTimeout.
const discardMost = 64 << 20

func (c *Client) discard(n int) {
	r := c.reader()
	if r.discarded += n; r.discarded > discardMost {
		c.loop.e.sockets.listen(c, false)
	}
}

// received handles what the peer has sent, without TLS.
func (c *Client) received(b []byte) {
	if hs := c.hs.Load(); hs != nil {
		c.handshakeData(hs, b)
		return
	}
	c.read(b)
}

// carryOn handles what was left of c's last turn.
func (c *Client) carryOn(r *reader) {
	rest, ended := r.rest, r.ended
	r.rest, r.ended = nil, false
	switch {
	case c.deaf():
		c.discard(len(rest))
	case len(rest) > 0:
		c.loop.turns.kept = true
		c.received(rest) // r may be another's now
		c.loop.turns.kept = false
	}
	if c.tls != nil && !c.undecoded() {
		c.tls.carryOn()
	}
	if ended {
		c.hungUp()
	}
	if r := c.in.Load(); r != nil {
		c.putDown(r)
	}
}

// read decodes the bytes of an open or closing client, as far as its share goes. What
// is left is kept for its next turn.
func (c *Client) read(b []byte) {
	r := c.reader()
	defer c.putDown(r)
	c.mu.Lock()
	r.Skim = c.state != stateOpen
	r.Deflate = c.window != 0 // not in reader: that may have been before c was open
	deaf := c.deafLocked()
	c.mu.Unlock()
	if deaf {
		c.discard(len(b))
		return
	}
	for {
		ev, rest, err := r.Next(b)
		frames, inflated := r.Frames, int(r.Inflated)
		r.Frames, r.Inflated = 0, 0
		if c.rate.frames(frames) > c.loop.e.opts.MaxInboundMessages ||
			inflated > 0 && c.rate.bytes(c.loop.e.tickNow(), inflated) > c.loop.e.opts.MaxInboundBytes {
			c.tooFast()
			return
		}
		if err != nil {
			c.writePongs(r)
			c.protocolError(err)
			return // the decoder remembers, and stays
		}
		if c.begun.Load() != 0 && r.Idle() {
			c.begun.Store(0) // it ended, if another begins in this turn
		}
		switch ev.Kind {
		case ws.None:
			return
		case ws.Message:
			c.message(r, ev.Opcode, ev.Payload)
		case ws.Ping:
			r.pongs = ws.AppendFrame(r.pongs, ws.OpPong, ev.Payload)
		case ws.Close:
			c.writePongs(r)
			c.peerClosed(ev.Code)
			return
		}
		over := c.loop.did(frames + (len(b)-len(rest)+inflated)/workBytes)
		if b = rest; over && len(b) > 0 {
			if r.rest = b; !c.loop.turns.kept {
				r.rest = bytes.Clone(b)
			}
			return
		}
	}
}

// writePongs answers the pings that came since the last answer of any kind, so that
// answers go in the order of what they answer. Many pings cost one write.
func (c *Client) writePongs(r *reader) {
	if len(r.pongs) > 0 {
		c.writeControl(r.pongs)
		r.pongs = r.pongs[:0]
	}
}

func (c *Client) message(r *reader, op ws.Opcode, payload []byte) {
	if c.closing() {
		r.Skim = true
		return
	}
	c.writePongs(r)
	c.msgsIn.Add(1)
	c.loop.msgsIn.Add(1)
	handle := c.loop.e.opts.OnMessage
	if handle == nil {
		return
	}
	kind := Text
	if op == ws.OpBinary {
		kind = Binary
	}
	c.guard("OnMessage", func() { handle(c, kind, payload) })
}

// hungUp is called in c's turn when the peer's FIN was read, or that of TLS, or nothing
// can be read any more. What the peer sent before is handled first.
func (c *Client) hungUp() {
	if c.tls != nil && c.tls.hungUp() {
		return
	}
	if hs := c.hs.Load(); hs != nil && hs.authenticating && !c.deaf() {
		hs.ended = true
		return
	}
	if c.unread() {
		c.reader().ended = true
		return
	}
	c.mu.Lock()
	writes := c.state == stateClosing && c.out != nil // and it may still be read
	if writes {
		c.flags |= flagGotClose
	}
	c.mu.Unlock()
	if writes { // closed when that is over, or by CloseTimeout
		c.loop.e.sockets.listen(c, false)
		return
	}
	c.loop.e.sockets.close(c)
}

// An inboundRate counts what came within the current second of the coarse clock.
// Counting by whole seconds costs 12 bytes a client, and lets through at most
// twice the limit across the turn of a second.
type inboundRate struct{ second, n, size uint32 }

// bytes counts n bytes and returns how many came in this second.
func (r *inboundRate) bytes(now uint32, n int) int {
	if r.second != now {
		*r = inboundRate{second: now}
	}
	r.size = uint32(min(int64(r.size)+int64(n), math.MaxInt32)) // which is no bound
	return int(r.size)
}

// frames counts n frames of the bytes counted last.
func (r *inboundRate) frames(n int) int {
	r.n = uint32(min(int64(r.n)+int64(n), math.MaxInt32))
	return int(r.n)
}

func (c *Client) tooFast() {
	c.end(CloseRate, "too many messages")
}

func (c *Client) closing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state != stateOpen
}

func (c *Client) protocolError(err error) {
	var p ws.ProtocolError
	if !errors.As(err, &p) {
		p = ws.ProtocolError{Code: ws.CloseProtocolError, Reason: err.Error()}
	}
	why := CloseProtocol
	if p.Code == ws.CloseMessageTooBig {
		why = CloseTooBig
	}
	if !c.endWithCode(why, p.Code, p.Reason) {
		c.peerClosed(ws.CloseNoStatus) // nothing more to wait for
	}
}
