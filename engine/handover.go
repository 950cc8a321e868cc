package engine

import (
	"crypto/tls"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// maxHTTPConns bounds the connections handed to net/http that are open at once: a
// goroutine and some 20 KB each.
const maxHTTPConns = 1024

// handOver gives a connection that does not ask for the WebSocket path to the
// listener HTTP, with the bytes that were read of it. parseErr is why it is no
// request, if it is none; net/http knows how to answer that.
func (c *Client) handOver(b []byte, parseErr error) {
	e := c.loop.e
	if !e.opts.ServeHTTP {
		if parseErr == nil {
			parseErr = &RefuseError{Status: 404, Code: CodeConnectFailed, Detail: "WebSocket clients connect to " + e.opts.Path}
		}
		c.refuse(parseErr, "path")
		return
	}
	if !e.http.reserve() {
		c.refuse(errOverloaded, "http connections")
		return
	}
	fd, err := takeOut(c.nc)
	if err != nil {
		e.http.open.Add(-1)
		e.refused.add(labelDescriptors)
		return
	}
	if c.tls != nil {
		c.tls.leaving, c.tls.in = true, slices.Clone(c.tls.in)
	}
	e.http.queue <- handed{fd, slices.Clone(b), c.tls} // there is room for each that reserved
}

// handed is a connection on its way to net/http.
type handed struct {
	fd   int
	read []byte     // what of it was read already
	tls  *tlsStream // nil without TLS
}

// An httpListener is a net.Listener of handed connections.
type httpListener struct {
	addr   net.Addr
	queue  chan handed
	open   atomic.Int64
	closed chan struct{}
	once   sync.Once
}

func newHTTPListener() *httpListener {
	return &httpListener{queue: make(chan handed, maxHTTPConns), closed: make(chan struct{})}
}

func (l *httpListener) reserve() bool {
	if l.open.Add(1) > maxHTTPConns {
		l.open.Add(-1)
		return false
	}
	return true
}

// Accept implements net.Listener.
func (l *httpListener) Accept() (net.Conn, error) {
	for {
		select {
		case <-l.closed:
			return nil, net.ErrClosed
		case h := <-l.queue:
			file := os.NewFile(uintptr(h.fd), "http")
			conn, err := net.FileConn(file)
			_ = file.Close()
			if err != nil {
				l.open.Add(-1)
				continue
			}
			if h.tls != nil {
				h.tls.handed = conn
				conn = h.tls.conn
			}
			return &handedConn{Conn: conn, read: h.read, l: l}, nil
		}
	}
}

// Close implements net.Listener.
func (l *httpListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	for {
		select {
		case h := <-l.queue: // nobody will accept it
			_ = syscall.Close(h.fd)
			l.open.Add(-1)
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (l *httpListener) Addr() net.Addr { return l.addr }

// A handedConn gives back first what was read of the connection before.
type handedConn struct {
	net.Conn
	read []byte
	l    *httpListener
	once sync.Once
}

// Read implements net.Conn.
func (c *handedConn) Read(b []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(b, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite sends FIN, behind what was written; net/http asks for it when it ends a
// connection whose peer still sends.
func (c *handedConn) CloseWrite() error {
	socket := c.Conn
	if t, ok := socket.(*tls.Conn); ok {
		if err := t.CloseWrite(); err != nil {
			return err
		}
		socket = t.NetConn().(*tlsStream).handed
	}
	return socket.(*net.TCPConn).CloseWrite()
}

// Close implements net.Conn.
func (c *handedConn) Close() error {
	c.once.Do(func() { c.l.open.Add(-1) })
	return c.Conn.Close()
}
