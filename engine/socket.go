package engine

import (
	"syscall"

	"github.com/lesismal/nbio"
)

// What follows uses a descriptor directly. It holds nbio's lock meanwhile: once
// nbio has closed a descriptor, its number may be another connection's.

// shutdownWrite sends FIN; the connection can still be read.
func shutdownWrite(nc *nbio.Conn) {
	nc.Lock()
	defer nc.Unlock()
	if closed, _ := nc.IsClosed(); !closed {
		_ = syscall.Shutdown(nc.Hash(), syscall.SHUT_WR)
	}
}

// duplicate returns a second descriptor of the connection, which outlives it.
func duplicate(nc *nbio.Conn) (fd int, err error) {
	nc.Lock()
	defer nc.Unlock()
	if closed, _ := nc.IsClosed(); closed {
		return -1, syscall.EBADF
	}
	syscall.ForkLock.RLock() // between dup and close-on-exec
	defer syscall.ForkLock.RUnlock()
	if fd, err = syscall.Dup(nc.Hash()); err == nil {
		syscall.CloseOnExec(fd)
	}
	return fd, err
}
