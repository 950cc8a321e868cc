package engine

import "syscall"

// smallBuffers has both kernels hold little for a client that does not read: on
// loopback, segments of 64 KB have a socket hold megabytes.
func smallBuffers(_, _ string, c syscall.RawConn) (err error) {
	cerr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		if err == nil {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1460)
		}
	})
	if cerr != nil {
		return cerr
	}
	return err
}
