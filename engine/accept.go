package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// listen opens the listener. Go's keep-alive probes are off: the heartbeat finds
// the silent ones, and probing 60,000 idle sockets every 15 s costs 9 % of a core.
func (e *Engine) listen() error {
	lc := net.ListenConfig{KeepAlive: -1}
	ln, err := lc.Listen(context.Background(), "tcp", e.opts.Addr)
	if err != nil {
		return err
	}
	e.ln = ln
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		e.loopback = a.IP.IsLoopback()
	}
	return nil
}

// accept runs until the listener is closed. When descriptors run out it refuses
// with the one that it keeps for that, or waits for some to come back: it must
// neither spin nor die.
func (e *Engine) accept() {
	const longest = time.Second
	wait, warned := time.Duration(0), time.Time{}
	reserve, _ := os.Open(os.DevNull)
	defer func() { _ = reserve.Close() }() // of nil it fails, and does nothing
	for {
		conn, err := e.ln.Accept()
		if err == nil {
			wait = 0
			e.add(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if time.Since(warned) >= longest {
			warned = time.Now()
			e.log.Warn().Err(err).Msg("cannot accept connections")
		}
		if errors.Is(err, syscall.EMFILE) && reserve != nil {
			_ = reserve.Close()
			reserve = nil
			e.refuseNext()
		} else {
			wait = min(max(2*wait, 5*time.Millisecond), longest)
			select {
			case <-time.After(wait):
			case <-e.ctx.Done():
				return
			}
		}
		if reserve == nil {
			reserve, _ = os.Open(os.DevNull)
		}
	}
}

// refuseNext answers a connection that there is no descriptor to keep for.
func (e *Engine) refuseNext() {
	if l, ok := e.ln.(*net.TCPListener); ok { // it may be gone again
		_ = l.SetDeadline(time.Now().Add(10 * time.Millisecond))
		defer l.SetDeadline(time.Time{})
	}
	if conn, err := e.ln.Accept(); err == nil {
		e.refused.add(labelDescriptors)
		e.refuseUnread(conn)
	}
}

// add gives a new connection to its loop.
func (e *Engine) add(conn net.Conn) {
	if e.overLimit(refusing) {
		e.refused.add(labelMaxConnections)
		_ = conn.Close()
		return
	}
	hs := &handshake{proxied: e.trusts(conn.RemoteAddr())}
	var flags clientFlags
	if !hs.proxied {
		var flood bool
		hs.over, flood, flags = e.enterAddr(conn.RemoteAddr())
		// An answer within TLS would cost what the limit is to save.
		if flood || hs.over != "" && e.tls != nil {
			e.leaveAddr(conn.RemoteAddr(), flags)
			e.refused.add(hs.over)
			_ = conn.Close()
			return
		}
	}
	nc, err := toNBIO(conn)
	if err != nil {
		e.leaveAddr(conn.RemoteAddr(), flags)
		e.refused.add(labelDescriptors)
		e.refuseUnread(conn)
		return
	}
	// nbio puts a connection on the poller of its descriptor's number; a test
	// holds it to that.
	l := e.loops[nc.Hash()%len(e.loops)]
	c := &Client{loop: l, nc: nc, flags: flags}
	c.hs.Store(hs)
	if !hs.proxied {
		c.startTLS()
	}
	// The lock is what makes the session visible to the poller.
	nc.Lock()
	nc.SetSession(c)
	nc.Unlock()
	e.conns.Add(1)
	l.wheel.Schedule(c, e.tickNow()+ticks(e.opts.HandshakeTimeout)+1)
	if _, err := e.nb.AddConn(nc); err != nil {
		e.refused.add(labelDescriptors)
		e.log.Warn().Err(err).Msg("cannot watch a new connection")
		l.wheel.Retire(c)
		e.untrack(c)
	}
}

// refuseUnread answers a connection for which there was one descriptor but not the
// two that taking it needs. It does not wait for the request: what of it has come
// is read, so that the close does not reset the connection over it. With TLS there is
// no answer short of a handshake.
func (e *Engine) refuseUnread(conn net.Conn) {
	defer conn.Close()
	if e.tls != nil {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = conn.Read(make([]byte, 4<<10))
	_, _ = conn.Write(errOverloaded.appendAnswer(nil, e.opts.Lang))
}

// refusing is how many sockets over MaxConnections may be open for as long as it
// takes to read their request and answer it 503. Beyond, they are closed unread.
const refusing = 256

const (
	labelMaxConnections = "max connections"
	labelDescriptors    = "descriptors"
)

func (e *Engine) overLimit(margin int64) bool {
	n := int64(e.opts.MaxConnections)
	return n > 0 && e.conns.Load() > n+margin
}

// untrack undoes what add has counted, once: of a connection that nbio could not
// watch it may have told onClosed, or not.
func (e *Engine) untrack(c *Client) {
	c.mu.Lock()
	flags := c.flags
	c.flags |= flagUntracked
	c.mu.Unlock()
	if flags&flagUntracked == 0 {
		e.leaveAddr(c.RemoteAddr(), flags)
		e.conns.Add(-1)
	}
}
