//go:build unix

package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/lesismal/nbio"
)

// A probe is the session of a connection that only shows that its poller runs.
type probe func()

// awaitPollers returns once every poller reads. nbio (1.6.12) needs that before
// Stop: a poller that has not begun yet clears the request to end when it does, and
// waits for events forever. Descriptors decide about pollers, so it opens socket
// pairs until each has got one: a few a poller, since free numbers follow each
// other.
func (e *Engine) awaitPollers() error {
	n := len(e.loops)
	running := make(chan int, n)
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
		i := nc.Hash() % n
		again := probed[i]
		probed[i] = true
		if again { // a pair takes two numbers: move on by one more
			if odd, err := syscall.Dup(peer); err == nil {
				defer syscall.Close(odd)
			}
		}
		nc.Lock()
		nc.SetSession(probe(func() {
			if !again {
				running <- i
			}
		}))
		nc.Unlock()
		if _, err := e.nb.AddConn(nc); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
		if _, err := syscall.Write(peer, []byte{0}); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	for range n {
		<-running
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
		nc, err = nbio.NBConn(conn)
	}
	if err != nil {
		_ = syscall.Close(fds[1])
	}
	return nc, fds[1], err
}
