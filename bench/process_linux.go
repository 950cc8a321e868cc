package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of /proc/PID/stat: Linux has fixed it at 100 a second for
// programs.
const clockTick = time.Second / 100

func processUsage(pid int, all bool) (u usage) {
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
	u = usage{Known: true, CPU: time.Duration(user+system) * clockTick, RSS: pages * int64(os.Getpagesize())}
	u.CPU = max(u.CPU, threadsCPU(dir))
	if all {
		u.PSS = kilobytes(dir+"/smaps_rollup", "Pss:")
		u.Descriptors = descriptors(dir + "/fd")
	}
	return u
}

// descriptors counts the entries of /proc/PID/fd. Since Linux 6.2 that is its size;
// reading it has the kernel keep a record of each, a kilobyte that would count.
func descriptors(dir string) int {
	if info, err := os.Stat(dir); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	fds, _ := os.ReadDir(dir) // none if it is another user's
	return len(fds)
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

// machineCPU is how long the machine's cores were busy, all added up.
func machineCPU() time.Duration {
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

func ownRSS() int64 { return processUsage(os.Getpid(), false).RSS }

// kilobytes is the number behind key in a file of lines such as "Pss: 12 kB", in
// bytes; 0 if there is none.
func kilobytes(file, key string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == key {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// kernelMemory is what the whole machine's kernel holds for objects such as
// sockets, and in the buffers of TCP, in bytes; 0 if it is not known. Whatever else
// happens on the machine is in it.
func kernelMemory() (bytes int64) {
	if bytes = kilobytes("/proc/meminfo", "Slab:"); bytes == 0 {
		return 0
	}
	b, _ := os.ReadFile("/proc/net/sockstat")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "TCP:" {
			pages, _ := strconv.ParseInt(f[len(f)-1], 10, 64)
			bytes += pages * int64(os.Getpagesize())
		}
	}
	return bytes
}

// socketObjects is what the kernel's objects for one TCP socket in an epoll take,
// in bytes, without its buffers. Only root may read it.
func socketObjects() (bytes int64, known bool) {
	b, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0, false
	}
	each := map[string]bool{
		"TCP": true, "sock_inode_cache": true, "filp": true, "dentry": true,
		"eventpoll_epi": true, "ep_head": true, "lsm_inode_cache": true, "lsm_file_cache": true,
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && each[f[0]] {
			size, _ := strconv.ParseInt(f[3], 10, 64)
			bytes += size
			known = known || f[0] == "TCP"
		}
	}
	return bytes, known
}

// dieWithParent has the kernel end the child when this process does, however that
// comes about.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// listenerPID finds the process of this machine that listens on addr; 0 if it
// cannot be told.
func listenerPID(addr string) int {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || !isLoopback(addr) {
		return 0
	}
	n, _ := strconv.Atoi(port)
	suffix := fmt.Sprintf(":%04X", n)
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
