package engine

import (
	"runtime"
	"time"
)

// A poller serves its connections in turns. One that has had its share while there is
// more of what it sent waits until all others had theirs, and who overdraws, since
// a message is not left in the middle, pays with as many turns. So whoever sends a
// little waits for a share of each who floods, and not for all that they send.
type turns struct {
	began time.Duration // of the turn, since the engine started
	work  int           // since the clock was looked at
	over  bool
	kept  bool      // what is decoded is the reader's own, and not the poller's buffer
	late  []*Client // who wait for their next turn, in order
	spare []*Client // late's other array
}

const (
	// share is how long one connection is served at a time: a few messages that are
	// answered. Among eight that flood, an echo takes 6 to 8 times as long as alone; with
	// shares of 50 us 10 to 11 times, of 200 us 40 times (TestFloods, its client in
	// another process).
	share = 25 * time.Microsecond
	// workPerLook is how many frames, or times workBytes, are handled before the clock
	// is looked at. Who sends less at a time never pays for what held the poller up
	// meanwhile: the system, or Go's scheduler.
	workPerLook = 16
	workBytes   = 512
)

func (l *loop) beginTurn() {
	l.turns.began, l.turns.work, l.turns.over = time.Since(l.e.started), 0, false
}

// did counts work of the turn, and reports whether it is over.
func (l *loop) did(work int) (over bool) {
	t := &l.turns
	if t.work += work; t.work >= workPerLook && !t.over {
		t.work = 0
		t.over = time.Since(l.e.started)-t.began >= share
	}
	return t.over
}

// endTurn has c wait for its next turn, if it has more to be served or to pay for.
func (l *loop) endTurn(c *Client) {
	r := c.in.Load()
	debt := 0
	if l.turns.over {
		debt = int((time.Since(l.e.started)-l.turns.began)/share) - 1
	}
	if debt <= 0 && !c.unread() {
		return
	}
	if r == nil {
		r = c.reader()
	}
	r.debt += debt
	if c.tls != nil && c.tls.more && !c.deaf() {
		l.e.backlog.set(&r.holding, c.heldIn(r))
	}
	if !r.waits {
		r.waits = true
		l.wait(c)
	}
}

// wait puts c behind those who wait for their turn.
func (l *loop) wait(c *Client) {
	if l.turns.late = append(l.turns.late, c); len(l.turns.late) == 1 {
		l.waker.call(l.serve)
	}
}

// serveLate gives a turn to each who waited for one. The poller calls it after it has
// read what others sent.
func (l *loop) serveLate() {
	late := l.turns.late
	l.turns.late = l.turns.spare[:0]
	for _, c := range late {
		r := c.in.Load()
		switch {
		case r == nil: // its socket is gone
		case r.debt > 0:
			r.debt--
			l.wait(c)
		default:
			r.waits = false
			l.beginTurn()
			c.carryOn(r)
			l.endTurn(c)
		}
	}
	clear(late)
	l.turns.spare = late
	runtime.Gosched() // who keeps a poller busy must not keep a processor
}
