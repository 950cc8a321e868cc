package client

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"carillon/bench/stamp"
)

// maxUnsent bounds what waits for a server that does not read, of one connection.
const maxUnsent = 16 << 20

// run is the swarm's poller goroutine. It alone closes the descriptors that it
// watches; others shut connections down (cut). A descriptor's number may be another
// connection's by the time its event comes up, so an event is only a reason to look.
func (s *Swarm) run() {
	defer close(s.ended)
	buf, wake := make([]byte, readBufferBytes), int(s.wake.Fd())
	for closing := false; !closing; {
		err := s.poll.wait(func(fd int, read, write bool) {
			if closing = closing || fd == wake; !closing {
				s.ready(fd, read, write, buf)
			}
		})
		if err != nil {
			s.mu.Lock()
			s.complainf("event loop: %v", err)
			s.mu.Unlock()
			return
		}
	}
}

// ready takes the lock, which what follows needs.
func (s *Swarm) ready(fd int, read, write bool, buf []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fd >= len(s.byFD) || s.byFD[fd] == nil {
		return
	}
	c := s.byFD[fd]
	if write {
		if err := c.flush(); err != nil {
			c.over(err)
			return
		}
	}
	if !read {
		return
	}
	n, err := unix.Read(fd, buf)
	switch {
	case err == nil && n > 0 && c.wire != nil:
		if err := c.wire.arrived(buf[:n], stamp.Now()); err != nil {
			c.over(err)
		}
	case err == nil && n > 0:
		c.data(buf[:n], stamp.Now())
	case err == nil:
		c.over(io.EOF)
	case !canWait(err):
		c.over(err)
	}
}

// begin makes fd the connection's, on which head goes first.
func (c *conn) begin(fd int, head []byte) {
	s := c.swarm
	if fd >= len(s.byFD) {
		s.byFD = append(s.byFD, make([]*conn, max(fd+1-len(s.byFD), len(s.byFD)))...)
	}
	s.byFD[fd], c.fd = c, int32(fd)
	var err error
	if c.unsent, err = write(fd, head); err == nil { // on loopback it is connected by now
		err = s.poll.add(fd, len(c.unsent) > 0)
	}
	if err != nil {
		c.over(err)
	}
}

// send sends b, encrypted if the connection is.
func (c *conn) send(b []byte) {
	if c.wire == nil {
		c.put(b)
	} else if _, err := c.wire.tls.Write(b); err != nil {
		c.cut()
	}
}

// put writes what the kernel takes now and keeps the rest.
func (c *conn) put(b []byte) {
	if len(c.unsent) > 0 {
		if len(c.unsent)+len(b) > maxUnsent {
			c.swarm.complainf("client %d: the server does not read: %d bytes wait", c.number(), len(c.unsent))
			c.cut()
			return
		}
		c.unsent = append(c.unsent, b...)
		return
	}
	rest, err := write(int(c.fd), b)
	switch {
	case err != nil:
		c.cut()
	case len(rest) > 0:
		c.unsent = append([]byte(nil), rest...)
		if err := c.swarm.poll.change(int(c.fd), true); err != nil {
			c.cut()
		}
	}
}

// flush writes what waits.
func (c *conn) flush() (err error) {
	if len(c.unsent) == 0 {
		return nil
	}
	if c.unsent, err = write(int(c.fd), c.unsent); err != nil || len(c.unsent) > 0 {
		return err
	}
	c.unsent = nil
	return c.swarm.poll.change(int(c.fd), false)
}

// write returns what the kernel does not take. ENOTCONN is of a connection that is
// not complete: one that has failed says so when it is read.
func write(fd int, b []byte) (rest []byte, err error) {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if n > 0 {
			b = b[n:]
		}
		switch err {
		case nil, syscall.EINTR:
		case syscall.EAGAIN, syscall.ENOTCONN:
			return b, nil
		default:
			return b, os.NewSyscallError("write", err)
		}
	}
	return nil, nil
}

// cut ends the connection at once; the poller closes it.
func (c *conn) cut() { _ = unix.Shutdown(int(c.fd), unix.SHUT_RDWR) }

// over closes a connection that has ended.
func (c *conn) over(err error) {
	s := c.swarm
	s.byFD[c.fd] = nil
	_ = unix.Close(int(c.fd))
	switch c.state {
	case dialing:
		switch {
		case c.wire != nil && !c.wire.open: // which says what is wrong with it
			c.wire.end()
		case c.try.refused:
			text, _ := refusal(c.try.head, true)
			c.try.fail(text)
		case err == io.EOF:
			c.try.fail("the server closed the connection during the handshake")
		default:
			c.try.end(fmt.Errorf("connection to %s: %w", s.cfg.Addr, err))
		}
	case up:
		s.counts.Connected--
		s.counts.Broken++
		s.complainf("client %d: its connection ended: %v", c.number(), err)
	case leaving:
		s.counts.Connected--
	}
	c.fd, c.unsent, c.dec, c.try, c.wire, c.state = 0, nil, nil, nil, nil, down
}
