package engine

import (
	"math/rand/v2"

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

// heartbeat runs on the housekeeper, for open clients.
func (c *Client) heartbeat(now uint32) (next uint32) {
	e := c.loop.e
	b, next := nextBeat(now, c.lastSeen.Load(), c.pinged, e.pingTicks, e.pongTicks)
	switch b {
	case beatPing:
		c.pinged = now
		c.writeControl(pingFrame)
	case beatDead:
		c.end(CloseHeartbeat, "heartbeat")
	}
	return next
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
