package engine

import (
	"container/list"
	"math/bits"
	"sync"
)

// A SlowPolicy says what becomes of a message for a client whose queue is full.
type SlowPolicy uint8

// The policies.
const (
	CloseSlow  SlowPolicy = iota // close the client, with code 3008
	DropOldest                   // drop the oldest whole messages that wait for it
	DropNew                      // drop the message
)

// A backlog knows the clients that something waits for, by the power of two of how
// much. Only clients that do not keep up come near it.
type backlog struct {
	mu      sync.Mutex // guards the following, and every outQueue's class and place; the innermost lock
	classes [64]list.List
}

// track notes how much waits for c. c.mu must be held, and c.out not nil.
func (b *backlog) track(c *Client) {
	class := uint8(bits.Len(uint(max(c.queuedLocked(), 1))))
	if class == c.out.class {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.untrackLocked(c.out)
	c.out.class, c.out.place = class, b.classes[class].PushFront(c)
}

// untrack forgets c. c.mu must be held, and c.out not nil.
func (b *backlog) untrack(c *Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.untrackLocked(c.out)
}

func (b *backlog) untrackLocked(q *outQueue) {
	if q.place != nil {
		b.classes[q.class].Remove(q.place)
		q.place = nil
	}
}

// largest is a client of the highest class, nil if nothing waits for anyone.
func (b *backlog) largest() *Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.classes) - 1; i > 0; i-- {
		if first := b.classes[i].Front(); first != nil {
			return first.Value.(*Client)
		}
	}
	return nil
}

// shed cuts off the clients that hold most, until what waits for all is within
// MaxQueuedTotal. There is no close frame: it would have to wait, too. It must be
// called without a Client.mu.
func (e *Engine) shed() {
	for e.queued.Load() > e.opts.MaxQueuedTotal {
		c := e.backlog.largest()
		if c == nil {
			return
		}
		c.mu.Lock()
		if c.out == nil { // it has read all meanwhile
			c.mu.Unlock()
			continue
		}
		ended := c.leaveOpenLocked(stateClosing, CloseMemory)
		// What nbio holds is freed in a moment, when the poller closes: counted now, or
		// the next push would cut off others for it.
		e.queued.Add(-c.unsent.Swap(0))
		c.dropQueueLocked()
		c.mu.Unlock()
		c.cut()
		if ended {
			c.forget()
		}
	}
}
