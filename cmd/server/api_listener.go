package main

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine/proxied"
)

// fromProxies has the connections of ln begin with a header of the PROXY protocol, if
// they are of trusted proxies and it is there: RemoteAddr is then what it says. Others
// that begin with one are refused, as the engine does at its own listener.
func fromProxies(ln net.Listener, trusted []netip.Prefix, trustUnix bool, log zerolog.Logger) net.Listener {
	return &proxiedListener{Listener: ln, trusted: trusted, trustUnix: trustUnix, log: log}
}

type proxiedListener struct {
	net.Listener
	trusted   []netip.Prefix
	trustUnix bool // who connects to a unix socket
	log       zerolog.Logger
	warn      sync.Once // of a proxy that is not trusted
}

// Accept implements net.Listener. It does not wait for the header.
func (l *proxiedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &proxiedConn{Conn: conn, l: l}
	switch a := conn.RemoteAddr().(type) {
	case *net.TCPAddr:
		c.trusted = proxied.Among(l.trusted, a.AddrPort().Addr())
	case *net.UnixAddr:
		c.trusted = l.trustUnix
	}
	return c, nil
}

// A proxiedConn takes the header off its connection when it is first read, or asked
// whom it is from.
type proxiedConn struct {
	net.Conn
	l       *proxiedListener
	trusted bool

	once sync.Once // sets the following fields
	from net.Addr  // as the header says; nil if it does not
	read []byte    // what came behind it; then the reader's
	err  error
}

// headerTimeout is what a trusted proxy has to begin in: who asks for RemoteAddr sets
// no deadline.
const headerTimeout = 10 * time.Second

var (
	errUntrustedProxy = errors.New("a PROXY header, and not of a trusted proxy")
	errProxyHeader    = errors.New("want a PROXY header of version 1 or 2, or none")
)

// begin reads until it is known whether there is a header.
func (c *proxiedConn) begin() {
	var b []byte
	chunk := make([]byte, 4<<10)
	for {
		n, err := c.Conn.Read(chunk)
		b = append(b, chunk[:n]...)
		h, size, parseErr := proxied.ParseHeader(b)
		switch {
		case h.Version != 0 && !c.trusted:
			c.l.warn.Do(func() {
				c.l.log.Warn().Stringer("remote", c.Conn.RemoteAddr()).
					Msg("-api-addr: a PROXY header from a peer that is not trusted is refused, and so are all to come, without a word here: if it is your proxy, name it in -trusted-proxies")
			})
			c.err = errUntrustedProxy
			return
		case parseErr == proxied.ErrMalformed:
			c.err = errProxyHeader
			return
		case parseErr == proxied.ErrIncomplete && err == nil: // at most proxied.MaxHeader
			continue
		case parseErr == nil && h.From.IsValid():
			c.from = net.TCPAddrFromAddrPort(h.From)
		}
		c.read, c.err = b[size:], err
		return
	}
}

// Read implements net.Conn.
func (c *proxiedConn) Read(b []byte) (int, error) {
	c.once.Do(c.begin)
	if len(c.read) > 0 {
		n := copy(b, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(b)
}

// RemoteAddr implements net.Conn. Of a trusted proxy it waits for the header.
func (c *proxiedConn) RemoteAddr() net.Addr {
	if !c.trusted {
		return c.Conn.RemoteAddr()
	}
	c.once.Do(func() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(headerTimeout))
		c.begin()
		_ = c.Conn.SetReadDeadline(time.Time{})
	})
	if c.from != nil {
		return c.from
	}
	return c.Conn.RemoteAddr()
}

// CloseWrite lets net/http end its side first, so that an answer arrives.
func (c *proxiedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
