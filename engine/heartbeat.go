package engine

import (
	"math/rand/v2"
	"time"

	"carillon/engine/ws"
)

// A beat is what the heartbeat asks for.
type beat uint8

const (
	beatWait beat = iota // nothing until the next visit
	beatPing             // silent for an interval: ping
	beatDead             // pinged, and silent for the timeout
)

// nextBeat decides about a client that was last heard at tick seen and pinged at
// tick pinged (0: not, or answered since). All in ticks; next is the tick of the
// next visit.
func nextBeat(now, seen, pinged, interval, timeout uint32) (b beat, next uint32) {
	if pinged != 0 && int32(seen-pinged) < 0 {
		if now-pinged >= timeout {
			return beatDead, 0
		}
		return beatWait, pinged + timeout
	}
	if int32(now-seen) >= int32(interval) {
		return beatPing, now + min(interval, timeout) // it may answer at once, and be silent again
	}
	return beatWait, seen + interval
}

// heartbeat runs on the housekeeper, for clients that were open a moment ago.
func (c *Client) heartbeat(now, pinged uint32) (next uint32) {
	e := c.loop.e
	b, next := nextBeat(now, c.lastSeen.Load(), pinged, e.pingTicks, e.pongTicks)
	switch {
	case b == beatPing:
		c.notePing(now)
		c.writeControl(pingFrame)
	case b == beatDead && c.takes():
		c.notePing(now) // that ping is still on its way
		return now + e.pongTicks
	case b == beatDead:
		c.end(CloseHeartbeat, "heartbeat")
		return 0
	}
	if begun := c.begun.Load(); begun != 0 {
		if now-begun >= e.messageTicks {
			c.end(CloseUnfinished, "message not finished in time")
			return 0
		}
		next = min(next, begun+e.messageTicks)
	}
	return next
}

// notePing notes that an answer to a ping is due from now on.
func (c *Client) notePing(now uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateOpen {
		c.due = now
	}
}

// takes reports whether the peer of a client that did not answer a ping in time goes on
// taking bytes that are in front of it, at its pace: then the answer is not due. The
// first time it is enough that its kernel said anything since, which that of a vanished
// peer does not; from then on, bytes must have been acknowledged. It runs on the
// housekeeper.
func (c *Client) takes() bool {
	l := c.loop
	p, ok := l.e.sockets.progress(c)
	before, known := l.takers[c]
	switch {
	case !ok || p.left == 0, known && p.acked == before, !known && p.silent >= l.e.opts.PongTimeout:
		delete(l.takers, c)
		return false
	}
	l.takers[c] = p.acked
	return true
}

// A progress is how far the kernel is with what it was given to send.
type progress struct {
	acked  uint64        // bytes that the peer's kernel has confirmed, ever
	left   int           // bytes, or more, that it has not
	silent time.Duration // since its last word
}

var pingFrame = ws.AppendFrame(nil, ws.OpPing, nil)

// startHeartbeat begins to watch a client that has just opened. It pretends that
// the client was silent for up to half an interval already: of a million that
// connect in one second, each gets its first ping at another time, and keeps it.
func (c *Client) startHeartbeat() {
	e := c.loop.e
	c.lastSeen.Store(e.tickNow() - rand.Uint32N(e.pingTicks/2+1))
	c.loop.wheel.Schedule(c, c.lastSeen.Load()+e.pingTicks)
}
