package engine

import (
	"os"
	"syscall"
	"time"
)

// A bell has Go's scheduler look at its network poller, where requests for pushes
// arrive. It does so when a processor has nothing to run, and otherwise once in ten
// milliseconds: workers that take all processors, and only yield, would have a request
// wait that long. Who rings waits on that poller for a byte that is there already, so
// that for a moment its processor has nothing to run. It belongs to one goroutine.
type bell struct {
	r, w *os.File // of a pipe
	wait syscall.RawConn
	read func(fd uintptr) bool // b.ringing, made once

	rung  bool
	quiet time.Time // until then it does not ring
	b     [1]byte
}

// newBell returns nil, which rings nothing, if there are no descriptors.
func newBell() *bell {
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	b := &bell{r: r, w: w}
	b.read = b.ringing
	b.wait, _ = r.SyscallConn() // fails for a nil file
	return b
}

func (b *bell) ring() {
	if b == nil {
		return
	}
	begin := time.Now()
	if begin.Before(b.quiet) {
		return
	}
	b.rung = false
	if b.wait.Read(b.read) != nil {
		b.quiet = begin.Add(time.Hour) // its byte was not read, and a pipe holds so many
		return
	}
	// Processors that others take all the time look at the poller when Go's monitor
	// does, and this goroutine waits for that: then ringing helps nobody.
	if took := time.Since(begin); took > time.Millisecond {
		b.quiet = begin.Add(10 * took)
	}
}

// ringing is called by Read, first before it waits and then after. The byte is written
// in there because Read forgets what the poller reported before it began.
func (b *bell) ringing(fd uintptr) (done bool) {
	if b.rung {
		_, _ = syscall.Read(int(fd), b.b[:])
		return true
	}
	b.rung = true
	_, err := b.w.Write(b.b[:])
	return err != nil
}

func (b *bell) close() {
	if b != nil {
		_ = b.r.Close()
		_ = b.w.Close()
	}
}
