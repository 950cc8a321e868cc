package engine

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
)

const (
	// maxHTTPConns bounds the connections handed to net/http that are open at once: a
	// goroutine and some 20 KB each. maxHTTPPerIP is how many of them one address may
	// have; one that is over, or newcomers when all are taken, get the place of one that
	// waits for a request, if there is any.
	maxHTTPConns = 1024
	maxHTTPPerIP = maxHTTPConns / 2
)

// handOver gives a connection that does not ask for the WebSocket path to the
// listener HTTP, with the bytes that were read of it. parseErr is why it is no
// request, if it is none; net/http knows how to answer that.
func (c *Client) handOver(b []byte, parseErr error) {
	e := c.loop.e
	if !e.opts.ServeHTTP || c.hs.Load().returned { // net/http thought that it was for Options.Path
		if parseErr == nil {
			parseErr = &RefuseError{Status: 404, Code: CodeBadParameter, Field: "path", Detail: DetailPath(e.opts.Path)}
		}
		c.refuse(parseErr, "path")
		return
	}
	if over := c.hs.Load().over; over != "" {
		c.refuse(errTooMany, over)
		return
	}
	h := &handed{c: c, ip: c.remote().Addr()}
	if !e.http.reserve(h) {
		c.refuse(errOverloaded, "http connections")
		return
	}
	c.mu.Lock()
	c.flags |= flagHanded
	h.tls, c.tls = c.tls, nil
	if c.out != nil { // the end of a TLS handshake
		h.unsent = bytes.Clone(c.out.unsent())
	}
	c.mu.Unlock()
	var err error
	if h.fd, err = c.takeOut(); err != nil {
		c.keep(h, err)
		return
	}
	h.read = bytes.Clone(b)
	if h.tls != nil {
		h.encrypted = bytes.Clone(h.tls.Conn.(*tlsLoop).in)
	}
	e.http.queue <- h // there is room for each that reserved
}

// keep refuses a connection that could not be taken out.
func (c *Client) keep(h *handed, err error) {
	e := c.loop.e
	e.http.leave(h)
	c.mu.Lock()
	c.flags &^= flagHanded
	c.tls = h.tls
	c.mu.Unlock()
	if errors.Is(err, net.ErrClosed) {
		e.untrack(c) // disconnected may have left that to net/http
		return
	}
	c.refuse(errOverloaded, e.notMoved(err))
}

// notMoved is the label of a connection that cannot go to net/http or come back. None is
// for one that has ended, or is to, anyway.
func (e *Engine) notMoved(err error) (label string) {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return labelDescriptors
	case errors.Is(err, net.ErrClosed), errors.Is(err, ErrShutdown):
		return ""
	}
	e.log.Error().Err(err).Msg("cannot move a connection between the event loop and net/http")
	return labelInternal
}

// count counts what notMoved has a label for.
func (e *Engine) count(label string) {
	if label != "" {
		e.refused.add(label)
	}
}

// handed is a connection at net/http, or on its way there.
type handed struct {
	c         *Client
	ip        netip.Addr
	fd        int
	read      []byte // what of it was read already
	unsent    []byte // what is to be written first
	tls       *tlsStream
	encrypted []byte // what was read below TLS

	// Guarded by httpListener.mu.
	left bool
	conn *handedConn // once accepted
	idle bool        // waits for a request
}

// An httpListener is a net.Listener of handed connections.
type httpListener struct {
	e      *Engine
	addr   net.Addr
	queue  chan *handed
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex // guards the following fields
	all   map[*handed]struct{}
	perIP map[netip.Addr]int
}

func newHTTPListener(e *Engine) *httpListener {
	return &httpListener{e: e, queue: make(chan *handed, maxHTTPConns), closed: make(chan struct{}),
		all: map[*handed]struct{}{}, perIP: map[netip.Addr]int{}}
}

// reserve takes a place for h. False means that there is none.
func (l *httpListener) reserve(h *handed) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	tooMany := l.perIP[h.ip] >= maxHTTPPerIP && !l.e.trusts(h.ip) && !isUnix(h.ip)
	if (tooMany || len(l.all) >= maxHTTPConns) && !l.makeRoomLocked(h.ip, tooMany) {
		return false
	}
	l.all[h] = struct{}{}
	l.perIP[h.ip]++
	return true
}

// makeRoomLocked closes a connection that waits for a request: one of ip, or any.
func (l *httpListener) makeRoomLocked(ip netip.Addr, ofIP bool) bool {
	for h := range l.all {
		if h.idle && (!ofIP || h.ip == ip) {
			l.leaveLocked(h)
			_ = h.conn.socket().Close() // TLS would wait to say good-bye
			return true
		}
	}
	return false
}

func (l *httpListener) leave(h *handed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveLocked(h)
}

// leaveLocked gives back h's place.
func (l *httpListener) leaveLocked(h *handed) {
	if h.left {
		return
	}
	h.left = true
	delete(l.all, h)
	if l.perIP[h.ip]--; l.perIP[h.ip] == 0 {
		delete(l.perIP, h.ip)
	}
}

var errNoHTTP = errors.New("engine: HTTP: Options.ServeHTTP is not set, so that no connection would ever come")

// Accept implements net.Listener.
func (l *httpListener) Accept() (net.Conn, error) {
	if !l.e.opts.ServeHTTP {
		return nil, errNoHTTP
	}
	for {
		select {
		case <-l.closed:
			return nil, http.ErrServerClosed // which an http.Server's Serve returns as it is
		case h := <-l.queue:
			conn, err := l.open(h)
			if err != nil {
				l.leave(h)
				l.e.untrack(h.c)
				l.e.count(l.e.notMoved(err))
				continue
			}
			return conn, nil
		}
	}
}

func (l *httpListener) open(h *handed) (net.Conn, error) {
	file := os.NewFile(uintptr(h.fd), "http")
	defer file.Close()
	socket, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	c := &handedConn{h: h, l: l}
	if h.tls != nil {
		h.tls.Conn = &prefixConn{Conn: socket, read: h.encrypted, unsent: h.unsent}
		c.prefixConn = &prefixConn{Conn: h.tls.conn, read: h.read}
	} else {
		c.prefixConn = &prefixConn{Conn: socket, read: h.read, unsent: h.unsent}
	}
	h.read, h.encrypted, h.unsent = nil, nil, nil
	c.tcp, _ = socket.(interface {
		net.Conn
		syscall.Conn
		CloseWrite() error
	})
	l.mu.Lock()
	h.conn = c
	l.mu.Unlock()
	return c, nil
}

// Close implements net.Listener.
func (l *httpListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	for {
		select {
		case h := <-l.queue: // nobody will accept it
			_ = syscall.Close(h.fd)
			l.leave(h)
			l.e.untrack(h.c)
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (l *httpListener) Addr() net.Addr { return l.addr }

// A handedConn is a connection of the listener HTTP.
type handedConn struct {
	*prefixConn
	tcp interface {
		net.Conn
		syscall.Conn
		CloseWrite() error
	}
	h    *handed
	l    *httpListener
	once sync.Once
}

func (c *handedConn) socket() net.Conn { return c.tcp }

// RemoteAddr implements net.Conn. It is whom a trusted proxy says that it is from.
func (c *handedConn) RemoteAddr() net.Addr { return c.h.c.RemoteAddr() }

// CloseWrite sends FIN, behind TLS's own goodbye. net/http looks for it: without, it
// waits for half a second instead.
func (c *handedConn) CloseWrite() error {
	if c.h.tls != nil {
		_ = c.h.tls.conn.CloseWrite()
	}
	return c.tcp.CloseWrite()
}

// Write implements net.Conn. Who calls without a pause does not keep a processor from the
// pollers: Go would let it for ten milliseconds.
func (c *handedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	runtime.Gosched()
	return n, err
}

// SetIdle says whether the connection waits for its next request: then it may be closed
// to make room for another. An http.Server tells by its ConnState. It may be called from
// any goroutine.
func (c *handedConn) SetIdle(idle bool) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.h.idle = idle
}

// Close implements net.Conn.
func (c *handedConn) Close() error {
	c.once.Do(func() {
		c.l.leave(c.h)
		c.l.e.untrack(c.h.c)
	})
	return c.prefixConn.Close()
}

// A prefixConn reads first what was read before, and writes first what was to be
// written before.
type prefixConn struct {
	net.Conn
	read, unsent []byte
}

// Read implements net.Conn.
func (c *prefixConn) Read(b []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(b, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// Write implements net.Conn.
func (c *prefixConn) Write(b []byte) (int, error) {
	if len(c.unsent) > 0 {
		if _, err := c.Conn.Write(c.unsent); err != nil {
			return 0, err
		}
		c.unsent = nil
	}
	return c.Conn.Write(b)
}
