package engine

import (
	"container/list"
	"slices"

	"github.com/lesismal/nbio"

	"carillon/engine/ws"
)

// What a client is sent goes to nbio one message at a time: nbio hands the kernel
// what it takes and keeps the rest of that message. Further messages wait in the
// client's outQueue as frames, shared with every other client that waits for
// them, until nbio has written its rest; then the housekeeper goes on. So a
// client that keeps up owns no queue, and one that does not costs a pointer a
// message.

// outQueue is what waits for one client, beginning with what nbio holds.
type outQueue struct {
	waiting []queued // behind that; the first one is next
	bytes   int      // of waiting; MaxQueuedBytes bounds them
	control int      // bytes of control frames and the like that nbio was given since it last held nothing

	// The backlog's class of this client, and its place there.
	class uint8
	place *list.Element
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
	if c.out == nil {
		return 0
	}
	return int(c.unsent.Load()) + c.out.bytes
}

// send sends f, which r renders.
func (c *Client) send(f *frame, r *renderer) Outcome { return c.deliver(r.render(f, c), f) }

// deliver sends b, a whole WebSocket frame, which it does not keep. If it has to
// wait, what waits is f, which b was rendered from, or a copy of b if f is nil.
func (c *Client) deliver(b []byte, f *frame) Outcome {
	c.mu.Lock()
	return c.deliverAndUnlock(b, f)
}

// deliverAndUnlock is deliver with c.mu held, which it releases.
func (c *Client) deliverAndUnlock(b []byte, f *frame) Outcome {
	if c.state != stateOpen {
		c.mu.Unlock()
		return Dropped
	}
	if c.out == nil {
		o := c.writeLocked(b)
		c.mu.Unlock()
		if o == Queued {
			c.loop.e.shed()
		}
		return o
	}
	q := queued{f: f, size: len(b)}
	if f == nil {
		q.own = slices.Clone(b)
	}
	return c.enqueueAndUnlock(q)
}

// touch reads what a push needs of c. Of many clients in a row the processor then
// fetches the cache lines at the same time, and not each when it is written to.
func (c *Client) touch() uint64 { return c.bytesOut.Load() + uint64(c.nc.Hash()) }

// writeLocked writes one whole message while nbio holds nothing.
func (c *Client) writeLocked(b []byte) Outcome {
	if len(b) == 0 { // nothing for this kind of client
		return Written
	}
	if !c.writeBytesLocked(b) {
		return Dropped
	}
	c.msgsOut.Add(1)
	c.loop.msgsOut.Add(1)
	if c.out != nil {
		return Queued
	}
	return Written
}

// writeBytesLocked writes b, and has nbio copy what the kernel does not take.
// False means that the connection is gone; the housekeeper hears of it from nbio.
func (c *Client) writeBytesLocked(b []byte) bool {
	if c.tls != nil && !c.tls.plain {
		return c.tls.writeLocked(b)
	}
	return c.writeWireLocked(b)
}

// writeWireLocked is writeBytesLocked below TLS.
func (c *Client) writeWireLocked(b []byte) bool {
	n, wait := c.loop.e.sockets.write(c, b)
	if n > 0 {
		c.countOut(n)
	}
	if !wait {
		return n == len(b)
	}
	rest := b[n:]
	c.loop.e.queued.Add(int64(len(rest)))
	c.unsent.Add(int64(len(rest)))
	_, err := c.nc.Write(rest)
	c.queueLocked()
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
	c.loop.e.queued.Add(int64(-n))
	if c.unsent.Add(int64(-n)) == 0 && c.more.Load() {
		c.loop.post(&c.loop.drainable, c)
	}
}

// queueLocked gives c a queue, because something waits. The housekeeper calls
// drain as soon as nbio holds nothing.
func (c *Client) queueLocked() {
	if c.out == nil {
		c.out = new(outQueue)
		c.more.Store(true)
		if c.unsent.Load() == 0 { // onWritten has come before more was set
			c.loop.post(&c.loop.drainable, c)
		}
	}
	c.loop.e.backlog.track(c)
}

// enqueueAndUnlock lets q wait behind what waits already, as far as c's budget and
// the engine's allow.
func (c *Client) enqueueAndUnlock(q queued) Outcome {
	e := c.loop.e
	if c.out.bytes+q.size > e.opts.MaxQueuedBytes && !c.makeRoomLocked(q.size) {
		c.mu.Unlock()
		if e.opts.SlowPolicy == CloseSlow {
			c.end(CloseSlowConsumer, "slow consumer")
		}
		return Dropped
	}
	c.appendLocked(q)
	c.mu.Unlock()
	e.shed()
	return Queued
}

func (c *Client) appendLocked(q queued) {
	c.out.waiting = append(c.out.waiting, q)
	c.out.bytes += q.size
	c.loop.e.queued.Add(int64(q.size))
	c.queueLocked()
}

// takeLocked removes the first message that waits.
func (c *Client) takeLocked() queued {
	q := c.out.waiting[0]
	c.out.waiting[0] = queued{}
	c.out.waiting = c.out.waiting[1:]
	c.out.bytes -= q.size
	c.loop.e.queued.Add(int64(-q.size))
	return q
}

// makeRoomLocked drops the oldest messages, if that is the policy, until another
// of the given size fits the budget. The one that is partly written stays.
func (c *Client) makeRoomLocked(size int) bool {
	e := c.loop.e
	if e.opts.SlowPolicy != DropOldest {
		e.dropped.Add(1)
		return false
	}
	for c.out.bytes+size > e.opts.MaxQueuedBytes {
		if len(c.out.waiting) == 0 {
			e.dropped.Add(1)
			return false
		}
		c.takeLocked()
		e.dropped.Add(1)
	}
	return true
}

// drain runs on the housekeeper: it sends what waits as far as the kernel takes
// it, and then whatever closing the connection asks for.
func (c *Client) drain() {
	r := renderers.Get().(*renderer)
	defer r.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil && c.unsent.Load() == 0 {
		c.out.control = 0
	}
	for c.out != nil && len(c.out.waiting) > 0 && c.unsent.Load() == 0 && c.state != stateClosed {
		switch q := c.takeLocked(); {
		case q.f != nil:
			c.writeLocked(r.render(q.f, c))
		case q.closeFrame():
			c.writeBytesLocked(q.own)
		default:
			c.writeLocked(q.own)
		}
	}
	if c.out == nil {
		return
	}
	if len(c.out.waiting) == 0 && c.unsent.Load() == 0 {
		c.dropQueueLocked()
		c.finishWritingLocked()
		return
	}
	c.loop.e.backlog.track(c)
}

// dropQueueLocked forgets what waits, except what nbio holds.
func (c *Client) dropQueueLocked() {
	if c.out == nil {
		return
	}
	c.loop.e.queued.Add(int64(-c.out.bytes))
	c.out.bytes, c.out.waiting = 0, nil
	if c.unsent.Load() <= 0 || c.state == stateClosed { // below 0 if shed wrote it off
		c.more.Store(false)
		c.loop.e.backlog.untrack(c)
		c.out = nil
	}
}

// writeControl sends a ping or pong. It overtakes the messages that wait, but not
// the one of which a part is written.
func (c *Client) writeControl(b []byte) {
	c.mu.Lock()
	if c.state != stateOpen {
		c.mu.Unlock()
		return
	}
	room := c.controlRoomLocked(len(b))
	if room {
		c.writeBytesLocked(b)
	}
	c.mu.Unlock()
	if !room {
		c.end(CloseSlowConsumer, "slow consumer")
	}
}

// controlRoomLocked takes n bytes of what c's answers to its peer may wait for: one
// that has us pile up pongs is a slow consumer.
func (c *Client) controlRoomLocked(n int) bool {
	if c.out == nil {
		return true
	}
	c.out.control += n
	return c.out.control <= c.loop.e.opts.MaxQueuedBytes
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
	r.buf = c.appendFrame(r.buf[:0], op, data)
	return c.deliver(r.buf, nil)
}
