package engine

import (
	"github.com/lesismal/nbio"

	"carillon/engine/ws"
)

// What a client is sent goes to nbio one message at a time: nbio hands the kernel
// what it takes and keeps the rest of that message. Further messages wait in the
// client's outQueue as frames, shared with every other client that waits for
// them, until nbio has written its rest; then the housekeeper goes on. So a
// client that keeps up owns no queue, and one that does not costs a pointer a
// message.

// outQueue is the messages that wait for one client.
type outQueue struct {
	waiting []queued // the first one is next
	bytes   int
}

// queued is a shared frame, or bytes for this client only.
type queued struct {
	f    *frame
	own  []byte
	size int
}

// closeFrame is the last thing to wait for a client. It is told from a message by
// its opcode.
func (q queued) closeFrame() bool { return q.f == nil && q.own[0]&0x0f == byte(ws.OpClose) }

// queuedLocked is how many bytes wait for c. c.mu must be held.
func (c *Client) queuedLocked() int {
	n := int(c.unsent.Load())
	if c.out != nil {
		n += c.out.bytes
	}
	return n
}

// send sends f, which r renders.
func (c *Client) send(f *frame, r *renderer) Outcome {
	c.mu.Lock()
	if c.state != stateOpen {
		c.mu.Unlock()
		return Dropped
	}
	if c.out == nil && c.unsent.Load() == 0 {
		o := c.writeLocked(r.render(f, c))
		c.mu.Unlock()
		return o
	}
	return c.enqueueAndUnlock(queued{f: f, size: f.size(c)})
}

// sendOwn sends a whole frame that is only for c. It does not keep b.
func (c *Client) sendOwn(b []byte) Outcome {
	c.mu.Lock()
	if c.state != stateOpen {
		c.mu.Unlock()
		return Dropped
	}
	if c.out == nil && c.unsent.Load() == 0 {
		o := c.writeLocked(b)
		c.mu.Unlock()
		return o
	}
	return c.enqueueAndUnlock(queued{own: append([]byte(nil), b...), size: len(b)})
}

// writeLocked gives one whole message to nbio, which has nothing unsent.
func (c *Client) writeLocked(b []byte) Outcome {
	if len(b) == 0 { // nothing for this kind of client
		return Written
	}
	if !c.writeBytesLocked(b) {
		return Dropped
	}
	c.msgsOut.Add(1)
	c.loop.msgsOut.Add(1)
	if c.unsent.Load() > 0 {
		return Queued
	}
	return Written
}

// writeBytesLocked writes b, and has nbio copy what the kernel does not take.
// False means that the connection is gone; the housekeeper hears of it from nbio.
func (c *Client) writeBytesLocked(b []byte) bool {
	n, wait := writeSocket(c, b)
	c.countOut(n)
	if !wait {
		return n == len(b)
	}
	c.unsent.Add(int64(len(b) - n))
	_, err := c.nc.Write(b[n:])
	return err == nil
}

func (c *Client) countOut(n int) {
	c.bytesOut.Add(uint64(n))
	c.loop.bytesOut.Add(uint64(n))
}

// onWritten is called by nbio, under its connection's lock, whenever the kernel
// took n bytes that nbio held.
func onWritten(nc *nbio.Conn, _ []byte, n int) {
	c, ok := nc.Session().(*Client)
	if !ok {
		return
	}
	c.countOut(n)
	if c.unsent.Add(int64(-n)) == 0 && c.more.Load() {
		c.loop.post(&c.loop.drainable, c)
	}
}

// enqueueAndUnlock lets q wait, or closes the client if it is over its budget.
func (c *Client) enqueueAndUnlock(q queued) Outcome {
	if held := c.queuedLocked(); held > 0 && held+q.size > c.loop.e.opts.MaxQueuedBytes {
		c.mu.Unlock()
		c.end(CloseSlowConsumer, closeReasons[CloseSlowConsumer].code, "slow consumer")
		return Dropped
	}
	if c.out == nil {
		c.out = new(outQueue)
	}
	c.out.waiting = append(c.out.waiting, q)
	c.out.bytes += q.size
	c.wantDrainLocked()
	c.mu.Unlock()
	return Queued
}

// wantDrainLocked has the housekeeper call drain as soon as nbio holds nothing.
func (c *Client) wantDrainLocked() {
	c.more.Store(true)
	if c.unsent.Load() == 0 { // onWritten may have missed it
		c.loop.post(&c.loop.drainable, c)
	}
}

// drain runs on the housekeeper: it sends what waits as far as the kernel takes
// it, and then whatever closing the connection asks for.
func (c *Client) drain() {
	r := renderers.Get().(*renderer)
	defer r.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.out != nil && c.unsent.Load() == 0 && c.state != stateClosed {
		q := c.out.waiting[0]
		c.out.waiting[0] = queued{}
		c.out.bytes -= q.size
		if c.out.waiting = c.out.waiting[1:]; len(c.out.waiting) == 0 {
			c.out = nil
		}
		switch {
		case q.f != nil:
			c.writeLocked(r.render(q.f, c))
		case q.closeFrame():
			c.writeBytesLocked(q.own)
		default:
			c.writeLocked(q.own)
		}
	}
	if c.out == nil && c.unsent.Load() == 0 {
		c.more.Store(false)
		c.finishWritingLocked()
	}
}

// writeControl sends a ping or pong. It overtakes the messages that wait, but not
// the one of which a part is written. A peer that has us pile up pongs is a slow
// consumer.
func (c *Client) writeControl(b []byte) {
	c.mu.Lock()
	if c.state != stateOpen {
		c.mu.Unlock()
		return
	}
	if c.unsent.Load() > int64(c.loop.e.opts.MaxQueuedBytes) {
		c.mu.Unlock()
		c.end(CloseSlowConsumer, closeReasons[CloseSlowConsumer].code, "slow consumer")
		return
	}
	c.writeBytesLocked(b)
	c.mu.Unlock()
}

// Send sends m to this client alone, like Engine.Push with ToClient, and does not
// wait. Dropped without an error means that the client is closed.
func (c *Client) Send(m Message) (Outcome, error) {
	e := c.loop.e
	if err := m.check(); err != nil {
		return Dropped, err
	}
	id, err := e.ids.next()
	if err != nil {
		return Dropped, err
	}
	return c.sendOnce(newFrame(m, "", messageID(id), e.opts.Lang)), nil
}

// sendOnce sends a frame that has no other receiver.
func (c *Client) sendOnce(f *frame) Outcome {
	r := renderers.Get().(*renderer)
	defer r.release()
	return c.send(f, r)
}

// Echo sends data back verbatim, without an envelope whatever the subprotocol;
// kind is Text or Binary. data is not kept.
func (c *Client) Echo(kind Kind, data []byte) Outcome {
	op := ws.OpText
	if kind == Binary {
		op = ws.OpBinary
	}
	r := renderers.Get().(*renderer)
	defer r.release()
	r.buf = ws.AppendFrame(r.buf[:0], op, data)
	return c.sendOwn(r.buf)
}
