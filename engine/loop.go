package engine

import (
	"sync"
	"sync/atomic"

	"carillon/engine/wheel"
)

// A loop owns the connections of one poller: it counts their time, fans messages
// out to them and sees them off. Work of other goroutines for the housekeeper
// goes through post.
type loop struct {
	e     *Engine
	index int
	wheel *wheel.Wheel[Client]
	tasks taskQueue
	waker *waker // set by Start

	msgsIn, msgsOut   atomic.Uint64
	bytesIn, bytesOut atomic.Uint64

	turned chan struct{} // capacity 1: the clock was turned
	wake   chan struct{} // capacity 1: the lists below are not empty
	quit   chan struct{}

	mu sync.Mutex // guards the following fields; bounded by the number of clients
	// drainable clients have an empty nbio queue and something more to send.
	drainable []*Client
	// ended clients are out of the registry; OnClose is due.
	ended []*Client
	// gone clients have no socket any more.
	gone []*Client
}

func newLoop(e *Engine, index int) *loop {
	l := &loop{
		e: e, index: index,
		wheel:  wheel.New(0, func(c *Client) *wheel.Links[Client] { return &c.timer }),
		turned: make(chan struct{}, 1),
		wake:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
	}
	l.tasks.init()
	return l
}

// post adds c to one of the housekeeper's lists. It does not block and takes no
// lock but the loop's own: nbio calls it under a connection's lock.
func (l *loop) post(list *[]*Client, c *Client) {
	l.mu.Lock()
	*list = append(*list, c)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// housekeep runs until quit is closed and nothing is left on the lists.
func (l *loop) housekeep() {
	var drainable, ended, gone []*Client
	for quit, idle := false, false; !quit || !idle; {
		select {
		case <-l.turned:
			l.wheel.Advance(l.e.tickNow(), l.visit)
		case <-l.wake:
		case <-l.quit:
			quit = true
		}
		l.mu.Lock()
		l.drainable, drainable = drainable[:0], l.drainable
		l.ended, ended = ended[:0], l.ended
		l.gone, gone = gone[:0], l.gone
		l.mu.Unlock()
		idle = len(drainable)+len(ended)+len(gone) == 0
		for _, c := range drainable {
			c.drain()
		}
		for _, c := range gone {
			c.disconnected()
		}
		for _, c := range ended {
			c.report()
		}
		drainable, ended, gone = emptied(drainable), emptied(ended), emptied(gone)
	}
}

// emptied drops the pointers, and the list itself if a mass event made it long.
func emptied(list []*Client) []*Client {
	if cap(list) > 4096 {
		return nil
	}
	clear(list)
	return list[:0]
}

// visit is called by the wheel when a client's tick has come, and returns the
// tick of the next visit.
func (l *loop) visit(c *Client) uint32 {
	c.mu.Lock()
	state := c.state
	c.mu.Unlock()
	now := l.e.tickNow()
	switch state {
	case stateHandshake:
		l.e.refused.add("handshake timeout")
		c.cut()
	case stateOpen:
		return c.heartbeat(now)
	case stateClosing: // CloseTimeout has passed
		c.cut()
	}
	return 0
}
