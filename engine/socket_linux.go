package engine

import (
	"errors"
	"reflect"
	"syscall"
	"unsafe"

	"github.com/lesismal/nbio"
)

// unwatch takes a connection out of nbio's epoll set. Closing its descriptor does
// not: the kernel forgets a socket only with its last descriptor (epoll(7), Q6),
// and would go on reporting events under a number that is a new connection's. nbio
// does not offer it, so the number of the epoll descriptor is read out of its
// structs; a test holds it to that.
func unwatch(nc *nbio.Conn) error {
	p := reflect.ValueOf(nc).Elem().FieldByName("p")
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return errNoEpoll
	}
	epfd := p.Elem().FieldByName("epfd")
	if epfd.Kind() != reflect.Int {
		return errNoEpoll
	}
	return syscall.EpollCtl(int(epfd.Int()), syscall.EPOLL_CTL_DEL, nc.Hash(), nil)
}

var errNoEpoll = errors.New("engine: nbio's epoll descriptor is not where it was")

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
