package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"carillon/bench/stamp"
)

// A wire is what a connection's TLS reads and writes instead of a socket: what the
// poller has read, and what the connection sends. A goroutine of its own makes the
// handshake, and waits; from then on nothing waits, and all runs under the swarm's lock.
type wire struct {
	tls *tls.Conn
	c   *conn

	// Guarded by the swarm's lock.
	in    []byte     // that has come and is not read
	came  *sync.Cond // of in and ended; on the swarm's lock
	ended bool
	try   *attempt // of a connection that has ended in its handshake

	open bool // the handshake is done; set by its goroutine, with the lock
}

// secure begins TLS on a connection, on which head goes first.
func (c *conn) secure(config *tls.Config, head []byte) {
	w := &wire{c: c, came: sync.NewCond(&c.swarm.mu)}
	w.tls = tls.Client(w, config)
	c.wire = w
	go w.shake(head)
}

func (w *wire) shake(head []byte) {
	err := w.tls.Handshake()
	s := w.c.swarm
	s.mu.Lock()
	defer s.mu.Unlock()
	try := w.c.try
	if w.ended {
		try = w.try // the connection may be another one by now
	}
	switch {
	case err != nil:
		try.end(fmt.Errorf("TLS with %s: %w", s.cfg.Addr, err))
	case w.ended:
		try.fail("the server closed the connection after the TLS handshake")
	default:
		w.open = true
		w.c.send(head)
		err = w.decrypt(stamp.Now())
	}
	if err != nil && !w.ended {
		w.c.cut()
	}
}

// arrived takes what the poller has read.
func (w *wire) arrived(b []byte, now int64) error {
	w.in = append(w.in, b...)
	if !w.open {
		w.came.Signal()
		return nil
	}
	return w.decrypt(now)
}

// decrypt has the connection read what is in the records that have come whole.
func (w *wire) decrypt(now int64) error {
	s := w.c.swarm
	for {
		n, err := w.tls.Read(s.plain)
		if n > 0 {
			w.c.data(s.plain[:n], now)
		}
		if errors.Is(err, errNothing) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// end wakes the handshake.
func (w *wire) end() {
	w.ended, w.try = true, w.c.try
	w.came.Signal()
}

// nothing is the error of a read that would have to wait. It is one that package tls
// goes on after.
type nothing struct{}

var errNothing net.Error = nothing{}

func (nothing) Error() string   { return "nothing has come" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// Read is for package tls.
func (w *wire) Read(b []byte) (int, error) {
	if !w.open {
		w.came.L.Lock()
		defer w.came.L.Unlock()
		for len(w.in) == 0 && !w.ended {
			w.came.Wait()
		}
		if len(w.in) == 0 {
			return 0, io.EOF
		}
	}
	if len(w.in) == 0 {
		w.in = nil // an idle connection owns no buffer
		return 0, errNothing
	}
	n := copy(b, w.in)
	w.in = w.in[n:]
	return n, nil
}

// Write is for package tls.
func (w *wire) Write(b []byte) (int, error) {
	if !w.open {
		w.came.L.Lock()
		defer w.came.L.Unlock()
	}
	if w.ended {
		return 0, net.ErrClosed
	}
	w.c.put(b)
	return len(b), nil
}

// The rest of a net.Conn, of which package tls makes no use here.

func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return nil }
func (w *wire) RemoteAddr() net.Addr             { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
