// Package machine says what a run was measured on, and what it took: the commit and
// the machine that stand with each result, and, where there is a /proc, the CPU time
// and memory of processes and of the kernel.
//
// The load generator, its peers and the million use it. Its functions may be called
// from any goroutine.
package machine

import (
	"fmt"
	"runtime"
)

// A Machine is where a run took place.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Memory int64  `json:"memory"` // bytes; 0 if not known
}

// This describes the machine that the program runs on. Its CPUs are those that the
// process may use.
func This() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
	m.Model, m.Kernel, m.Memory = describe()
	return m
}

// String is the machine in a line.
func (m Machine) String() string {
	return fmt.Sprintf("%d × %s under %s with %s", m.CPUs, m.Model, m.Kernel, m.Go)
}
