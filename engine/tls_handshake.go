package engine

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

const (
	// maxTLSHandshakes bounds the goroutines, maxTLSWaiting who waits for one.
	maxTLSHandshakes = 4096
	maxTLSWaiting    = 1 << 16
	// tlsAhead is what is read of one client while its handshake runs, until that has
	// used it. The rest waits in the kernel.
	tlsAhead = 64 << 10
	// tlsStall is how many ticks a handshake may take while others wait for its goroutine.
	tlsStall = 2

	tlsRecordHeader    = 5
	tlsRecordHandshake = 22
	maxTLSRecord       = 16 << 10 // of plain text; conn refuses a longer ClientHello by its header
)

// A tlsShake is what lies below TLS during its handshake, which has a goroutine, once the
// whole ClientHello is there: who sends none costs none. The poller brings what it reads.
type tlsShake struct {
	tlsSocket
	s *tlsStream

	mu      sync.Mutex // guards the following fields
	more    *sync.Cond // signals in, ended or gone
	in      []byte
	started bool
	paused  bool // the poller does not read
	ended   bool // the peer's FIN came behind in
	gone    bool
}

func newTLSShake(s *tlsStream) *tlsShake {
	h := &tlsShake{tlsSocket: tlsSocket{s.c}, s: s}
	h.more = sync.NewCond(&h.mu)
	return h
}

// received takes bytes of the network, on the poller.
func (h *tlsShake) received(b []byte) {
	c := h.c
	h.mu.Lock()
	h.in = append(h.in, b...)
	h.more.Signal()
	in := h.in
	if h.started && len(h.in) > tlsAhead {
		h.pauseLocked()
	}
	starts := false
	if !h.started && h.in[0] == tlsRecordHandshake {
		h.started = len(h.in) >= tlsRecordHeader && len(h.in) >= tlsRecordHeader+min(maxTLSRecord, int(binary.BigEndian.Uint16(h.in[3:])))
		starts = h.started
	}
	noTLS := h.in[0] != tlsRecordHandshake && !h.started
	h.mu.Unlock()
	if hs := c.hs.Load(); hs != nil {
		c.loop.e.gathered(hs, in)
	}
	switch {
	case noTLS:
		c.mu.Lock()
		c.tls = nil
		c.mu.Unlock()
		c.hs.Load().noBody = asksHEAD(h.in)
		c.refuse(&RefuseError{Status: 400, Code: CodeConnectFailed, Detail: "this port speaks TLS: use wss:// or https://"}, "no tls")
	case starts && !c.loop.e.shakeHands(h):
		c.giveUp(labelTLSHandshakes)
	}
}

const labelTLSHandshakes = "tls handshakes"

func (h *tlsShake) pauseLocked() {
	if !h.paused {
		h.paused = true
		h.c.loop.e.sockets.listen(h.c, false)
	}
}

// hungUp notes the peer's FIN, which comes behind the rest of the handshake. False
// means that there is no handshake to end.
func (h *tlsShake) hungUp() bool {
	deaf := h.c.deaf() // then the FIN is our own doing
	h.mu.Lock()
	defer h.mu.Unlock()
	if deaf || !h.started || h.gone {
		return false
	}
	h.ended = true
	h.pauseLocked()
	h.more.Signal()
	return true
}

// end wakes a handshake whose socket is gone.
func (h *tlsShake) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	h.more.Signal()
}

// shakeHands runs the handshake h, or has it wait for a goroutine. False means
// that too many wait.
func (e *Engine) shakeHands(h *tlsShake) bool {
	if e.tlsRunning.Add(1) > maxTLSHandshakes {
		e.tlsRunning.Add(-1)
		select {
		case e.tlsWaiting <- h:
			return true
		default:
			return false
		}
	}
	e.wg.Go(func() {
		for {
			h.run()
			select {
			case h = <-e.tlsWaiting:
			default:
				e.tlsRunning.Add(-1)
				return
			}
		}
	})
	return true
}

// endStalled runs once a tick: while handshakes wait for a goroutine, as many of those
// that have one for some time, and wait for their peer, lose it. Otherwise a few thousand
// that send a ClientHello and no more, or go on byte by byte, would keep everybody out.
func (e *Engine) endStalled() {
	n := len(e.tlsWaiting)
	for h, since := range e.tlsStalled.Range {
		if n == 0 {
			return
		}
		if e.tickNow()-since.(uint32) > tlsStall {
			n--
			h.(*tlsShake).c.giveUp(labelTLSHandshakes)
		}
	}
}

// run runs on a goroutine of shakeHands. The wheel ends it in time.
func (h *tlsShake) run() {
	e := h.c.loop.e
	e.tlsStalled.Store(h, e.tickNow())
	h.s.conn = tls.Server(h.s, e.tls)
	err := h.s.conn.Handshake()
	e.tlsStalled.Delete(h)
	if err != nil {
		e.log.Debug().Err(err).Stringer("remote", h.c.RemoteAddr()).Msg("TLS handshake failed")
		if errors.Is(err, net.ErrClosed) { // that has been counted, or is the peer's doing
			h.c.cut()
		} else {
			h.c.giveUp("tls")
		}
		return
	}
	h.c.loop.waker.call(h.resume)
}

// resume runs on the poller when the handshake is over.
func (h *tlsShake) resume() {
	c := h.c
	h.mu.Lock()
	in, paused, ended := h.in, h.paused, h.ended
	h.mu.Unlock()
	below := &tlsLoop{tlsSocket: h.tlsSocket, in: in}
	c.mu.Lock()
	h.s.Conn = below
	c.mu.Unlock()
	if hs := c.hs.Load(); hs != nil {
		c.loop.e.backlog.set(&hs.holding, 0)
	}
	if paused && !ended {
		c.loop.e.sockets.listen(c, true)
	}
	c.loop.beginTurn()
	h.s.decrypt(below)
	if ended && c.tls != nil {
		c.hungUp()
	}
	c.loop.endTurn(c)
}

// Read implements net.Conn. It waits for the poller.
func (h *tlsShake) Read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.in) == 0 && !h.ended && !h.gone {
		h.more.Wait()
	}
	switch {
	case h.gone:
		return 0, net.ErrClosed
	case len(h.in) == 0:
		return 0, io.EOF
	}
	n := copy(b, h.in)
	h.in = h.in[n:]
	return n, nil
}

// Write implements net.Conn. It does not block.
func (h *tlsShake) Write(b []byte) (int, error) {
	h.c.mu.Lock()
	ok := h.c.writeWireLocked(b)
	h.c.mu.Unlock()
	if !ok {
		h.c.cut() // conn writes no more after this
		return 0, net.ErrClosed
	}
	return len(b), nil
}
