package engine

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// TLS is Go's own crypto/tls, on the event loop: to it a tlsStream is a connection
// whose reads time out when the poller has brought nothing more. A read that timed
// out can be taken up again (net.Conn's contract for deadlines), which leaves no
// goroutine to wait. That does not hold for its handshake: each runs on a
// goroutine, once the whole ClientHello is there, so that who sends none costs none.

const (
	// maxTLSHandshakes bounds the goroutines, maxTLSWaiting who waits for one.
	maxTLSHandshakes = 4096
	maxTLSWaiting    = 1 << 16
	// maxTLSParked bounds what one client sends until the poller hears that its
	// handshake is over, such as the body of a request, and maxTLSParkedTotal what all
	// do, without those who sent tlsParkedFree at most: that is enough for a handshake,
	// which others must not be able to prevent.
	maxTLSParked      = 1 << 20
	maxTLSParkedTotal = 64 << 20
	tlsParkedFree     = 8 << 10
	// tlsBatch is how much is encrypted between two writes.
	tlsBatch = 64 << 10

	tlsRecordHeader    = 5
	tlsRecordHandshake = 22
	maxTLSRecord       = 16 << 10 // of plain text; conn refuses a longer ClientHello by its header
)

// A tlsStream is the TLS of one connection. After the handshake its conn is used
// with Client.mu held, by the poller to read and by everybody to write.
type tlsStream struct {
	c    *Client
	conn *tls.Conn
	in   []byte // from the network, not yet taken by conn

	batch    *[]byte  // gathers what conn writes, nil for writing through
	plain    bool     // the peer does not speak TLS: an answer without is on its way
	notified bool     // close_notify was sent
	leaving  bool     // on its way to net/http; the poller's
	handed   net.Conn // the socket, once net/http has it

	shake atomic.Pointer[tlsHandshake] // nil once it is over
}

// A tlsHandshake is what the poller and the handshake's goroutine share.
type tlsHandshake struct {
	mu      sync.Mutex // guards the following fields
	more    *sync.Cond // signals in or gone
	in      []byte
	parked  int64 // bytes that came
	started bool
	gone    bool
}

// startTLS is called before the first byte that may be TLS.
func (c *Client) startTLS() {
	if c.loop.e.tls == nil {
		return
	}
	h := new(tlsHandshake)
	h.more = sync.NewCond(&h.mu)
	c.tls = &tlsStream{c: c}
	c.tls.shake.Store(h)
}

// received takes bytes of the network, on the poller.
func (s *tlsStream) received(b []byte) {
	h := s.shake.Load()
	switch {
	case s.plain:
		return
	case h == nil:
		s.in = b
		s.decrypt()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return
	}
	h.in = append(h.in, b...)
	h.more.Signal()
	h.parked += int64(len(b))
	total := s.c.loop.e.tlsParked.Add(int64(len(b)))
	switch {
	case h.parked > maxTLSParked || h.parked > tlsParkedFree && total > maxTLSParkedTotal:
		h.gone = true
		s.c.loop.e.refused.add("early data")
		s.c.cut()
	case h.started:
	case h.in[0] != tlsRecordHandshake:
		s.plain = true
		s.c.hs.Load().noBody = asksHEAD(h.in)
		s.c.refuse(&RefuseError{Status: 400, Code: CodeConnectFailed, Detail: "this port speaks TLS: use wss:// or https://"}, "no tls")
	case len(h.in) >= tlsRecordHeader && len(h.in) >= tlsRecordHeader+min(maxTLSRecord, int(binary.BigEndian.Uint16(h.in[3:]))):
		h.started = true
		if !s.c.loop.e.shakeHands(s) {
			s.c.loop.e.refused.add("tls handshakes")
			s.c.cut()
		}
	}
}

// shakeHands runs the handshake of s, or has it wait for a goroutine. False means
// that too many wait.
func (e *Engine) shakeHands(s *tlsStream) bool {
	if e.tlsRunning.Add(1) > maxTLSHandshakes {
		e.tlsRunning.Add(-1)
		select {
		case e.tlsWaiting <- s:
			return true
		default:
			return false
		}
	}
	e.wg.Go(func() {
		for {
			s.handshake()
			select {
			case s = <-e.tlsWaiting:
			default:
				e.tlsRunning.Add(-1)
				return
			}
		}
	})
	return true
}

// endStalled runs once a tick: while handshakes wait for a goroutine, as many of those
// that have one but have heard nothing for a second lose it. Otherwise a few thousand
// that send a ClientHello and no more would keep everybody out.
func (e *Engine) endStalled() {
	n := len(e.tlsWaiting)
	for s, since := range e.tlsStalled.Range {
		if n == 0 {
			return
		}
		if e.tickNow()-since.(uint32) > 1 {
			n--
			e.refused.add("tls handshakes")
			s.(*tlsStream).c.cut()
		}
	}
}

// handshake runs on a goroutine of shakeHands. The wheel ends it in time.
func (s *tlsStream) handshake() {
	e := s.c.loop.e
	s.conn = tls.Server(s, e.tls)
	if err := s.conn.Handshake(); err != nil {
		if !errors.Is(err, net.ErrClosed) { // that has been counted, or is the peer's doing
			e.refused.add("tls")
		}
		e.log.Debug().Err(err).Stringer("remote", s.c.remote()).Msg("TLS handshake failed")
		s.c.cut()
		return
	}
	s.c.loop.waker.call(s.resume)
}

// resume runs on the poller when the handshake is over.
func (s *tlsStream) resume() {
	h := s.shake.Load()
	h.mu.Lock()
	s.in = h.in
	s.unparkLocked(h)
	h.mu.Unlock()
	s.shake.Store(nil)
	s.decrypt()
}

// end wakes a handshake whose socket is gone.
func (s *tlsStream) end() {
	if h := s.shake.Load(); h != nil {
		h.mu.Lock()
		h.gone = true
		h.more.Signal()
		s.unparkLocked(h)
		h.mu.Unlock()
	}
}

func (s *tlsStream) unparkLocked(h *tlsHandshake) {
	s.c.loop.e.tlsParked.Add(-h.parked)
	h.parked = 0
}

var tlsBuffers = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// decrypt handles what is in s.in, on the poller.
func (s *tlsStream) decrypt() {
	buf := tlsBuffers.Get().(*[16 << 10]byte)
	defer tlsBuffers.Put(buf)
	for {
		s.c.mu.Lock()
		n, err := s.conn.Read(buf[:])
		s.c.mu.Unlock()
		if n > 0 {
			s.c.received(buf[:n])
		}
		switch {
		case s.leaving:
			return
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.in = nil // it was the poller's buffer
			return
		default: // close_notify, or what is no TLS: conn has sent the alert
			s.in = nil
			s.c.cut()
			return
		}
	}
}

// writeLocked encrypts b and writes it. Client.mu must be held.
func (s *tlsStream) writeLocked(b []byte) bool {
	s.batch = tlsBatches.Get().(*[]byte)
	defer func() {
		tlsBatches.Put(s.batch)
		s.batch = nil
	}()
	for len(b) > 0 {
		n := min(len(b), tlsBatch)
		*s.batch = (*s.batch)[:0]
		if _, err := s.conn.Write(b[:n]); err != nil || !s.c.writeWireLocked(*s.batch) {
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
	if !s.plain && !s.notified {
		s.notified = true
		_ = s.conn.CloseWrite()
	}
}

// Read implements net.Conn for conn.
func (s *tlsStream) Read(b []byte) (int, error) {
	if h := s.shake.Load(); h != nil {
		return s.readHandshake(h, b)
	}
	if len(s.in) == 0 {
		if s.handed != nil {
			return s.handed.Read(b)
		}
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, s.in)
	s.in = s.in[n:]
	return n, nil
}

// readHandshake waits for the poller.
func (s *tlsStream) readHandshake(h *tlsHandshake, b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.in) == 0 {
		e := s.c.loop.e
		e.tlsStalled.Store(s, e.tickNow())
		defer e.tlsStalled.Delete(s)
	}
	for len(h.in) == 0 && !h.gone {
		h.more.Wait()
	}
	if len(h.in) == 0 {
		return 0, net.ErrClosed
	}
	n := copy(b, h.in)
	h.in = h.in[n:]
	return n, nil
}

// Write implements net.Conn for conn. It does not block.
func (s *tlsStream) Write(b []byte) (int, error) {
	ok := true
	switch {
	case s.handed != nil:
		return s.handed.Write(b)
	case s.batch != nil:
		*s.batch = append(*s.batch, b...)
	case s.shake.Load() != nil:
		s.c.mu.Lock()
		ok = s.c.writeWireLocked(b)
		s.c.mu.Unlock()
	default:
		// An answer of conn's own, such as that to a request for new keys.
		ok = s.c.controlRoomLocked(len(b)) && s.c.writeWireLocked(b)
	}
	if !ok {
		s.c.cut() // conn writes no more after this
		return 0, net.ErrClosed
	}
	return len(b), nil
}

// Close implements net.Conn for conn.
func (s *tlsStream) Close() error {
	if s.handed != nil {
		return s.handed.Close()
	}
	return nil
}

// LocalAddr implements net.Conn for conn.
func (s *tlsStream) LocalAddr() net.Addr {
	if s.handed != nil {
		return s.handed.LocalAddr()
	}
	return s.c.loop.e.sockets.localAddr(s.c)
}

// RemoteAddr implements net.Conn for conn.
func (s *tlsStream) RemoteAddr() net.Addr { return s.c.RemoteAddr() }

// SetDeadline implements net.Conn for conn.
func (s *tlsStream) SetDeadline(t time.Time) error {
	if s.handed != nil {
		return s.handed.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline implements net.Conn for conn.
func (s *tlsStream) SetReadDeadline(t time.Time) error {
	if s.handed != nil {
		return s.handed.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline implements net.Conn for conn.
func (s *tlsStream) SetWriteDeadline(t time.Time) error {
	if s.handed != nil {
		return s.handed.SetWriteDeadline(t)
	}
	return nil
}
