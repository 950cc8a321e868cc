package engine

import (
	"context"
	"errors"
)

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
	hs.authenticating = false
	if opened {
		c.opensAt(hs, hs.parked)
	}
	if hs.ended {
		c.hungUp()
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
	return id, refusalOf(ctx, err)
}

// refusalOf is the answer to an error of Authenticate, which got ctx. Whatever it is,
// it is no fault of the server's that refuse would have to tell of.
func refusalOf(ctx context.Context, err error) error {
	var (
		refusal *RefuseError
		field   *FieldError
	)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &RefuseError{Status: 503, Code: CodeConnectFailed, Detail: "authentication took too long"}
	case errors.As(err, &refusal), errors.As(err, &field):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled): // of a context of its own
		return &RefuseError{Status: 503, Code: CodeConnectFailed, Detail: "authentication took too long"}
	}
	return errors.Join(&RefuseError{Status: 401, Code: CodeUnauthorized}, err)
}
