package main

import (
	"os/signal"
	"syscall"
	"time"
)

// A usage is what processes have taken so far: those of one server, added up.
// Known is false where there is no /proc, or no pid.
type usage struct {
	Known       bool
	CPU         time.Duration // user and system
	RSS, PSS    int64         // bytes
	Descriptors int
}

func (u usage) plus(o usage) usage {
	return usage{u.Known && o.Known, u.CPU + o.CPU, u.RSS + o.RSS, u.PSS + o.PSS, u.Descriptors + o.Descriptors}
}

// measure adds up what the processes have taken. all reads also what takes long
// with much memory: PSS and descriptors.
func measure(pids []int, all bool) usage {
	sum := usage{Known: len(pids) > 0}
	for _, pid := range pids {
		sum = sum.plus(processUsage(pid, all))
	}
	return sum
}

// ownCPU is this process's CPU time in nanoseconds.
func ownCPU() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func ignoreInterrupt() { signal.Ignore(syscall.SIGINT) }
