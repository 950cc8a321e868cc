package machine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of /proc/PID/stat: Linux has fixed it at 100 a second for
// programs.
const clockTick = time.Second / 100

// Process is what one process has taken; see Measure.
func Process(pid int, all bool) (u Usage) {
	dir := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u
	}
	// The name in parentheses may hold anything; the third field follows it.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 22 || f[0] == "Z" { // it has ended, and its parent does not know yet
		return u
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	pages, err3 := strconv.ParseInt(f[21], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return u
	}
	u = Usage{Known: true, CPU: time.Duration(user+system) * clockTick, RSS: pages * int64(os.Getpagesize())}
	u.CPU = max(u.CPU, threadsCPU(dir))
	if all {
		u.PSS = kilobytes(dir + "/smaps_rollup")["Pss"]
		u.Descriptors = descriptors(dir + "/fd")
	}
	return u
}

// OwnRSS is this process's resident memory in bytes.
func OwnRSS() int64 { return Process(os.Getpid(), false).RSS }

// descriptors counts the entries of /proc/PID/fd. Since Linux 6.2 that is its size;
// reading it has the kernel keep a record of each, a kilobyte that would count.
func descriptors(dir string) (n int) {
	if info, err := os.Stat(dir); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	f, err := os.Open(dir)
	if err != nil {
		return 0 // it is another user's
	}
	defer f.Close()
	for err == nil { // in parts: there may be a million
		var names []string
		names, err = f.Readdirnames(10_000)
		n += len(names)
	}
	return n
}

// threadsCPU adds up the CPU time of a process's threads, to the nanosecond. That
// of threads that have ended is missing, but those of a Go program hardly ever do.
// 0 if the kernel does not count.
func threadsCPU(dir string) (sum time.Duration) {
	tasks, _ := os.ReadDir(dir + "/task")
	for _, t := range tasks {
		b, _ := os.ReadFile(dir + "/task/" + t.Name() + "/schedstat") // nothing if it has just ended
		ns, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(ns, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

// BusyCPU is how long the machine's cores were busy, all added up.
func BusyCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var busy time.Duration
	for i, f := range strings.Fields(line) {
		// cpu user nice system idle iowait irq softirq steal; guests are in user.
		if n, err := strconv.ParseInt(f, 10, 64); err == nil && i != 4 && i != 5 && i <= 8 {
			busy += time.Duration(n) * clockTick
		}
	}
	return busy
}

// ListenerPID finds the process of this machine that listens on a port; 0 if it
// cannot be told.
func ListenerPID(port int) int {
	suffix := fmt.Sprintf(":%04X", port)
	sockets := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(file)
		for line := range strings.Lines(string(b)) {
			const listening = "0A"
			if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[1], suffix) && f[3] == listening {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(sockets) == 0 {
		return 0
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && sockets[link] {
			pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
			return pid
		}
	}
	return 0
}
