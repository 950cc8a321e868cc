package machine

import (
	"syscall"
	"time"
)

// A Usage is what processes have taken so far: those of one server, added up.
// Known is false where there is no /proc, or no process.
type Usage struct {
	Known       bool
	CPU         time.Duration // user and system
	RSS, PSS    int64         // bytes
	Descriptors int
}

func (u Usage) plus(o Usage) Usage {
	return Usage{u.Known && o.Known, u.CPU + o.CPU, u.RSS + o.RSS, u.PSS + o.PSS, u.Descriptors + o.Descriptors}
}

// Measure adds up what the processes have taken. all reads also what takes long
// with much memory: PSS and descriptors.
func Measure(pids []int, all bool) Usage {
	sum := Usage{Known: len(pids) > 0}
	for _, pid := range pids {
		sum = sum.plus(Process(pid, all))
	}
	return sum
}

// OwnCPU is this process's CPU time in nanoseconds.
func OwnCPU() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
