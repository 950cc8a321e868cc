//go:build unix

package engine

import (
	"sync"

	"github.com/lesismal/nbio"
)

// A writeWatch has a poller call drain of the clients whose sockets can be written to
// again. nbio watches for that only what waits in a queue of its own; so the
// descriptors are in a set of ours, which the poller watches like a connection. Only
// clients that do not keep up are in it.
type writeWatch struct {
	nc  *nbio.Conn // of the set, for the poller
	set int

	mu      sync.Mutex // guards the following; taken under nbio's lock of a connection
	clients map[int]*Client

	fds []int // the poller's
}

// writesPerTurn bounds how many clients are drained before the poller reads again.
const writesPerTurn = 64

// await puts c, whose descriptor is fd, into the set or takes it out. What is closed
// the kernel has taken out itself. False means that it could not be put in.
func (w *writeWatch) await(c *Client, fd int, on, closed bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on {
		if w.add(fd) != nil {
			return false
		}
		w.clients[fd] = c
		return true
	}
	if w.clients[fd] == c {
		delete(w.clients, fd)
		if !closed {
			w.remove(fd)
		}
	}
	return true
}

// run runs on the poller. An event may be that of a connection that had the number
// before: then its client has nothing to write, or cannot.
func (w *writeWatch) run() {
	w.fds = w.ready(w.fds[:0])
	for _, fd := range w.fds {
		w.mu.Lock()
		c := w.clients[fd]
		w.mu.Unlock()
		if c != nil {
			c.drain()
		}
	}
}

// close is for one that nbio has not, or not any more.
func (w *writeWatch) close() { _ = w.nc.Close() }
