//go:build unix && !linux

package engine

import "syscall"

// pollerField is where nbio keeps the poller's kqueue.
const pollerField = "kfd"

// kevent makes one change. Of a descriptor that nbio has not registered yet it fails
// with ENOENT.
func kevent(queue, fd, filter, flags int) error {
	var ev syscall.Kevent_t
	syscall.SetKevent(&ev, fd, filter, flags)
	_, err := syscall.Kevent(queue, []syscall.Kevent_t{ev}, nil, nil)
	return err
}

func pollRead(poller, fd int, on bool) error {
	flags := syscall.EV_DISABLE
	if on {
		flags = syscall.EV_ENABLE
	}
	if err := kevent(poller, fd, syscall.EVFILT_READ, flags); err != syscall.ENOENT {
		return err
	}
	return nil // it is about to be registered, enabled
}

// unwatch has nothing to do: kqueue forgets a descriptor that is closed, also when
// a duplicate of it is open (kqueue(2)).
func unwatch(poller, fd int) error { return nil }

func newWriteSet() (int, error) {
	fd, err := syscall.Kqueue()
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	return fd, err
}

func (w *writeWatch) add(fd int) error {
	return kevent(w.set, fd, syscall.EVFILT_WRITE, syscall.EV_ADD)
}

func (w *writeWatch) remove(fd int) { _ = kevent(w.set, fd, syscall.EVFILT_WRITE, syscall.EV_DELETE) }

func (w *writeWatch) ready(fds []int) []int {
	var events [writesPerTurn]syscall.Kevent_t
	n, _ := syscall.Kevent(w.set, nil, events[:], new(syscall.Timespec))
	for i := range max(n, 0) {
		fds = append(fds, int(events[i].Ident))
	}
	return fds
}

func writeNow(fd int, b []byte) (int, error) { return syscall.Write(fd, b) }

// acceptNow takes a connection, whose descriptor does not block and is closed on exec.
func acceptNow(listener int) (fd int, from syscall.Sockaddr, err error) {
	syscall.ForkLock.RLock() // between accept and close-on-exec
	defer syscall.ForkLock.RUnlock()
	if fd, from, err = syscall.Accept(listener); err != nil {
		return -1, nil, err
	}
	syscall.CloseOnExec(fd)
	if err = syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return -1, nil, err
	}
	return fd, from, nil
}

func progressOf(int) (p progress, ok bool) { return p, false }
