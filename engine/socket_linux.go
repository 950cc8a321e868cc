package engine

import (
	"errors"
	"reflect"
	"syscall"

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
