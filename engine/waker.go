//go:build unix

package engine

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/lesismal/nbio"
)

// A waker has a poller run functions, which nbio offers no way for: a socket pair
// of which the poller watches one end. A byte written to the other end wakes it.
type waker struct {
	nc *nbio.Conn // the end that the poller watches
	fd int        // the end that is written to

	once sync.Once
	read sync.WaitGroup // done when the poller has read for the first time

	mu    sync.Mutex // guards the following fields
	calls []func()   // at most one a connection of the poller
}

// call has the poller run f, soon. It does not block.
func (w *waker) call(f func()) {
	w.mu.Lock()
	w.calls = append(w.calls, f)
	first := len(w.calls) == 1
	w.mu.Unlock()
	if first { // otherwise a byte is on its way
		_, _ = syscall.Write(w.fd, []byte{0})
	}
}

// callsAtATime bounds how long the connections of a poller wait for what it is
// called for: of a storm of handshakes thousands may be finished together.
const callsAtATime = 64

// readable runs on the poller.
func (w *waker) readable() {
	var b [64]byte
	_, _ = w.nc.Read(b[:])
	w.once.Do(w.read.Done)
	w.mu.Lock()
	calls := w.calls
	if len(calls) > callsAtATime {
		calls, w.calls = calls[:callsAtATime], calls[callsAtATime:]
		_, _ = syscall.Write(w.fd, []byte{0}) // the rest when the others had their turn
	} else {
		w.calls = nil
	}
	w.mu.Unlock()
	for i, f := range calls {
		calls[i] = nil // the array may live on
		f()
	}
}

// openWakers makes each loop's waker and writeWatch. Descriptors decide about pollers: it
// opens them until each poller has got one, and blocks the number of those that do not
// fit, so that the next one's is another.
func (e *Engine) openWakers() error {
	if err := e.forEachPoller(func() (int, func(*loop) bool, func(), error) {
		nc, fd, err := socketPair()
		if err != nil {
			return 0, nil, nil, fmt.Errorf("engine: socket pair: %w", err)
		}
		w := &waker{nc: nc, fd: fd}
		return nc.Hash(), func(l *loop) bool { return take(&l.waker, w) }, w.close, nil
	}); err != nil {
		return err
	}
	return e.forEachPoller(func() (int, func(*loop) bool, func(), error) {
		fd, err := newWriteSet()
		if err != nil {
			return 0, nil, nil, fmt.Errorf("engine: set of sockets: %w", err)
		}
		w := &writeWatch{nc: newConn(fd), set: fd, clients: map[int]*Client{}}
		return fd, func(l *loop) bool { return take(&l.writable, w) }, w.close, nil
	})
}

// take fills a place that is empty, and reports whether it was.
func take[T any](place **T, v *T) bool {
	free := *place == nil
	if free {
		*place = v
	}
	return free
}

// forEachPoller calls open until every loop has accepted what it opened: a descriptor,
// what gives it to its loop, and what closes it if that has one.
func (e *Engine) forEachPoller(open func() (fd int, give func(*loop) bool, closeIt func(), err error)) error {
	n := len(e.loops)
	for tries, found := 0, 0; found < n; tries++ {
		if tries > 16*n+1024 { // free numbers follow each other, or nearly
			return errors.New("engine: descriptors do not reach every poller")
		}
		fd, give, closeIt, err := open()
		if err != nil {
			return err
		}
		if give(e.loops[fd%n]) {
			found++
			continue
		}
		closeIt()
		if blocker, err := syscall.Open("/", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err == nil {
			defer syscall.Close(blocker)
		}
	}
	return nil
}

// watchWakers gives them to the pollers, and returns once every poller reads. nbio
// (1.6.12) needs that before Stop: a poller that has not begun yet clears the
// request to end when it does, and then spins forever.
func (e *Engine) watchWakers() error {
	for _, l := range e.loops {
		w := l.waker
		w.read.Add(1)
		w.nc.Lock()
		w.nc.SetSession(w)
		w.nc.Unlock()
		if _, err := e.nb.AddConn(w.nc); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
		l.poller = pollerFD(w.nc)
		l.writable.nc.Lock()
		l.writable.nc.SetSession(l.writable)
		l.writable.nc.Unlock()
		if _, err := e.nb.AddConn(l.writable.nc); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
		if _, err := syscall.Write(w.fd, []byte{0}); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	for _, l := range e.loops {
		l.waker.read.Wait()
	}
	return nil
}

// closeWakers closes those that there are, whether nbio has them or not.
func (e *Engine) closeWakers() {
	for _, l := range e.loops {
		if l.waker != nil {
			l.waker.close()
		}
		if l.writable != nil {
			l.writable.close()
		}
	}
}

func (w *waker) close() {
	_ = w.nc.Close()
	_ = syscall.Close(w.fd)
}

// runLeft runs what the poller did not come to before it ended.
func (w *waker) runLeft() {
	w.mu.Lock()
	calls := w.calls
	w.calls = nil
	w.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// socketPair opens a pair of which nbio has one end, and fd is the other.
func socketPair() (nc *nbio.Conn, fd int, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, -1, err
	}
	if err = syscall.SetNonblock(fds[0], true); err != nil {
		_ = syscall.Close(fds[0])
		_ = syscall.Close(fds[1])
		return nil, -1, err
	}
	return newConn(fds[0]), fds[1], nil
}
