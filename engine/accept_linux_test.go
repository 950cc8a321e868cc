package engine

import (
	"net"
	"os"
	"testing"
)

// An unwatchableConn has the descriptor of a file, which epoll does not take.
type unwatchableConn struct{ *os.File }

func (unwatchableConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func (c unwatchableConn) RemoteAddr() net.Addr { return c.LocalAddr() }

// Connections that the event loop does not take are counted out once.
func TestUnwatchable(t *testing.T) {
	e := newEngine(t, Options{MaxPerIP: 100})
	const n = 3
	for range n {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		e.add(unwatchableConn{f})
	}
	shutdown(t, e)
	if got := e.conns.Load(); got != 0 {
		t.Errorf("%d sockets are counted", got)
	}
	for ip, count := range e.addrs.byIP {
		if count.open != 0 {
			t.Errorf("%v counts as %+v", ip, count)
		}
	}
	if got := e.Stats().Refused[labelDescriptors]; got != n {
		t.Errorf("%d refused, want %d", got, n)
	}
}
