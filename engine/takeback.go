package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"
)

// ErrNotHanded is what Upgrade returns for a request that did not come over the listener
// HTTP, or is for another path.
var ErrNotHanded = errors.New("engine: the request is not for the engine's clients")

// Upgrade serves a request for Options.Path that came over the listener HTTP, behind
// another one on the same connection (RFC 9112 section 9.3): it takes the connection back,
// with what was read of it, and treats it as if the request were its first. w and r are
// a handler's of the http.Server, which must not use them any more, unless there is an
// error: then nothing was done. It does not wait for the client.
func (e *Engine) Upgrade(w http.ResponseWriter, r *http.Request) error {
	if hc, ok := r.Context().Value(handedKey{}).(*handedConn); !ok || hc.l != e.http || r.URL.Path != e.opts.Path {
		return ErrNotHanded
	}
	if e.phase.Load() != phaseRunning {
		return ErrShutdown
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("engine: upgrade: %w", err)
	}
	hc := conn.(*handedConn)
	read := append(requestRead(r, r.RequestURI, rw.Reader), hc.read...) // which net/http has not come to
	if err := hc.giveBack(read); err != nil {
		e.refuseMove(conn, r, err)
	}
	return nil
}

// refuseMove answers a request whose connection cannot be the engine's, and closes that.
func (e *Engine) refuseMove(conn net.Conn, r *http.Request, err error) {
	e.count(e.notMoved(err))
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // it is not to be waited for
	_, _ = conn.Write(errOverloaded.appendAnswer(nil, e.opts.Lang, r.Method == http.MethodHead))
	_ = conn.Close()
}

type handedKey struct{}

// requestRead is what net/http has read of a connection: the head of the request as it has
// understood it, for the given target, and what lies behind in its buffer. The encoding of
// the body, which it keeps apart, is put back: who sends one is to be refused for it.
func requestRead(r *http.Request, target string, behind *bufio.Reader) []byte {
	var read bytes.Buffer
	fmt.Fprintf(&read, "%s %s %s\r\nHost: %s\r\n", r.Method, target, r.Proto, r.Host)
	_ = r.Header.Write(&read)
	for _, coding := range r.TransferEncoding {
		fmt.Fprintf(&read, "Transfer-Encoding: %s\r\n", coding)
	}
	read.WriteString("\r\n")
	ahead, _ := behind.Peek(behind.Buffered())
	read.Write(ahead)
	return read.Bytes()
}

// giveBack makes the connection the engine's again; read is what to begin with.
func (c *handedConn) giveBack(read []byte) error {
	old, e := c.h.c, c.l.e
	e.adding.RLock() // or Shutdown could miss what is on its way to a poller
	defer e.adding.RUnlock()
	if e.phase.Load() != phaseRunning {
		return ErrShutdown
	}
	fd, err := descriptorOf(c.tcp)
	if err != nil {
		return err
	}
	l := e.loops[fd%len(e.loops)]
	hs := &handshake{holding: holding{in: true}, begun: true, returned: true, back: read, unsent: c.unsent, over: e.again(old.remote().Addr())}
	back := &Client{loop: l, nc: newConn(fd), tls: c.h.tls}
	back.setRemote(old.remote())
	hs.c = back
	back.hs.Store(hs)
	if s := c.h.tls; s != nil {
		// What TLS has read below is its own; what was not, lies in the prefix.
		below := &tlsLoop{tlsSocket: tlsSocket{back}}
		if p, ok := s.Conn.(*prefixConn); ok {
			below.in, hs.unsent = p.read, p.unsent
		}
		s.c, s.Conn, s.more = back, below, true
	}
	c.once.Do(func() {
		c.l.leave(c.h)
		old.mu.Lock()
		back.flags = old.flags & (flagCounted | flagCountedRefused)
		old.flags |= flagUntracked
		old.mu.Unlock()
	})
	_ = c.tcp.Close()
	back.watch()
	return nil
}

// descriptorOf duplicates the descriptor of a connection that Go's poller has.
func descriptorOf(conn syscall.Conn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	failed := raw.Control(func(of uintptr) { fd, err = duplicate(int(of)) })
	return fd, errors.Join(failed, err)
}

// readBack handles what a connection that was given back begins with.
func (c *Client) readBack(hs *handshake) {
	read, unsent := hs.back, hs.unsent
	hs.back, hs.unsent = nil, nil
	if len(unsent) > 0 {
		c.mu.Lock()
		c.writeWireLocked(unsent) // if that fails, the poller closes
		c.mu.Unlock()
	}
	c.loop.beginTurn()
	c.received(read)
	if c.tls != nil && !c.undecoded() {
		c.tls.carryOn()
	}
	c.loop.endTurn(c)
}

// ServeUpgrade makes srv tell the engine what it needs to take connections of the
// listener HTTP back, and which of them wait for a request. It sets srv's ConnContext and
// ConnState, before srv serves.
func ServeUpgrade(srv *http.Server) {
	srv.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if hc, ok := conn.(*handedConn); ok {
			return context.WithValue(ctx, handedKey{}, hc)
		}
		return ctx
	}
	srv.ConnState = func(conn net.Conn, state http.ConnState) {
		if hc, ok := conn.(*handedConn); ok {
			hc.SetIdle(state == http.StateIdle)
		}
	}
}
