package engine

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
)

func init() { roles["few descriptors"] = startWithFew }

// startWithFew starts engines with ever more descriptors until there are enough,
// and says how many starts failed.
func startWithFew(_ []byte, p *parent) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // the runtime opens its epoll, or panics
	if err != nil {
		return err
	}
	ln.Close()
	limit.Cur = 512
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	var taken []int
	for {
		fd, err := syscall.Open("/", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	for failed, fd := range taken {
		e, err := New(Options{Addr: "127.0.0.1:0", Pollers: 1})
		if err != nil {
			return err
		}
		err = e.Start()
		switch {
		case err == nil:
			return p.say(failed)
		case !errors.Is(err, syscall.EMFILE):
			return fmt.Errorf("with %d descriptors: %w", failed, err)
		}
		if err := syscall.Close(fd); err != nil { // for the next
			return err
		}
	}
	return errors.New("no start succeeded")
}

// Wherever descriptors run out while an engine starts, Start says so and returns.
func TestStartWithFewDescriptors(t *testing.T) {
	var failed int
	startChild(t, "few descriptors", nil).hear(&failed)
	if failed < 5 {
		t.Errorf("%d starts failed, want some", failed)
	}
	t.Logf("%d starts failed", failed)
}
