package client

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bindLate lets the kernel choose the port when it knows the destination: ports
// are then counted for each pair of addresses, and choosing one is quick.
func bindLate(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // or it binds early
	})
}
