//go:build unix && !linux

package engine

import (
	"syscall"

	"github.com/lesismal/nbio"
)

// unwatch has nothing to do: kqueue forgets a descriptor that is closed, also when
// a duplicate of it is open (kqueue(2)).
func unwatch(*nbio.Conn) error { return nil }

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
