// Package socketfile listens on unix sockets as a server wants to: what an earlier
// process left behind does not stop it, a living one's socket is not taken away, only
// those whom the mode lets in can connect, and the file goes with the listener.
package socketfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// MaxPath is how long the path of a unix socket may be, in bytes.
const MaxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// A Listener is a net.UnixListener that removes its file in its own way.
type Listener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	once sync.Once
}

// Listen listens at path. A socket there that nobody listens on is removed first;
// anything else that is there is an error, and stays.
func Listen(path string, mode fs.FileMode) (*Listener, error) {
	ln, err := listen(path, mode)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err = removeStale(path); err == nil {
			ln, err = listen(path, mode)
		}
	}
	if err != nil {
		return nil, err
	}
	l := &Listener{UnixListener: ln, path: path}
	ln.SetUnlinkOnClose(false)
	if err = os.Chmod(path, mode); err == nil { // the umask took some away
		l.made, err = os.Lstat(path)
	}
	if err != nil {
		_ = ln.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return l, nil
}

func listen(path string, mode fs.FileMode) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// Linux gives the file the socket's own mode, so that there is no moment at which
		// it lets others in. Elsewhere this fails, and does nothing.
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode.Perm())) })
	}}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return ln.(*net.UnixListener), nil
}

// aliveTimeout is for a server that is too busy to take a connection: it is alive.
const aliveTimeout = time.Second

// removeStale removes the socket of a process that has ended. Whether it has is known
// by connecting: nothing else is certain, a process's number least of all.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it has ended just now
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, aliveTimeout)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("%s: a process listens there: %w", path, syscall.EADDRINUSE)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s is there, and whether a process listens there cannot be known: %w", path, err)
	}
	return os.Remove(path)
}

// Close ends the listener and removes its file.
func (l *Listener) Close() error {
	l.Remove()
	return l.UnixListener.Close()
}

// Remove removes the file, if it is still this listener's: another process may have
// put its own there. It is for who goes on with a duplicate of the descriptor.
func (l *Listener) Remove() {
	l.once.Do(func() {
		if st, err := os.Lstat(l.path); err == nil && os.SameFile(st, l.made) {
			_ = os.Remove(l.path)
		}
	})
}
