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

	// Set by Start.
	waker    *waker
	writable *writeWatch
	poller   int // descriptor of the epoll or kqueue

	takers map[*Client]uint64 // bytes acknowledged by those who answer late; the housekeeper's

	turns turns  // the poller's
	serve func() // serveLate, made once
	buf   []byte // the poller's, for reading

	msgsIn, msgsOut   atomic.Uint64
	bytesIn, bytesOut atomic.Uint64

	turned chan struct{} // capacity 1: the clock was turned
	wake   chan struct{} // capacity 1: the lists below are not empty
	quit   chan struct{}

	mu sync.Mutex // guards the following fields; bounded by the number of clients
	// ended clients are out of the registry; OnClose is due.
	ended clientList
	// gone clients have no socket any more.
	gone clientList
}

func newLoop(e *Engine, index int) *loop {
	l := &loop{
		e: e, index: index,
		wheel:  wheel.New(0, func(c *Client) *wheel.Links[Client] { return &c.timer }),
		turned: make(chan struct{}, 1),
		wake:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		takers: map[*Client]uint64{},
		buf:    make([]byte, readBufferBytes),
	}
	l.serve = l.serveLate
	l.tasks.init()
	return l
}

// post adds c to one of the housekeeper's lists. It does not block and takes no
// lock but the loop's own: nbio calls it under a connection's lock.
func (l *loop) post(list *clientList, c *Client) {
	l.mu.Lock()
	list.add(c)
	l.mu.Unlock()
	l.rouse()
}

func (l *loop) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// housekeep runs until quit is closed and nothing is left on the lists. It takes a
// block of each at a time, so that a mass event holds up neither the wheel nor
// the other lists.
func (l *loop) housekeep() {
	var ended, gone *clientBlock
	for quit, idle := false, false; !quit || !idle; {
		select {
		case <-l.turned:
			l.wheel.Advance(l.e.tickNow(), l.visit)
		case <-l.wake:
		case <-l.quit:
			quit = true
		}
		l.mu.Lock()
		ended, gone = l.ended.take(ended), l.gone.take(gone)
		more := !l.ended.empty() || !l.gone.empty()
		l.mu.Unlock()
		if more {
			l.rouse()
		}
		idle = ended == nil && gone == nil
		gone.each((*Client).disconnected)
		ended.each((*Client).report)
	}
}

// visit is called by the wheel when a client's tick has come, and returns the
// tick of the next visit.
func (l *loop) visit(c *Client) uint32 {
	c.mu.Lock()
	state, due := c.state, c.due
	c.marks.renew(l.e.fanout.number.Load())
	c.mu.Unlock()
	now := l.e.tickNow()
	switch {
	case state == stateOpen:
		return c.heartbeat(now, due)
	case state == stateClosed:
		return 0
	case before(now, due): // the wheel does not reach as far, or it has just been set
		return due
	case state == stateHandshake:
		c.giveUp("handshake timeout")
	default:
		c.cut()
	}
	return 0
}

// setDeadlineLocked gives a client that is not open so many ticks, counted from the
// last one, instead of those that it had. c.mu must be held.
func (c *Client) setDeadlineLocked(ticks uint32) {
	c.due = c.loop.e.tickNow() + ticks
	c.loop.wheel.Schedule(c, c.due)
}
