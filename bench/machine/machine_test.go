package machine

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestThis(t *testing.T) {
	m := This()
	if m.CPUs < 1 || m.Kernel == "" || !strings.HasPrefix(m.Go, "go") || strings.Contains(m.Kernel, "-") {
		t.Errorf("%+v", m)
	}
	if text := m.String(); !strings.Contains(text, " × ") || !strings.Contains(text, m.Kernel) {
		t.Errorf("%s", text)
	}
}

// The commit is that of the working tree, and says if it was changed.
func TestCommit(t *testing.T) {
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		t.Skip("not in a git checkout: ", err)
	}
	if got, want := strings.TrimSuffix(Commit(), "-dirty"), strings.TrimSpace(string(out)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Of this process everything is known, and of one that is not there nothing is, which
// leaves nothing known of both.
func TestMeasure(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("processes are measured in /proc")
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for start := OwnCPU(); OwnCPU()-start < int64(30*time.Millisecond); { // more than a tick
	}
	me := os.Getpid()
	u := Measure([]int{me}, true)
	if !u.Known || u.CPU < 20*time.Millisecond || u.RSS < 1<<20 || u.PSS > u.RSS+1<<20 || u.Descriptors < 4 {
		t.Errorf("%+v", u)
	}
	const nobody = 1 << 30
	for _, pids := range [][]int{nil, {nobody}, {me, nobody}} {
		if u := Measure(pids, true); u.Known {
			t.Errorf("%v: %+v", pids, u)
		}
	}
	if OwnRSS() < 1<<20 || BusyCPU() < u.CPU {
		t.Errorf("%d bytes are resident, the machine was busy for %v", OwnRSS(), BusyCPU())
	}
}

func TestListenerPID(t *testing.T) {
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		t.Skip("who listens is looked up in /proc")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if got := ListenerPID(port); got != os.Getpid() {
		t.Errorf("%d, want %d", got, os.Getpid())
	}
	ln.Close()
	if got := ListenerPID(port); got != 0 {
		t.Errorf("nobody listens any more: %d", got)
	}
}
