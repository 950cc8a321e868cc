package client

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// resolve makes a socket address of host:port.
func resolve(addr string) (unix.Sockaddr, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	if ip := a.IP.To4(); ip != nil {
		return &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}, nil
	}
	if len(a.IP) != net.IPv6len {
		return nil, fmt.Errorf("%q: want host:port", addr)
	}
	sa := &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP)}
	if a.Zone != "" {
		ifi, err := net.InterfaceByName(a.Zone)
		if err != nil {
			return nil, err
		}
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa, nil
}

// source is the address that connection number n comes from; nil if the system is
// to choose.
func (c *Config) source(n uint32) *unix.SockaddrInet4 {
	if c.Sources == 0 {
		return nil
	}
	n = n%uint32(c.Sources) + 2
	return &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(n >> 8), byte(n)}}
}

// connectTo begins a connection, which may not be complete when it returns. package
// net takes twice as many system calls, and a goroutine that waits.
func connectTo(to unix.Sockaddr, from *unix.SockaddrInet4) (fd int, err error) {
	family := unix.AF_INET
	switch a := to.(type) { // package unix writes to it, and others connect at the same time
	case *unix.SockaddrInet4:
		own := *a
		to = &own
	case *unix.SockaddrInet6:
		own := *a
		to, family = &own, unix.AF_INET6
	}
	if fd, err = newSocket(family); err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if from != nil && family == unix.AF_INET {
		bindLate(fd)
		err = os.NewSyscallError("bind", unix.Bind(fd, from))
	}
	if err == nil {
		if err = unix.Connect(fd, to); err == unix.EINPROGRESS || err == unix.EINTR {
			err = nil
		}
		err = os.NewSyscallError("connect", err)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// canWait says that a system call would have had to wait.
func canWait(err error) bool { return err == syscall.EAGAIN || err == syscall.EINTR }
