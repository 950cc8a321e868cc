package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stages are samples of the guest, from the first process of it.
type stages struct {
	server int // its process ID
	began  time.Time
	list   []stage
}

func (q *stages) add(name string) {
	const clients = 1
	m := fields("/proc/meminfo")
	q.list = append(q.list, stage{
		Name: name, Seconds: time.Since(q.began).Seconds(),
		ServerRSS: rss(q.server), ClientRSS: rss(clients),
		Kernel:    m["MemTotal"] - m["MemFree"] - m["AnonPages"] - m["Cached"] - m["Buffers"],
		ServerCPU: cpuSeconds(q.server), ClientCPU: cpuSeconds(clients),
	})
	s := q.list[len(q.list)-1]
	fmt.Printf("%4.0f s: %s: server %d MB, clients %d MB, kernel %d MB\n", s.Seconds, name, s.ServerRSS>>20, s.ClientRSS>>20, s.Kernel>>20)
}

// perClient compares the first stage with the second, n clients later.
func (q *stages) perClient(n int) (none bytesByClient) {
	if len(q.list) < 2 {
		return none
	}
	a, b := q.list[0], q.list[1]
	each := func(before, after int64) float64 { return float64((after - before) / int64(n)) }
	return bytesByClient{each(a.ServerRSS, b.ServerRSS), each(a.ClientRSS, b.ClientRSS), each(a.Kernel, b.Kernel)}
}

func rss(pid int) int64 { return fields(fmt.Sprintf("/proc/%d/status", pid))["VmRSS"] }

// fields reads a file of lines such as "MemFree:  12 kB", in bytes.
func fields(file string) map[string]int64 {
	values := map[string]int64{}
	text, _ := os.ReadFile(file) // the figures are zero without it
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "kB" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			values[strings.TrimSuffix(f[0], ":")] = kb << 10
		}
	}
	return values
}

// cpuSeconds is the CPU time that a process has used, user and system.
func cpuSeconds(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(text), ") ") // the name, which has no parenthesis here
	f := strings.Fields(after)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	sys, _ := strconv.ParseFloat(f[12], 64)
	return (user + sys) / 100 // ticks, which Linux shows programs a hundred of in a second
}

// descriptors counts those of a process.
func descriptors(pid int) (n int, err error) {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(10_000)
		if n += len(names); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// retransmitted is how many segments TCP has sent again since the machine began.
func retransmitted() (n int) {
	text, _ := os.ReadFile("/proc/net/snmp")
	var names []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Tcp:" {
			continue
		}
		if i := slices.Index(names, "RetransSegs"); i > 0 && i < len(f) {
			n, _ = strconv.Atoi(f[i])
		}
		names = f // the line before the one with the values
	}
	return n
}

func thisGuest() guest {
	g := guest{Memory: fields("/proc/meminfo")["MemTotal"]}
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			g.CPU = strings.TrimSpace(value)
			g.CPUs++
		}
	}
	var u unix.Utsname
	_ = unix.Uname(&u)
	g.Kernel = unix.ByteSliceToString(u.Release[:])
	return g
}
