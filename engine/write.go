package engine

import (
	"slices"

	"carillon/engine/ws"
)

// A message goes to the kernel at once. What the kernel does not take of it waits in
// the client's outQueue, and so does everything behind it, until the poller hears that
// the socket can be written to. So a client that keeps up owns no queue.

// outQueue is what waits for one client; guarded by Client.mu.
type outQueue struct {
	holding
	rest    []byte   // of the message of which a part is written, from rest[sent] on
	sent    int      // of rest
	waiting []queued // behind rest; the first one is next
	held    int      // what waiting keeps, in bytes
	large   int      // of held: of the one message that is larger than MaxQueuedBytes
	control int      // bytes of control frames and the like in rest
}

// queued is a shared frame, or bytes for this client only.
type queued struct {
	f    *frame
	own  []byte
	held int // bytes of memory
}

const (
	// queuedOverhead is what an entry of outQueue.waiting takes, with the room that
	// append leaves: 40 bytes, doubled when it grows.
	queuedOverhead = 80
	// copied is up to what size a waiting message is kept as the client's own bytes. A
	// frame keeps more than it sends, and shares it with all that wait for it.
	copied = 1 << 10
)

// closeFrame is the last thing to wait for a client. It is told from a message by
// its opcode.
func (q queued) closeFrame() bool { return q.f == nil && q.own[0]&0x0f == byte(ws.OpClose) }

func (q *outQueue) unsent() []byte { return q.rest[q.sent:] }

// keep adds bytes to what goes out next.
func (q *outQueue) keep(b []byte) { q.rest = append(q.rest, b...) }

// wrote notes that the kernel took n bytes of rest, and gives back memory.
func (q *outQueue) wrote(n int) {
	q.sent += n
	switch left := len(q.rest) - q.sent; {
	case left == 0:
		q.rest, q.sent, q.control = nil, 0, 0
	case q.sent > left && len(q.rest) > copied:
		q.rest, q.sent = slices.Clone(q.unsent()), 0
	}
}

// memory is what q keeps, in bytes.
func (q *outQueue) memory() int { return cap(q.rest) + q.held }

// queuedLocked is how many bytes wait for c. c.mu must be held.
func (c *Client) queuedLocked() int {
	if c.out == nil {
		return 0
	}
	return c.out.memory()
}

// send sends f, which r renders.
func (c *Client) send(f *frame, r *renderer) Outcome { return c.deliver(r.render(f, c), f) }

// deliver sends b, a whole WebSocket frame, which it does not keep. If it has to
// wait, what waits is f, which b was rendered from, or a copy of b if f is nil.
func (c *Client) deliver(b []byte, f *frame) Outcome {
	c.mu.Lock()
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
	if len(b) == 0 {
		c.mu.Unlock()
		return Written
	}
	q := queued{f: f, held: queuedOverhead}
	if f == nil || len(b) <= copied {
		q.f, q.own = nil, slices.Clone(b)
		q.held += cap(q.own)
	} else {
		q.held += f.memory()
	}
	return c.enqueueAndUnlock(q)
}

// touch reads what a push needs of c. Of many clients in a row the processor then
// fetches the cache lines at the same time, and not each when it is written to.
func (c *Client) touch() uint64 { return c.bytesOut.Load() + uint64(c.nc.Hash()) }

// writeLocked writes one whole message while nothing waits, or nothing but what waits
// behind it.
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

// writeBytesLocked writes b, and keeps a copy of what the kernel does not take. False
// means that the connection is gone; the poller hears of it.
func (c *Client) writeBytesLocked(b []byte) bool {
	if c.tls != nil {
		return c.tls.writeLocked(b)
	}
	return c.writeWireLocked(b)
}

// writeWireLocked is writeBytesLocked below TLS.
func (c *Client) writeWireLocked(b []byte) bool {
	if c.out == nil || len(c.out.rest) == 0 {
		n, wait := c.loop.e.sockets.write(c, b)
		if n > 0 {
			c.countOut(n)
		}
		if !wait {
			return n == len(b)
		}
		b = b[n:]
	}
	if c.out == nil {
		c.out = &outQueue{holding: holding{c: c}}
		c.loop.e.sockets.await(c, true)
	}
	c.out.keep(b)
	c.trackLocked()
	return true
}

func (c *Client) countOut(n int) {
	c.bytesOut.Add(uint64(n))
	c.loop.bytesOut.Add(uint64(n))
}

func (c *Client) trackLocked() { c.loop.e.backlog.set(&c.out.holding, c.out.memory()) }

// enqueueAndUnlock lets q wait behind what waits already, as far as c's budget and
// the engine's allow. One message that is larger than the budget may wait besides.
func (c *Client) enqueueAndUnlock(q queued) Outcome {
	e := c.loop.e
	if !c.roomLocked(q.held) {
		c.mu.Unlock()
		e.dropped.Add(1)
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
	c.out.held += q.held
	if q.held > c.loop.e.opts.MaxQueuedBytes {
		c.out.large = q.held
	}
	c.trackLocked()
}

// takeLocked removes the first message that waits.
func (c *Client) takeLocked() queued {
	q := c.out.waiting[0]
	c.out.waiting[0] = queued{}
	if c.out.waiting = c.out.waiting[1:]; len(c.out.waiting) == 0 {
		c.out.waiting = nil
	}
	c.out.held -= q.held
	if q.held > c.loop.e.opts.MaxQueuedBytes {
		c.out.large = 0
	}
	return q
}

// roomLocked reports whether another message that keeps the given size may wait. It
// drops the oldest ones for it, if that is the policy; the one that is partly written
// stays.
func (c *Client) roomLocked(size int) bool {
	e, q := c.loop.e, c.out
	for {
		switch {
		case size > e.opts.MaxQueuedBytes && q.large == 0,
			size <= e.opts.MaxQueuedBytes && q.held-q.large+size <= e.opts.MaxQueuedBytes:
			return true
		case e.opts.SlowPolicy != DropOldest || len(q.waiting) == 0:
			return false
		}
		c.takeLocked()
		e.dropped.Add(1)
	}
}

// drainAtATime bounds what one client is written when its socket has room again,
// before it is the others' turn.
const drainAtATime = 256 << 10

// drain runs on the poller: it sends what waits as far as the kernel takes
// it, and then whatever closing the connection asks for.
func (c *Client) drain() {
	r := renderers.Get().(*renderer)
	defer r.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.bytesOut.Load()
	for c.out != nil && c.state != stateClosed && c.bytesOut.Load()-before < drainAtATime {
		if len(c.out.rest) > 0 {
			n, wait := c.loop.e.sockets.write(c, c.out.unsent())
			c.countOut(n)
			if !wait && n < len(c.out.unsent()) {
				return // the poller closes
			}
			c.out.wrote(n)
			if wait {
				break
			}
			continue
		}
		if len(c.out.waiting) == 0 {
			c.dropQueueLocked()
			c.finishWritingLocked()
			break
		}
		switch q := c.takeLocked(); {
		case q.f != nil:
			c.writeLocked(r.render(q.f, c))
		case q.closeFrame():
			c.writeBytesLocked(q.own)
		default:
			c.writeLocked(q.own)
		}
	}
	if c.bytesOut.Load() > before {
		c.lastSeen.Store(c.loop.e.tickNow()) // who takes what it is sent is there
	}
	if c.out != nil {
		c.trackLocked()
	}
}

// dropQueueLocked forgets what waits, except the rest of a message of which the peer
// has a part, as long as it may still get it.
func (c *Client) dropQueueLocked() {
	if c.out == nil {
		return
	}
	c.out.held, c.out.large, c.out.waiting = 0, 0, nil
	if len(c.out.rest) > 0 && c.state != stateClosed {
		c.trackLocked()
		return
	}
	c.loop.e.sockets.await(c, false)
	c.loop.e.backlog.set(&c.out.holding, 0)
	c.out = nil
}

// writeControl sends a ping or pongs. It overtakes the messages that wait, but not
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
	return c.deliver(r.render(f, c), nil)
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
