package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What the first process is called with: by the kernel, and when it becomes the
// clients.
const (
	prepareArg = "prepare"
	loadArg    = "load"
)

// resultMark begins the line of the console that has the result.
const resultMark = "RESULT "

// sysctls is what a million connections need set, in a machine that has both of
// their ends. The README says what each is for.
func (p plan) sysctls() map[string]string {
	files := p.openFiles()
	return map[string]string{
		"fs.nr_open":                   strconv.Itoa(files),
		"fs.file-max":                  strconv.Itoa(2 * files),
		"net.core.netdev_max_backlog":  strconv.Itoa(p.Clients),
		"net.core.somaxconn":           "65535",
		"net.ipv4.ip_local_port_range": "1024 65535",
		"net.ipv4.tcp_mem":             fmt.Sprintf("%d %d %d", p.Clients, 2*p.Clients, 3*p.Clients+1<<16),
	}
}

// openFiles is how many descriptors a process may have.
func (p plan) openFiles() int { return p.Clients + 50_000 }

// guestMain is main in the guest. It comes by twice: to prepare the machine, and,
// with limits that count from the beginning of a program, to load the server.
func guestMain() {
	var r *result
	var p plan
	text, err := os.ReadFile("/plan.json")
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err == nil {
		if os.Args[1] == loadArg {
			r, err = load(p)
		} else {
			err = prepare(p)
		}
	}
	if r == nil {
		r = &result{}
	}
	if err != nil {
		r.Failures = append(r.Failures, err.Error())
	}
	line, err := json.Marshal(r)
	if err != nil {
		line = []byte(err.Error())
	}
	fmt.Printf("%s%s\n", resultMark, line)
	time.Sleep(time.Second) // for the console
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	select {} // the kernel panics when the first process ends
}

// prepare returns only if something went wrong.
func prepare(p plan) error {
	for _, fs := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := syscall.Mount(fs.kind, fs.at, fs.kind, 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("mounting %s: %w", fs.at, err)
		}
	}
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("the loopback interface: %w", err)
	}
	for name, value := range p.sysctls() {
		if err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0o644); err != nil {
			return fmt.Errorf("sysctl %s: %w", name, err)
		}
	}
	n := uint64(p.openFiles())
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE %d: %w", n, err)
	}
	runtime.LockOSThread() // whose CPU the new program gets
	if err := pin(clientCPU); err != nil {
		return err
	}
	return fmt.Errorf("exec: %w", syscall.Exec("/init", []string{"/init", loadArg}, os.Environ()))
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// Of the guest's CPUs the clients have one, and the server has one.
const clientCPU, serverCPU, guestCPUs = 0, 1, 2

// pin moves this thread, and those that it starts, to one CPU.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("moving to CPU %d: %w", cpu, err)
	}
	return nil
}
