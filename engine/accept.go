package engine

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"carillon/engine/socketfile"
)

// A listener takes connections many at a time, without Go's own record of each, its
// entry in Go's poller, and the duplicate that would be nbio's.
type listener struct {
	file *os.File
	raw  syscall.RawConn
	addr net.Addr
	unix *socketfile.Listener // whose file is to be removed; nil for TCP
	// reserve is a descriptor to refuse with when there is no other, -1 if that is
	// gone, too. It belongs to accept.
	reserve int
}

// listen opens the listener, or takes over from that of the options.
func (e *Engine) listen() error {
	switch ln := e.opts.Listener.(type) {
	case nil:
	case *net.UnixListener:
		ln.SetUnlinkOnClose(false) // the file is its owner's
		return e.takeOver(ln, true)
	case *net.TCPListener:
		return e.takeOver(ln, ln.Addr().(*net.TCPAddr).IP.IsLoopback())
	}
	if path, ok := unixPath(e.opts.Addr); ok {
		ln, err := socketfile.Listen(path, e.opts.SocketMode)
		if err != nil {
			return err
		}
		e.loopback = true
		if e.ln, err = newListener(ln.UnixListener); err != nil {
			ln.Remove()
			return err
		}
		e.ln.unix = ln
		return nil
	}
	ln, err := e.listenTCP()
	if err != nil {
		return err
	}
	return e.takeOver(ln, ln.Addr().(*net.TCPAddr).IP.IsLoopback())
}

func (e *Engine) takeOver(ln fileListener, loopback bool) (err error) {
	e.loopback = loopback
	e.ln, err = newListener(ln)
	return err
}

// A fileListener is a *net.TCPListener or *net.UnixListener.
type fileListener interface {
	net.Listener
	File() (*os.File, error)
}

// listenTCP has connections as they are best here. Go's keep-alive probes are off: the heartbeat finds
// the silent ones, and probing 60,000 idle sockets every 15 s costs 9 % of a core.
// What a connection inherits from the listener is TCP_NODELAY, which Go would set.
func (e *Engine) listenTCP() (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		})
		return errors.Join(failed, err)
	}}
	lc.SetMultipathTCP(false) // its connections inherit by rules of their own
	ln, err := lc.Listen(context.Background(), "tcp", e.opts.Addr)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// newListener takes over from ln, which it closes.
func newListener(ln fileListener) (*listener, error) {
	defer ln.Close()       // the file stays
	file, err := ln.File() // whose RawConn can wait, which the listener's cannot
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &listener{file: file, raw: raw, addr: ln.Addr(), reserve: -1}, nil
}

// close ends accept.
func (l *listener) close() {
	if l.unix != nil {
		l.unix.Remove()
	}
	_ = l.file.Close()
}

// acceptBatch is how many connections are taken before it is looked whether the
// listener was closed.
const acceptBatch = 256

// accept waits for a connection, and gives it and all that have come to take. It
// returns the error that ended that, nil to be called again.
func (l *listener) accept(take func(fd int, from syscall.Sockaddr, last bool)) error {
	var failed error
	err := l.raw.Read(func(listener uintptr) bool {
		for n := range acceptBatch {
			fd, from, last, err := l.next(int(listener))
			switch err {
			case nil:
				take(fd, from, last)
				l.refill()
				if last { // that took its time
					return true
				}
			case syscall.EAGAIN:
				return n > 0 // or wait
			case syscall.EINTR, syscall.ECONNABORTED:
			default:
				failed = err
				return true
			}
		}
		return true
	})
	return errors.Join(err, failed)
}

// next takes a connection. last says that it took the reserve for that: it is to be
// answered and closed. Linux says that there is no descriptor before it looks whether
// there is a connection, so nothing may be concluded from the one about the other.
func (l *listener) next(listener int) (fd int, from syscall.Sockaddr, last bool, err error) {
	fd, from, err = acceptNow(listener)
	if err != syscall.EMFILE && err != syscall.ENFILE || l.reserve < 0 {
		return fd, from, false, err
	}
	_ = syscall.Close(l.reserve)
	l.reserve = -1
	fd, from, err = acceptNow(listener)
	if err != nil {
		l.refill()
	}
	return fd, from, true, err
}

// refill takes a reserve if there is none.
func (l *listener) refill() {
	if l.reserve < 0 {
		if fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err == nil {
			l.reserve = fd
		}
	}
}

// accept runs until the listener is closed. When descriptors run out it refuses
// with the one that it keeps for that, or waits for some to come back: it must
// neither spin nor die.
func (e *Engine) accept() {
	const longest = time.Second
	wait, warned := time.Duration(0), time.Time{}
	warn := func(err error) {
		if time.Since(warned) >= longest {
			warned = time.Now()
			e.log.Warn().Err(err).Msg("cannot accept connections")
		}
	}
	take := func(fd int, from syscall.Sockaddr, last bool) {
		wait = 0
		if last {
			warn(syscall.EMFILE)
			e.refuseUnread(fd)
			return
		}
		e.add(fd, addrPortOf(from))
	}
	e.ln.refill()
	defer func() { _ = syscall.Close(e.ln.reserve) }() // of -1 it fails, and does nothing
	for {
		err := e.ln.accept(take)
		if err == nil {
			continue
		}
		if e.phase.Load() == phaseStopping { // Shutdown has closed it
			return
		}
		warn(err)
		wait = min(max(2*wait, 5*time.Millisecond), longest)
		select {
		case <-time.After(wait):
		case <-e.ctx.Done():
			return
		}
		e.ln.refill()
	}
}

// refuseUnread answers a connection that there is no descriptor to keep for. It does
// not wait for the request: what of it comes within a moment is read, so that the close
// does not reset the connection over it. With TLS there is no answer short of a
// handshake.
func (e *Engine) refuseUnread(fd int) {
	defer syscall.Close(fd)
	e.refused.add(labelDescriptors)
	if e.tls != nil {
		return
	}
	moment := syscall.NsecToTimeval(int64(10 * time.Millisecond))
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &moment)
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &moment)
	_ = syscall.SetNonblock(fd, false)
	head := make([]byte, 4<<10)
	n, _ := syscall.Read(fd, head)
	_, _ = syscall.Write(fd, errOverloaded.appendAnswer(nil, e.opts.Lang, asksHEAD(head[:max(n, 0)])))
}

// add gives a new connection to its loop.
func (e *Engine) add(fd int, from netip.AddrPort) {
	e.addWith(fd, from, &handshake{holding: holding{in: true}})
}

// addWith is add for one of which hs knows something already.
func (e *Engine) addWith(fd int, from netip.AddrPort, hs *handshake) {
	if e.overLimit(int64(RefusedAtOnce(e.opts.MaxConnections))) {
		e.refused.add(labelMaxConnections)
		_ = syscall.Close(fd)
		return
	}
	trusted := e.trusts(from.Addr())
	hs.proxied = trusted && !hs.begun
	var flags clientFlags
	if !trusted {
		var flood bool
		hs.over, flood, flags = e.enterAddr(from.Addr())
		// An answer within TLS would cost what the limit is to save.
		if flood || hs.over != "" && e.tls != nil {
			e.leaveAddr(from.Addr(), flags)
			e.refused.add(hs.over)
			_ = syscall.Close(fd)
			return
		}
	}
	// nbio puts a connection on the poller of its descriptor's number; a test
	// holds it to that.
	l := e.loops[fd%len(e.loops)]
	c := &Client{loop: l, nc: newConn(fd), flags: flags}
	c.setRemote(from)
	hs.holding.c = c
	c.hs.Store(hs)
	if !hs.proxied && !hs.begun {
		c.startTLS()
	}
	e.tide.flows(e.conns.Add(1))
	c.watch()
}

// watch has the poller of a new connection read it, soon.
func (c *Client) watch() {
	// The lock is what makes the session visible to the poller.
	c.nc.Lock()
	c.nc.SetSession(c)
	c.nc.Unlock()
	c.mu.Lock()
	c.setDeadlineLocked(ticks(c.loop.e.opts.HandshakeTimeout) + 1)
	c.mu.Unlock()
	c.loop.e.sockets.watch(c)
}

// notWatched ends a connection that could not be watched, or came too late for that.
func (c *Client) notWatched(err error) {
	e := c.loop.e
	if !errors.Is(err, ErrShutdown) {
		e.refused.add(labelUnwatched)
		e.log.Warn().Err(err).Msg("cannot watch a new connection")
	}
	c.loop.wheel.Retire(c)
	e.untrack(c)
}

// addrPortOf is a peer's address as accept(2) has it. IPv4 is the same whether it
// came over an IPv6 socket or not.
func addrPortOf(a syscall.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{} // a unix socket's, or it was closed before it was accepted, on some systems
}

// RefusedAtOnce is how many sockets over Options.MaxConnections may be open for as long
// as it takes to read their request and answer it 503. Beyond, they are closed unread.
func RefusedAtOnce(maxConnections int) int { return min(max(maxConnections/16, 16), 256) }

const (
	labelMaxConnections = "max connections"
	labelDescriptors    = "descriptors"
	labelMemory         = "memory"
	labelUnwatched      = "not watched" // by the event loop, which has no place for it
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
		e.leaveAddr(c.remote().Addr(), flags)
		e.conns.Add(-1)
	}
}
