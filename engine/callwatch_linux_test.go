package engine

import (
	"fmt"
	"math/bits"
	"syscall"
	"time"
	"unsafe"
)

// longCall is how long a call may take before it is looked into.
const longCall = 10 * time.Millisecond

// A callWatch times the calls that one goroutine makes, which must be locked to its
// thread. A call may take long because others have the cores: other processes,
// goroutines, the garbage collector. What is its own doing is the CPU time of its
// thread, in which is also what it has to collect for what it allocates.
type callWatch struct {
	calls   int
	wall    time.Duration
	classes [64 * 8]int // by the logarithm of nanoseconds, in eighths of a power of two
	longest time.Duration
	cpu     time.Duration // the most that a call used, of those of a millisecond or more
	long    int           // calls of longCall or more
	busy    []string      // those that used as much CPU, or so many of them

	before time.Duration // CPU time some calls ago
	since  int
}

const (
	lookEvery   = 64 // so that looking costs little; the calls between are short
	writtenDown = 8
)

// time times a call.
func (w *callWatch) time(what string, call func()) {
	if w.since%lookEvery == 0 {
		w.before = threadCPU()
	}
	w.since++
	begin := time.Now()
	call()
	wall := time.Since(begin)
	w.calls++
	w.wall += wall
	w.classes[class(wall)]++
	w.longest = max(w.longest, wall)
	if wall < time.Millisecond {
		return
	}
	cpu := threadCPU() - w.before
	w.since = 0
	w.cpu = max(w.cpu, cpu)
	if wall >= longCall {
		w.long++
	}
	if cpu >= longCall && len(w.busy) < writtenDown {
		w.busy = append(w.busy, fmt.Sprintf("%s: %v, of it %v CPU", what, rounded(wall), rounded(cpu)))
	}
}

// rest is called after a wait, which is no call's.
func (w *callWatch) rest() { w.since = 0 }

// add adds what another has measured.
func (w *callWatch) add(o *callWatch) {
	w.calls += o.calls
	w.wall += o.wall
	for i, n := range o.classes {
		w.classes[i] += n
	}
	w.longest = max(w.longest, o.longest)
	w.cpu = max(w.cpu, o.cpu)
	w.long += o.long
	w.busy = append(w.busy, o.busy...)
}

// quantile is an upper bound of the time that the share q of the calls took.
func (w *callWatch) quantile(q float64) time.Duration {
	left := int((1 - q) * float64(w.calls))
	for i := len(w.classes) - 1; i > 0; i-- {
		if left -= w.classes[i]; left < 0 {
			return min(w.longest, time.Duration(8+(i+1)%8)<<((i+1)/8)>>3)
		}
	}
	return 0
}

func class(d time.Duration) int {
	n := max(uint64(d), 1)
	power := bits.Len64(n) - 1
	return power*8 + int(n<<3>>power&7)
}

// rounded is d to three digits.
func rounded(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// threadCPU is the CPU time of the calling thread so far.
func threadCPU() time.Duration {
	const clockThreadCPU = 3
	var t syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPU, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		panic(errno)
	}
	return time.Duration(t.Nano())
}
