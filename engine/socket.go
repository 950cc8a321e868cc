//go:build unix

package engine

import (
	"net"
	"syscall"

	"github.com/lesismal/nbio"
)

// sockets is what the engine does with its connections' descriptors. A test has one
// that has none.
type sockets interface {
	// watch has the poller read a new connection.
	watch(c *Client) error
	// write writes what the kernel takes. wait says that the rest, or all of b, has
	// to wait for the kernel; otherwise n < len(b) means that the connection is gone.
	write(c *Client, b []byte) (n int, wait bool)
	// shut is shutdown(2).
	shut(c *Client, how int)
	// localAddr is what the peer connected to.
	localAddr(c *Client) net.Addr
}

// kernelSockets uses descriptors directly, and holds nbio's lock meanwhile: once
// nbio has closed a descriptor, its number may be another connection's.
//
// For the same reason only the poller closes. nbio looks connections up by number
// when it handles a batch of events, so a descriptor that another goroutine closes
// may be a new connection's by the time the old one's event comes up, which then
// ends the new one. Everybody else shuts the socket down, and the event of that
// has the poller close it. nbio's own Write closes on an error, therefore
// write comes before it.
type kernelSockets struct{ nb *nbio.Engine }

func (s kernelSockets) watch(c *Client) error {
	_, err := s.nb.AddConn(c.nc)
	return err
}

func (kernelSockets) write(c *Client, b []byte) (n int, wait bool) {
	c.nc.Lock()
	defer c.nc.Unlock()
	if closed, _ := c.nc.IsClosed(); closed {
		return 0, false
	}
	if c.unsent.Load() > 0 { // nbio has bytes that go first
		return 0, true
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

func (kernelSockets) shut(c *Client, how int) {
	c.nc.Lock()
	defer c.nc.Unlock()
	if closed, _ := c.nc.IsClosed(); !closed {
		_ = syscall.Shutdown(c.nc.Hash(), how)
	}
}

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

// takeOut duplicates the descriptor of a connection and ends nbio's part in it.
// It runs on the connection's poller.
func takeOut(nc *nbio.Conn) (fd int, err error) {
	nc.Lock()
	if closed, _ := nc.IsClosed(); closed {
		nc.Unlock()
		return -1, syscall.EBADF
	}
	if err = unwatch(nc); err == nil {
		syscall.ForkLock.RLock() // between dup and close-on-exec
		if fd, err = syscall.Dup(nc.Hash()); err == nil {
			syscall.CloseOnExec(fd)
		}
		syscall.ForkLock.RUnlock()
	}
	nc.Unlock()
	_ = nc.Close()
	return fd, err
}
