package engine

import (
	"sync"

	"carillon/engine/ws"
)

// Permessage-deflate (RFC 7692) costs an idle client nothing: neither side keeps a
// context between messages, so what compresses and inflates is shared by all. A
// push compresses once, whatever the number of its receivers: the id stands in
// the compressed envelope as it is, see ws.NewDeflatedTemplate.

// compressed is the compressed forms of a frame, made by the first receiver who
// can read them. A form is empty if it would not be shorter.
type compressed struct {
	envelopeOnce, verbatimOnce sync.Once
	envelope                   *ws.Template
	verbatim                   []byte
}

// envelopeFor is the form of the envelope that c gets.
func (f *frame) envelopeFor(c *Client) *ws.Template {
	if !c.compresses(len(f.tail)) || !c.canReach(len(f.tail)) {
		return f.plain
	}
	f.small.envelopeOnce.Do(func() {
		c.loop.e.compressed.Add(1)
		t := ws.NewDeflatedTemplate(ws.OpText, nil, f.tail, ws.MaxWindowBits)
		if t.Len(0) < f.plain.Len(0) {
			f.small.envelope = t
		}
	})
	if f.small.envelope == nil {
		return f.plain
	}
	return f.small.envelope
}

// verbatimFor is the form of the verbatim frame that c gets.
func (f *frame) verbatimFor(c *Client) []byte {
	if !c.compresses(len(f.payload)) || !c.canReach(len(f.payload)) {
		return f.verbatim
	}
	f.small.verbatimOnce.Do(func() {
		c.loop.e.compressed.Add(1)
		op := ws.Opcode(f.verbatim[0] & 0x0f)
		b := ws.AppendDeflatedFrame(nil, op, f.payload, ws.MaxWindowBits)
		if len(b) < len(f.verbatim) {
			f.small.verbatim = b
		}
	})
	if f.small.verbatim == nil {
		return f.verbatim
	}
	return f.small.verbatim
}

// compresses reports whether c is to get n bytes compressed.
func (c *Client) compresses(n int) bool {
	return c.window != 0 && n >= c.loop.e.opts.CompressMin
}

// canReach reports whether c's window spans n bytes. What is compressed for all
// refers back as far as it likes; a client that asked for a smaller window gets
// longer messages as they are, which RFC 7692 section 6 leaves to the sender.
func (c *Client) canReach(n int) bool {
	return c.window == ws.MaxWindowBits || n <= 1<<c.window
}

// appendFrame appends a message for c alone.
func (c *Client) appendFrame(b []byte, op ws.Opcode, data []byte) []byte {
	if c.compresses(len(data)) {
		c.loop.e.compressed.Add(1)
		return ws.AppendDeflatedFrame(b, op, data, int(c.window))
	}
	return ws.AppendFrame(b, op, data)
}
