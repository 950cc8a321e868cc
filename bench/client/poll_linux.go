package client

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A poller says which descriptors can be read or written, as long as they can. A
// descriptor that is closed is watched no more.
type poller struct {
	epoll  int
	events [512]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &poller{epoll: fd}, nil
}

// add watches a descriptor for what can be read, and with write for room to write.
func (p *poller) add(fd int, write bool) error { return p.control(unix.EPOLL_CTL_ADD, fd, write) }

// change is add for a descriptor that is watched already.
func (p *poller) change(fd int, write bool) error { return p.control(unix.EPOLL_CTL_MOD, fd, write) }

func (p *poller) control(op, fd int, write bool) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
	if write {
		ev.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(p.epoll, op, fd, &ev)
}

// wait blocks until there is something, and calls ready for each. A connection that
// has ended or failed can be read.
func (p *poller) wait(ready func(fd int, read, write bool)) error {
	n, err := unix.EpollWait(p.epoll, p.events[:], -1)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("epoll_wait: %w", err)
	}
	for _, ev := range p.events[:max(n, 0)] {
		ready(int(ev.Fd), ev.Events&^unix.EPOLLOUT != 0, ev.Events&unix.EPOLLOUT != 0)
	}
	return nil
}

func (p *poller) close() { _ = unix.Close(p.epoll) }
