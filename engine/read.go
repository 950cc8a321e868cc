package engine

import (
	"errors"
	"sync"

	"github.com/lesismal/nbio"

	"carillon/engine/ws"
)

// decoders are taken by clients that have bytes to read and given back between
// messages, so that an idle client owns none.
var decoders = sync.Pool{New: func() any { return new(ws.Decoder) }}

// onData is called by nbio on the poller that owns the connection; b is the
// poller's buffer.
func onData(nc *nbio.Conn, b []byte) {
	c, ok := nc.Session().(*Client)
	if !ok {
		if w, ok := nc.Session().(*waker); ok {
			w.woken()
		}
		return
	}
	c.bytesIn.Add(uint64(len(b)))
	c.loop.bytesIn.Add(uint64(len(b)))
	if hs := c.hs.Load(); hs == nil {
		now := c.loop.e.tickNow()
		c.lastSeen.Store(now)
		if c.rate.bytes(now, len(b)) > c.loop.e.opts.MaxInboundBytes {
			c.tooFast()
		}
	} else if !hs.begun {
		if b = c.readProxyHeader(hs, b); len(b) == 0 {
			return
		}
	}
	if c.tls != nil {
		c.tls.received(b)
		return
	}
	c.received(b)
}

// received handles what the peer has sent, without TLS.
func (c *Client) received(b []byte) {
	if hs := c.hs.Load(); hs != nil && c.handshakeData(hs, b) {
		return
	}
	c.read(b)
}

// read handles the bytes of an open or closing client. They are consumed when it
// returns.
func (c *Client) read(b []byte) {
	if c.dec == nil {
		c.dec = decoders.Get().(*ws.Decoder)
		c.dec.MaxMessage = c.loop.e.opts.MaxMessageBytes
		c.dec.Deflate = c.window != 0
	}
	for {
		ev, rest, err := c.dec.Next(b)
		if err != nil {
			c.protocolError(err)
			return // the decoder remembers, and stays
		}
		switch ev.Kind {
		case ws.None:
			if c.dec.Idle() {
				c.dec.Reset()
				decoders.Put(c.dec)
				c.dec = nil
			}
			return
		case ws.Message:
			c.message(ev.Opcode, ev.Payload)
		case ws.Ping:
			c.pong(ev.Payload)
		case ws.Close:
			c.peerClosed(ev.Code)
		}
		b = rest
	}
}

func (c *Client) message(op ws.Opcode, payload []byte) {
	c.msgsIn.Add(1)
	c.loop.msgsIn.Add(1)
	if c.rate.messages() > c.loop.e.opts.MaxInboundMessages {
		c.tooFast()
	}
	handle := c.loop.e.opts.OnMessage
	if handle == nil || c.closing() {
		return
	}
	kind := Text
	if op == ws.OpBinary {
		kind = Binary
	}
	c.guard("OnMessage", func() { handle(c, kind, payload) })
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
	r.size += uint32(n)
	return int(r.size)
}

// messages counts a message of the bytes counted last.
func (r *inboundRate) messages() int {
	r.n++
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

func (c *Client) pong(payload []byte) {
	r := renderers.Get().(*renderer) // for its buffer: one on the stack would escape
	defer r.release()
	r.buf = ws.AppendFrame(r.buf[:0], ws.OpPong, payload)
	c.writeControl(r.buf)
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
