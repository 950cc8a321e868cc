package main

import (
	"bytes"
	"io"
	"net"
	"os"
)

// A handListener gives net/http connections whose first bytes were read already.
type handListener struct {
	net.Listener // the loops accept from it
	conns        chan net.Conn
	closed       chan struct{}
}

func (l *handListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *handListener) Close() error {
	close(l.closed)
	return l.Listener.Close()
}

// hand takes over fd, of which head was read.
func (l *handListener) hand(fd int, head []byte) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return
	}
	select {
	case l.conns <- &handedConn{c, io.MultiReader(bytes.NewReader(head), c)}:
	case <-l.closed:
		c.Close()
	}
}

type handedConn struct {
	net.Conn
	all io.Reader
}

func (c *handedConn) Read(p []byte) (int, error) { return c.all.Read(p) }
