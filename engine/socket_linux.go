package engine

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollerField is where nbio keeps the poller's epoll descriptor.
const pollerField = "epfd"

// The poller's epoll set. nbio asks for EPOLLRDHUP too, and closes at it.

func pollRead(poller, fd int, on bool) error {
	ev := syscall.EpollEvent{Fd: int32(fd)}
	if on {
		ev.Events = syscall.EPOLLIN
	}
	return syscall.EpollCtl(poller, syscall.EPOLL_CTL_MOD, fd, &ev)
}

// unwatch takes a descriptor out of the poller's set. Closing it does not: the
// kernel forgets a socket only with its last descriptor (epoll(7), Q6), and would go on
// reporting events under a number that is a new connection's.
func unwatch(poller, fd int) error {
	return syscall.EpollCtl(poller, syscall.EPOLL_CTL_DEL, fd, nil)
}

// A set of sockets that wait until they can be written to. Its own descriptor is
// readable while any of them can.

func newWriteSet() (int, error) { return syscall.EpollCreate1(syscall.EPOLL_CLOEXEC) }

func (w *writeWatch) add(fd int) error {
	return syscall.EpollCtl(w.set, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLOUT, Fd: int32(fd)})
}

func (w *writeWatch) remove(fd int) { _ = syscall.EpollCtl(w.set, syscall.EPOLL_CTL_DEL, fd, nil) }

// ready returns descriptors that can be written to, or whose connection is gone.
func (w *writeWatch) ready(fds []int) []int {
	var events [writesPerTurn]syscall.EpollEvent
	n, _ := syscall.EpollWait(w.set, events[:], 0)
	for i := range max(n, 0) {
		fds = append(fds, int(events[i].Fd))
	}
	return fds
}

// writeNow is write(2) without telling the Go scheduler, who would otherwise be told
// before and after each message, for a call that never blocks.
func writeNow(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// acceptNow takes a connection, whose descriptor does not block and is closed on exec.
func acceptNow(listener int) (fd int, from syscall.Sockaddr, err error) {
	return syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
}

// progressOf asks for tcp(7)'s TCP_INFO.
func progressOf(fd int) (p progress, ok bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return p, false
	}
	return progress{
		acked: info.Bytes_acked, left: int(info.Unacked) + int(info.Notsent_bytes),
		silent: time.Duration(info.Last_ack_recv) * time.Millisecond,
	}, true
}
