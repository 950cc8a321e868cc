package client

import "golang.org/x/sys/unix"

func newSocket(family int) (fd int, err error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// bindLate lets the kernel choose the port when it knows the destination: ports
// are then counted for each pair of addresses, and choosing one is quick.
func bindLate(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // or it binds early
}
