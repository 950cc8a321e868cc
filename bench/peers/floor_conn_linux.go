package main

import (
	"cmp"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// floorWriteWait is how long a push waits for a full socket, in milliseconds.
const floorWriteWait = 10_000

type floorConn struct {
	who     identity // set by the handshake
	partial []byte   // a request head or a frame that has not come whole

	mu sync.Mutex // guards fd: a push must not write to a number that was closed
	fd int        // -1 when closed
}

func (c *floorConn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeLocked(b)
}

// writeLocked waits for a full socket. c.mu must be held.
func (c *floorConn) writeLocked(b []byte) {
	for c.fd >= 0 && len(b) > 0 {
		n, err := bareWrite(c.fd, b)
		b = b[n:]
		if err == syscall.EAGAIN {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}, floorWriteWait)
			if n == 0 {
				err = cmp.Or(err, error(syscall.ETIMEDOUT))
			}
		}
		if err != nil && err != syscall.EINTR {
			_ = syscall.Shutdown(c.fd, syscall.SHUT_RDWR) // and its loop closes it
			return
		}
	}
}

// bareWrite does not tell Go's scheduler of the call: the socket never blocks, and
// the word costs a tenth of it.
func bareWrite(fd int, b []byte) (n int, err error) {
	r, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}
