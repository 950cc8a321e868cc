package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"carillon/engine/socketfile"
)

// unixPath is the path of an address that names a unix socket.
func unixPath(addr string) (path string, ok bool) { return strings.CutPrefix(addr, "unix:") }

// checkAddr refuses what nobody can listen on. What this machine cannot listen on is
// known when it tries.
func (c *config) checkAddr(name, addr string) error {
	if path, ok := unixPath(addr); ok {
		if path == "" || path[0] == '@' || len(path) > socketfile.MaxPath || strings.ContainsRune(path, 0) {
			return c.wrong(name, fmt.Sprintf("want unix: and the path of a file, of at most %d bytes", socketfile.MaxPath))
		}
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return c.wrong(name, "want host:port, such as 127.0.0.1:9991 or :9991, or unix:/path")
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return c.wrong(name, "want a port from 0 to 65535")
	}
	// That a host does not exist comes before that it may not be listened on.
	if _, err := netip.ParseAddr(host); host != "" && err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
		defer cancel()
		if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
			return c.cannotListen(name, addr, err)
		}
	}
	return nil
}

const lookupTimeout = 10 * time.Second

// private reports whether only this machine can connect to the address.
func private(addr string) bool {
	if _, ok := unixPath(addr); ok {
		return true
	}
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// listen is for the API's own listener; the engine has its own.
func listen(addr string, mode fs.FileMode) (net.Listener, error) {
	if path, ok := unixPath(addr); ok {
		ln, err := socketfile.Listen(path, mode)
		if err != nil {
			return nil, err // not ln, which would be an interface of nothing
		}
		return ln, nil
	}
	return net.Listen("tcp", addr)
}

// cannotListen says so in the operator's words.
func (c *config) cannotListen(name, addr string, err error) error {
	var dns *net.DNSError
	var why string
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		why = "unknown host " + printable(dns.Name)
	case errors.As(err, &dns):
		why = "unknown host " + printable(dns.Name) + ", or no name server knows at the moment: " + dns.Err
	case errors.Is(err, syscall.EADDRINUSE):
		why = "address already in use: another process listens there"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = "not an address of this machine"
	default:
		var sys *net.OpError
		if why = err.Error(); errors.As(err, &sys) {
			why = sys.Err.Error()
		}
	}
	return fmt.Errorf("%s: %s: %s", c.source(name), printable(addr), why)
}

// shown is a listener's address as the flags have it.
func shown(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// reachable is an address to connect to: what listens everywhere is also here.
func reachable(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok && t.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(t.Port))
	}
	return a.String()
}
