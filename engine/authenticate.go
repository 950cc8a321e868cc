package engine

import "context"

type authJob struct {
	c  *Client
	hs *handshake
	h  *Handshake
}

// authenticate runs on each of the MaxAuthenticating goroutines.
func (e *Engine) authenticate() {
	for {
		select {
		case <-e.ctx.Done():
			return
		case j := <-e.auth:
			j.run(e)
		}
	}
}

func (j authJob) run(e *Engine) {
	id, err := j.identify(e)
	opened := j.c.admit(j.h, id, err)
	j.c.loop.waker.call(func() { j.c.authenticated(j.hs, opened) })
}

// authenticated runs on the poller, which leaves the socket alone while somebody
// finds out who the client is, and until its OnOpen has returned.
func (c *Client) authenticated(hs *handshake, opened bool) {
	c.loop.e.sockets.listen(c, true)
	c.loop.beginTurn()
	if opened {
		c.opensAt(hs, hs.parked)
	}
	c.loop.endTurn(c)
}

func (j authJob) identify(e *Engine) (id Identity, err error) {
	ctx, cancel := context.WithTimeout(e.ctx, e.opts.AuthTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			e.logPanic(j.c, "Authenticate", r)
			err = &RefuseError{Status: 500, Code: CodeInternal}
		}
	}()
	id, err = e.opts.Authenticate(ctx, j.h)
	if err != nil && ctx.Err() != nil {
		err = &RefuseError{Status: 503, Code: CodeConnectFailed, Detail: "authentication took too long"}
	}
	return id, err
}
