//go:build unix

package engine

import (
	"io"
	"net"
	"syscall"

	"github.com/lesismal/nbio"
)

// sockets is what the engine does with its connections' descriptors. A test has one
// that has none.
type sockets interface {
	// watch has the poller read a new connection, soon, or calls notWatched.
	watch(c *Client)
	// listen says whether the poller is to be told of what comes. It runs on it.
	listen(c *Client, on bool)
	// write writes what the kernel takes. wait says that the rest, or all of b, has
	// to wait for the kernel; otherwise n < len(b) means that the connection is gone.
	write(c *Client, b []byte) (n int, wait bool)
	// await says whether the poller is to call drain when the kernel takes more.
	await(c *Client, on bool)
	// progress is how far the kernel is with what was written, if it tells.
	progress(c *Client) (p progress, ok bool)
	// shut is shutdown(2).
	shut(c *Client, how int)
	// close ends the connection. It runs on its poller.
	close(c *Client)
	// localAddr is what the peer connected to.
	localAddr(c *Client) net.Addr
}

// kernelSockets uses descriptors directly, and holds nbio's lock meanwhile: once
// nbio has closed a descriptor, its number may be another connection's.
//
// For the same reason only the poller closes, and adds. nbio looks connections up by
// number when it handles a batch of events, so a descriptor that another goroutine
// closes may be a new connection's by the time the old one's event comes up, which then
// ends the new one. Everybody else shuts the socket down, and the event of that
// has the poller close it. nbio's own Write closes on an error: it is not used.
type kernelSockets struct{ nb *nbio.Engine }

func (s kernelSockets) watch(c *Client) {
	c.loop.waker.call(func() {
		if err := s.add(c); err != nil {
			c.notWatched(err)
		} else if hs := c.hs.Load(); hs.returned {
			c.readBack(hs)
		}
	})
}

// add runs on the poller, so that the peer's FIN is not among the events that it has
// fetched before nbio's wish to hear of it is undone.
func (s kernelSockets) add(c *Client) error {
	e := c.loop.e
	e.adding.RLock()
	defer e.adding.RUnlock()
	if e.phase.Load() == phaseStopping { // nbio would wait for it
		_ = c.nc.Close()
		return ErrShutdown
	}
	if _, err := s.nb.AddConn(c.nc); err != nil {
		return err
	}
	if err := pollRead(c.loop.poller, c.nc.Hash(), true); err != nil {
		_ = c.nc.CloseWithError(err)
		return err
	}
	return nil
}

func (kernelSockets) listen(c *Client, on bool) {
	c.nc.Lock()
	defer c.nc.Unlock()
	if closed, _ := c.nc.IsClosed(); !closed {
		_ = pollRead(c.loop.poller, c.nc.Hash(), on) // fails for what is open only if the kernel has no memory
	}
}

func (kernelSockets) write(c *Client, b []byte) (n int, wait bool) {
	c.nc.Lock()
	defer c.nc.Unlock()
	if closed, _ := c.nc.IsClosed(); closed {
		return 0, false
	}
	for n < len(b) {
		m, err := writeNow(c.nc.Hash(), b[n:])
		if m > 0 {
			n += m
		}
		switch {
		case err == syscall.EINTR || err == nil && n < len(b):
		case err == syscall.EAGAIN:
			return n, true
		case err != nil:
			_ = syscall.Shutdown(c.nc.Hash(), syscall.SHUT_RDWR)
			return n, false
		}
	}
	return n, false
}

func (kernelSockets) await(c *Client, on bool) {
	c.nc.Lock()
	defer c.nc.Unlock()
	closed, _ := c.nc.IsClosed()
	if on && closed {
		return
	}
	if !c.loop.writable.await(c, c.nc.Hash(), on, closed) {
		_ = syscall.Shutdown(c.nc.Hash(), syscall.SHUT_RDWR) // nothing would tell when to go on
	}
}

func (kernelSockets) progress(c *Client) (p progress, ok bool) {
	c.nc.Lock()
	defer c.nc.Unlock()
	if closed, _ := c.nc.IsClosed(); closed {
		return p, false
	}
	return progressOf(c.nc.Hash())
}

func (kernelSockets) shut(c *Client, how int) {
	c.nc.Lock()
	defer c.nc.Unlock()
	if closed, _ := c.nc.IsClosed(); !closed {
		_ = syscall.Shutdown(c.nc.Hash(), how)
	}
}

func (kernelSockets) close(c *Client) { _ = c.nc.CloseWithError(io.EOF) }

func (kernelSockets) localAddr(c *Client) net.Addr {
	c.nc.Lock()
	defer c.nc.Unlock()
	if closed, _ := c.nc.IsClosed(); !closed {
		if a, err := syscall.Getsockname(c.nc.Hash()); err == nil {
			return net.TCPAddrFromAddrPort(addrPortOf(a))
		}
	}
	return c.loop.e.Addr()
}

// shutdownWrite sends FIN; the connection can still be read.
func (c *Client) shutdownWrite() { c.loop.e.sockets.shut(c, syscall.SHUT_WR) }

// cut ends the connection: the poller will close it.
func (c *Client) cut() { c.loop.e.sockets.shut(c, syscall.SHUT_RDWR) }

// takeOut duplicates the descriptor of c and ends nbio's part in it. It runs on c's
// poller. After an error, nothing has changed.
func (c *Client) takeOut() (fd int, err error) {
	c.nc.Lock()
	if closed, _ := c.nc.IsClosed(); closed {
		c.nc.Unlock()
		return -1, net.ErrClosed
	}
	if fd, err = duplicate(c.nc.Hash()); err == nil {
		c.loop.writable.await(c, c.nc.Hash(), false, false) // the duplicate would have the kernel go on watching
		if err = unwatch(c.loop.poller, c.nc.Hash()); err != nil {
			_ = syscall.Close(fd)
		}
	}
	c.nc.Unlock()
	if err == nil {
		_ = c.nc.Close()
	}
	return fd, err
}

// duplicate is dup(2), closed on exec.
func duplicate(fd int) (int, error) {
	syscall.ForkLock.RLock() // between dup and close-on-exec
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	return fd, err
}
