//go:build unix

package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/lesismal/nbio"
)

// A probe is the session of a connection that only shows that its poller runs.
type probe struct {
	once sync.Once
	read sync.WaitGroup // done when the poller has read from it
	gone sync.WaitGroup // done when the poller has closed it
}

// awaitPollers returns once every poller reads. nbio (1.6.12) needs that before
// Stop: a poller that has not begun yet clears the request to end when it does, and
// waits for events forever. Descriptors decide about pollers, so it opens socket
// pairs until each has got one: a few a poller, since free numbers follow each
// other.
func (e *Engine) awaitPollers() error {
	n := len(e.loops)
	var probes []*probe
	defer func() {
		for _, p := range probes {
			p.gone.Wait()
		}
	}()
	probed := map[int]bool{}
	for tries := 0; len(probed) < n; tries++ {
		if tries > 16*n+64 {
			return errors.New("engine: descriptors do not reach every poller")
		}
		nc, peer, err := probePair()
		if err != nil {
			return fmt.Errorf("engine: socket pair: %w", err)
		}
		defer syscall.Close(peer) // which has nbio close the other end
		if i := nc.Hash() % n; !probed[i] {
			probed[i] = true
		} else if odd, err := syscall.Open("/", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err == nil {
			defer syscall.Close(odd) // a pair takes two numbers: move on by one more
		}
		p := new(probe)
		p.read.Add(1)
		p.gone.Add(1)
		nc.Lock()
		nc.SetSession(p)
		nc.Unlock()
		if _, err := e.nb.AddConn(nc); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
		probes = append(probes, p)
		if _, err := syscall.Write(peer, []byte{0}); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	for _, p := range probes {
		p.read.Wait()
	}
	return nil
}

func probePair() (nc *nbio.Conn, peer int, err error) {
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
	file := os.NewFile(uintptr(fds[0]), "probe")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err == nil {
		nc, err = toNBIO(conn)
	}
	if err != nil {
		_ = syscall.Close(fds[1])
	}
	return nc, fds[1], err
}
