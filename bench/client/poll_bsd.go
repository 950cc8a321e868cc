//go:build unix && !linux

package client

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A poller says which descriptors can be read or written, as long as they can. A
// descriptor that is closed is watched no more.
type poller struct {
	kqueue int
	events [512]unix.Kevent_t
}

func newPoller() (*poller, error) {
	fd, err := unix.Kqueue()
	if err != nil {
		return nil, fmt.Errorf("kqueue: %w", err)
	}
	unix.CloseOnExec(fd)
	return &poller{kqueue: fd}, nil
}

// add watches a descriptor for what can be read, and with write for room to write.
func (p *poller) add(fd int, write bool) error {
	if err := p.control(fd, unix.EVFILT_READ, unix.EV_ADD); err != nil || !write {
		return err
	}
	return p.change(fd, true)
}

// change is add for a descriptor that is watched already.
func (p *poller) change(fd int, write bool) error {
	if write {
		return p.control(fd, unix.EVFILT_WRITE, unix.EV_ADD)
	}
	return p.control(fd, unix.EVFILT_WRITE, unix.EV_DELETE)
}

func (p *poller) control(fd, filter, flags int) error {
	var ev unix.Kevent_t
	unix.SetKevent(&ev, fd, filter, flags)
	_, err := unix.Kevent(p.kqueue, []unix.Kevent_t{ev}, nil, nil)
	return err
}

// wait blocks until there is something, and calls ready for each. A connection that
// has ended or failed can be read.
func (p *poller) wait(ready func(fd int, read, write bool)) error {
	n, err := unix.Kevent(p.kqueue, nil, p.events[:], nil)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("kevent: %w", err)
	}
	for _, ev := range p.events[:max(n, 0)] {
		write := int(ev.Filter) == unix.EVFILT_WRITE
		ready(int(ev.Ident), !write || ev.Flags&unix.EV_EOF != 0, write)
	}
	return nil
}

func (p *poller) close() { _ = unix.Close(p.kqueue) }
