package engine

import (
	"fmt"
	"runtime/debug"

	"github.com/lesismal/nbio"

	"carillon/engine/ws"
)

// A connection ends once, by the first of:
//
//	end            we close it: a close frame goes out, behind what waits
//	peerClosed     the peer's close frame came: it is answered
//	disconnected   the socket is gone
//
// Each of them takes the client out of the registry and has the housekeeper call
// OnClose. After the first two the socket lives on until the closing handshake
// is done (RFC 6455 section 7.1.1: we send FIN and wait for the peer's, so that
// no reset destroys a close frame on its way), or until CloseTimeout.

// leaveOpenLocked moves c from open to next. False means that it was not open, and
// nothing was changed. c.mu must be held.
func (c *Client) leaveOpenLocked(next clientState, why CloseReason) bool {
	if c.state != stateOpen {
		return false
	}
	c.state, c.reason = next, why
	c.setDeadlineLocked(c.loop.e.closeTicks)
	c.loop.e.closed[why].Add(1)
	return true
}

// forget takes a client that has just left stateOpen out of the registry, where
// readers pass over it from now on, and has the housekeeper call OnClose.
func (c *Client) forget() {
	c.loop.e.reg.Leave(&c.member)
	c.loop.post(&c.loop.ended, c)
}

// end closes an open client with a close frame of the reason's code. It reports
// whether this call was the one that ended it. It does not block.
func (c *Client) end(why CloseReason, text string) bool {
	return c.endWithCode(why, closeReasons[why].code, text)
}

// endWithCode is end where the reason does not decide the code.
func (c *Client) endWithCode(why CloseReason, code ws.CloseCode, text string) bool {
	closing := ws.AppendClose(make([]byte, 0, 2+ws.MaxControlPayload), code, text)
	if why != CloseSlowConsumer { // which a push has found, perhaps one that settles
		c.settle(true)
	}
	c.mu.Lock()
	if !c.leaveOpenLocked(stateClosing, why) {
		c.mu.Unlock()
		return false
	}
	switch why {
	case CloseSlowConsumer:
		c.dropQueueLocked() // it had its time to read them
	case CloseProtocol, CloseTooBig, ClosePanic, CloseRate, CloseUnfinished:
		c.flags |= flagGotClose // nothing that follows counts
	}
	c.closeWriteLocked(closing)
	c.mu.Unlock()
	c.forget()
	return true
}

// peerClosed answers the peer's close frame with its own code (RFC 6455 section
// 5.5.1), or notes that it answers ours.
func (c *Client) peerClosed(code ws.CloseCode) {
	c.mu.Lock()
	c.flags |= flagGotClose
	if c.leaveOpenLocked(stateClosing, ClosePeer) {
		c.dropQueueLocked() // it said that it reads no more
		c.closeWriteLocked(ws.AppendClose(nil, code, ""))
		c.mu.Unlock()
		c.forget()
		return
	}
	if c.out == nil {
		c.finishWritingLocked()
	}
	c.mu.Unlock()
}

// closeWriteLocked sends the close frame, behind what waits.
func (c *Client) closeWriteLocked(closing []byte) {
	if c.out != nil {
		c.appendLocked(queued{own: closing, held: queuedOverhead + len(closing)})
		return
	}
	c.writeBytesLocked(closing)
	if c.out == nil {
		c.finishWritingLocked()
	}
}

// finishWritingLocked is called when everything was written. Once the closing
// handshake is over it sends FIN; the peer's FIN then ends the connection.
func (c *Client) finishWritingLocked() {
	if c.state == stateClosing && c.flags&flagGotClose != 0 && c.flags&flagShutWrite == 0 {
		if c.tls != nil {
			if c.tls.closeNotifyLocked(); c.out != nil {
				return // until that is written
			}
		}
		c.flags |= flagShutWrite
		c.shutdownWrite()
	}
}

// disconnected runs on the housekeeper when nbio has closed the socket.
func (c *Client) disconnected() {
	c.loop.wheel.Retire(c)
	delete(c.loop.takers, c)
	c.mu.Lock()
	if c.tls != nil {
		c.tls.end()
	}
	wasOpen := c.leaveOpenLocked(stateClosed, CloseReset)
	if c.state == stateHandshake {
		c.loop.e.freeRoom(c.hs.Load())
	}
	if c.member.ID() != 0 { // it was a client at some time
		c.loop.e.open.Add(-1)
	}
	c.state = stateClosed
	c.dropQueueLocked()
	handed := c.flags&flagHanded != 0
	c.mu.Unlock()
	// The poller may be in the middle of them. It takes up no others: c is deaf now.
	if r := c.in.Swap(nil); r != nil {
		c.loop.e.backlog.writeOff(&r.holding)
	}
	if hs := c.hs.Load(); hs != nil {
		c.loop.e.backlog.writeOff(&hs.holding)
	}
	if wasOpen {
		c.forget()
	}
	if !handed {
		c.loop.e.untrack(c)
	}
}

// report runs on the housekeeper: it calls OnClose, once, and not before OnOpen
// has returned: opened posts it again then.
func (c *Client) report() {
	c.mu.Lock()
	due := c.flags&(flagOpened|flagReported) == flagOpened
	if due {
		c.flags |= flagReported
	}
	why, told := c.reason, c.flags&flagTold != 0
	c.mu.Unlock()
	if !due {
		return
	}
	e := c.loop.e
	if e.opts.NotifyLeave && !told {
		e.notifier.post(c, CodeLeft)
	}
	if ev := e.log.Debug(); ev.Enabled() {
		ev.Stringer("client", c.ID()).Str("system", c.System()).Stringer("reason", why).Msg("client closed")
	}
	if e.opts.OnClose != nil {
		defer func() {
			if r := recover(); r != nil {
				e.logPanic(c, "OnClose", r)
			}
		}()
		e.opts.OnClose(c, why)
	}
}

// takeLeave makes the caller the one who tells the groups of c that it has left. False
// means that c has, or that somebody else tells.
func (c *Client) takeLeave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen || c.flags&flagTold != 0 {
		return false
	}
	c.flags |= flagTold
	return true
}

// opened notes that OnOpen has returned.
func (c *Client) opened() {
	c.mu.Lock()
	c.flags |= flagOpened
	ended := c.state > stateOpen
	c.mu.Unlock()
	if ended {
		c.loop.post(&c.loop.ended, c)
	}
}

// onClosed is called by nbio on one goroutine for all connections.
func onClosed(nc *nbio.Conn, _ error) {
	if c, ok := nc.Session().(*Client); ok {
		c.loop.post(&c.loop.gone, c)
	}
}

// guard runs a callback of the user's; if it panics, the client ends with 1011
// and nothing else does.
func (c *Client) guard(callback string, f func()) {
	defer func() {
		if r := recover(); r != nil {
			c.loop.e.logPanic(c, callback, r)
			c.end(ClosePanic, "")
		}
	}()
	f()
}

func (e *Engine) logPanic(c *Client, callback string, r any) {
	e.log.Error().Stringer("client", c.ID()).Str("callback", callback).
		Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).Msg("callback panicked")
}
