package engine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// TLS is Go's own crypto/tls, on the event loop: to it a tlsStream is a connection
// whose reads time out when the poller has brought nothing more. A read that timed
// out can be taken up again (net.Conn's contract for deadlines), which leaves no
// goroutine to wait. That does not hold for its handshake: see tlsShake.

// A tlsStream is the TLS of one connection. What it reads from and writes to changes
// in the course of its life: tlsShake, tlsLoop, the socket when it is net/http's, and
// tlsLoop again if that gives it back.
type tlsStream struct {
	net.Conn // what lies below conn

	c    *Client
	conn *tls.Conn

	notified bool // close_notify was sent; guarded by Client.mu

	more bool // of what was read, some is to be decrypted in the client's next turn; the poller's
}

// startTLS is called before the first byte that may be TLS.
func (c *Client) startTLS() {
	if c.loop.e.tls == nil {
		return
	}
	c.tls = &tlsStream{c: c}
	c.tls.Conn = newTLSShake(c.tls)
}

// received takes bytes of the network, on the poller.
func (s *tlsStream) received(b []byte) {
	switch below := s.Conn.(type) {
	case *tlsShake:
		below.received(b)
	case *tlsLoop:
		below.in, below.kept = b, false
		s.decrypt(below)
	}
}

// hungUp reports whether the peer's FIN is to be kept for later.
func (s *tlsStream) hungUp() bool {
	h, ok := s.Conn.(*tlsShake)
	return ok && h.hungUp()
}

// carryOn decrypts what was left of the client's last turn.
func (s *tlsStream) carryOn() {
	if below, ok := s.Conn.(*tlsLoop); ok && s.more {
		s.decrypt(below)
	}
}

// end wakes a handshake whose socket is gone.
func (s *tlsStream) end() {
	if h, ok := s.Conn.(*tlsShake); ok {
		h.end()
	}
}

var tlsBuffers = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// decrypt handles what came, on the poller, as far as the client's share goes.
func (s *tlsStream) decrypt(below *tlsLoop) {
	buf := tlsBuffers.Get().(*[16 << 10]byte)
	defer tlsBuffers.Put(buf)
	c := s.c
	s.more = false
	for {
		c.mu.Lock()
		n, err := s.conn.Read(buf[:])
		c.mu.Unlock()
		if n > 0 {
			if c.received(buf[:n]); c.tls != s { // it is net/http's now
				return
			}
		}
		switch {
		case err == nil:
			if c.unread() || c.loop.did(1) { // a record of a byte costs as much as a frame
				if s.more = true; !below.kept {
					below.in, below.kept = bytes.Clone(below.in), true
				}
				return
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			below.in = nil
			return
		case err == io.EOF: // close_notify
			below.in = nil
			c.hungUp()
			return
		default: // it is no TLS: conn has sent the alert
			below.in = nil
			c.cut()
			return
		}
	}
}

// tlsBatch is how much is encrypted between two writes.
const tlsBatch = 64 << 10

// writeLocked encrypts b and writes it. Client.mu must be held.
func (s *tlsStream) writeLocked(b []byte) bool {
	below, ok := s.Conn.(*tlsLoop)
	if !ok {
		return false
	}
	below.batch = tlsBatches.Get().(*[]byte)
	defer func() {
		tlsBatches.Put(below.batch)
		below.batch = nil
	}()
	for len(b) > 0 {
		n := min(len(b), tlsBatch)
		*below.batch = (*below.batch)[:0]
		if _, err := s.conn.Write(b[:n]); err != nil || !s.c.writeWireLocked(*below.batch) {
			return false
		}
		b = b[n:]
	}
	return true
}

// tlsBatches are buffers for tlsBatch bytes, encrypted.
var tlsBatches = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}

// closeNotifyLocked tells the peer that nothing more comes. Client.mu must be held.
func (s *tlsStream) closeNotifyLocked() {
	if _, ok := s.Conn.(*tlsLoop); ok && !s.notified {
		s.notified = true
		_ = s.conn.CloseWrite()
	}
}

// A tlsLoop is what lies below TLS on the event loop. It is used with Client.mu held, by
// the poller to read and by everybody to write.
type tlsLoop struct {
	tlsSocket
	in    []byte  // from the network, not yet taken
	kept  bool    // in is not the poller's buffer
	batch *[]byte // gathers what is written, nil for writing through
}

// Read implements net.Conn. It does not block.
func (l *tlsLoop) Read(b []byte) (int, error) {
	if len(l.in) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, l.in)
	l.in = l.in[n:]
	return n, nil
}

// Write implements net.Conn. It does not block.
func (l *tlsLoop) Write(b []byte) (int, error) {
	if l.batch != nil {
		*l.batch = append(*l.batch, b...)
		return len(b), nil
	}
	// An answer of TLS's own, such as that to a request for new keys.
	if !l.c.controlRoomLocked(len(b)) || !l.c.writeWireLocked(b) {
		l.c.cut() // conn writes no more after this
		return 0, net.ErrClosed
	}
	return len(b), nil
}

// A tlsSocket is what of a net.Conn makes no difference on the event loop.
type tlsSocket struct{ c *Client }

// Close implements net.Conn.
func (tlsSocket) Close() error { return nil }

// LocalAddr implements net.Conn.
func (s tlsSocket) LocalAddr() net.Addr { return s.c.loop.e.sockets.localAddr(s.c) }

// RemoteAddr implements net.Conn.
func (s tlsSocket) RemoteAddr() net.Addr { return s.c.RemoteAddr() }

// SetDeadline implements net.Conn.
func (tlsSocket) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (tlsSocket) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (tlsSocket) SetWriteDeadline(time.Time) error { return nil }
