package engine

import (
	"container/list"
	"math/bits"
	"sync"
	"sync/atomic"
)

// A SlowPolicy says what becomes of a message for a client whose queue is full.
type SlowPolicy uint8

// The policies.
const (
	CloseSlow  SlowPolicy = iota // close the client, with code 3008
	DropOldest                   // drop the oldest whole messages that wait for it
	DropNew                      // drop the message
)

// A holding is memory that one client has the server keep: what waits for it because it
// does not read, or what it has sent in part.
type holding struct {
	c  *Client
	in bool // sent by the client
	// bytes is its size, set by its owner; writtenOff once the client is ended by shed, or gone.
	bytes atomic.Int64

	// Guarded by backlog.mu.
	class uint8
	place *list.Element // nil while it holds nothing
}

const writtenOff = -1

// A backlog knows the holdings, by the power of two of their size. Only clients that do
// not keep up, or are in the middle of something, come near it.
type backlog struct {
	out, in atomic.Int64 // bytes of all holdings, by their direction

	mu      sync.Mutex // guards the following, and every holding's class and place; the innermost lock
	classes [64]list.List
}

func (b *backlog) total() int64 { return b.out.Load() + b.in.Load() }

func (b *backlog) count(h *holding, bytes int64) {
	if h.in {
		b.in.Add(bytes)
	} else {
		b.out.Add(bytes)
	}
}

// set notes how much h holds. Its owner calls it: for what goes out, who has Client.mu,
// for what comes in the poller.
func (b *backlog) set(h *holding, bytes int) {
	old := h.bytes.Load()
	if old == writtenOff || !h.bytes.CompareAndSwap(old, int64(bytes)) {
		return
	}
	b.count(h, int64(bytes)-old)
	class := uint8(bits.Len(uint(bytes)))
	if class == uint8(bits.Len(uint(old))) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removeLocked(h)
	if class > 0 && h.bytes.Load() != writtenOff {
		h.class, h.place = class, b.classes[class].PushFront(h)
	}
}

// writeOff counts h out for good, whatever its owner, who may be about to, sets it to.
func (b *backlog) writeOff(h *holding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writeOffLocked(h)
}

func (b *backlog) writeOffLocked(h *holding) {
	b.removeLocked(h)
	if bytes := h.bytes.Swap(writtenOff); bytes > 0 {
		b.count(h, -bytes)
	}
}

func (b *backlog) removeLocked(h *holding) {
	if h.place != nil {
		b.classes[h.class].Remove(h.place)
		h.place = nil
	}
}

// takeLargest writes off a holding of the highest class, whose client is to be ended.
// It returns nil if nothing is held for anyone.
func (b *backlog) takeLargest() *Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.classes) - 1; i > 0; i-- {
		if first := b.classes[i].Front(); first != nil {
			h := first.Value.(*holding)
			// It is freed in a moment, when the poller closes: counted now, or others
			// would be cut off for it.
			b.writeOffLocked(h)
			return h.c
		}
	}
	return nil
}

// shed cuts off the clients that hold most, until what is held for all is within
// MaxQueuedTotal. There is no close frame: it would have to wait, too. It must be
// called without a Client.mu.
func (e *Engine) shed() {
	for e.backlog.total() > e.opts.MaxQueuedTotal {
		c := e.backlog.takeLargest()
		if c == nil {
			return
		}
		c.mu.Lock()
		ended := c.leaveOpenLocked(stateClosing, CloseMemory)
		c.flags |= flagGotClose
		if c.out != nil {
			c.out.rest, c.out.sent = nil, 0
			c.dropQueueLocked()
		}
		c.mu.Unlock()
		c.giveUp(labelMemory)
		c.cut()
		if ended {
			c.forget()
		}
	}
}
