//go:build unix && !linux

package client

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func newSocket(family int) (fd int, err error) {
	syscall.ForkLock.RLock() // between socket and close-on-exec
	fd, err = unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		if err = unix.SetNonblock(fd, true); err != nil {
			_ = unix.Close(fd)
		}
	}
	return fd, err
}

func bindLate(int) {}
