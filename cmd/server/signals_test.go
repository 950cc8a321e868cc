package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestLadder(t *testing.T) {
	const hup, term, intr = syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT
	var l ladder
	start := time.Now()
	for _, tt := range []struct {
		at   time.Duration
		sig  os.Signal
		want bool
	}{
		{0, term, true}, {time.Millisecond, term, false}, {999 * time.Millisecond, term, false},
		{999 * time.Millisecond, intr, true}, {time.Second, term, true}, {1500 * time.Millisecond, intr, false},
		{1500 * time.Millisecond, term, false}, {2 * time.Second, term, true},
	} {
		if got := l.isWord(tt.sig, start.Add(tt.at)); got != tt.want {
			t.Errorf("%v after %v: %v, want %v", tt.sig, tt.at, got, tt.want)
		}
	}
}

// deaf connects a client that never answers, so that a shutdown takes as long as it may.
func (s *server) deaf() {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, request(""))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		s.t.Fatal(err)
	}
}

// timeout(1) signals its child and then the group that it is in, at once: that is one
// word. A later one ends the process.
func TestAnEchoIsNoSecondWord(t *testing.T) {
	t.Parallel()
	s := start(t, "-drain-timeout", "10m", "-close-timeout", "1m")
	s.deaf()
	ended := make(chan struct{})
	go func() { s.cmd.Wait(); close(ended) }()
	for range 3 {
		s.cmd.Process.Signal(syscall.SIGTERM)
		time.Sleep(100 * time.Millisecond)
	}
	s.cmd.Process.Signal(syscall.SIGHUP) // neither a word nor an end
	select {
	case <-ended:
		t.Fatalf("ended by an echo: %s", s.logs)
	case <-time.After(1500 * time.Millisecond):
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("a second word does not end it")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(s.logs.String(), "carillon: another signal, terminated, ended the shutdown early") {
		t.Errorf("exit status %d: %s", code, s.logs)
	}
}

// As in `timeout 2 carillon`: the clients are told.
func TestTimeoutDrains(t *testing.T) {
	t.Parallel()
	timeout := needs(t, "timeout")
	cmd := exec.Command(timeout, "2", binary, "-addr", "127.0.0.1:0", "-drain-delay", "0")
	cmd.Env = environ()
	logs := new(lockedBuffer)
	cmd.Stderr = logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it signals its group
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() })
	lines := bufio.NewScanner(out)
	lines.Scan()
	s := &server{t: t, addr: regexp.MustCompile(`ws://([^/]+)/`).FindStringSubmatch(lines.Text())[1]}
	c := s.dial("system_id=1")
	var ce websocket.CloseError
	if _, _, err := drain(testContext(t), c); !asClose(err, &ce) || ce.Code != 3001 {
		t.Errorf("the client saw %v, want 3001: %s", err, logs)
	}
}

// A balancer that asks once a second sees the server leave while that still takes
// clients; only then are they told to go.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-api-addr", "127.0.0.1:0"}} {
		s := start(t, append(args, "-drain-delay", "2s")...)
		c := s.dial("system_id=1")
		began := time.Now()
		s.cmd.Process.Signal(syscall.SIGTERM)
		eventually(t, "/readyz is red", func() bool { return strings.Contains(s.get("/readyz"), "shutting down") })
		resp, err := http.Get("http://" + s.api + "/readyz")
		if err != nil || resp.StatusCode != 503 {
			t.Errorf("/readyz: %v, %v", resp, err)
		}
		if got := s.get("/healthz"); !strings.Contains(got, `"ok"`) {
			t.Errorf("/healthz: %s", got)
		}
		s.cmd.Process.Signal(syscall.SIGHUP)
		late := s.dial("system_id=1") // new clients are served, too
		if status, body := s.post("/push_to_all", map[string][]string{"data": {"x"}}); status != 200 || !strings.Contains(body, `"written":2`) {
			t.Errorf("push: %d %s", status, body)
		}
		for _, c := range []*websocket.Conn{c, late} {
			var ce websocket.CloseError
			if _, _, err := drain(testContext(t), c); !asClose(err, &ce) || ce.Code != 3001 {
				t.Errorf("%v, want 3001", err)
			}
		}
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("closed after %v", took)
		}
		if code := s.exit(); code != 0 {
			t.Errorf("exit status %d: %s", code, s.logs)
		}
	}

	// A second signal ends the delay, and the clients are told as ever.
	s := start(t, "-drain-delay", "10m")
	c := s.dial("system_id=1")
	s.cmd.Process.Signal(syscall.SIGTERM)
	time.Sleep(100 * time.Millisecond)
	s.cmd.Process.Signal(os.Interrupt)
	var ce websocket.CloseError
	if _, _, err := drain(testContext(t), c); !asClose(err, &ce) || ce.Code != 3001 {
		t.Errorf("%v, want 3001", err)
	}
	if code := s.exit(); code != 0 {
		t.Errorf("exit status %d: %s", code, s.logs)
	}
}

// The default is long enough for a probe each second, whenever it began.
func TestDefaultDrainDelay(t *testing.T) {
	var c config
	c.addSettings(new(written))
	if c.drainDelay < 2*time.Second {
		t.Errorf("%v", c.drainDelay)
	}
}

// SIGHUP reads again and never ends the process: while it starts, serves and ends.
func TestSIGHUP(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeCertificate(t, dir, "first")
	keys := write(t, dir, "keys", "k")
	s := start(t, "-api-key-file", keys, "-tls-cert", filepath.Join(dir, "cert.pem"), "-tls-key", filepath.Join(dir, "key.pem"), "-drain-delay", "2s")
	for range 5 {
		s.cmd.Process.Signal(syscall.SIGHUP)
	}
	eventually(t, "it is told what was reloaded", func() bool {
		return strings.Contains(s.logs.String(), `"keys":1,`) && strings.Contains(s.logs.String(), "certificate reloaded")
	})
	os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("broken"), 0o600)
	os.WriteFile(keys, []byte("a b"), 0o600)
	s.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "it is told what was not", func() bool {
		return strings.Contains(s.logs.String(), "the old one stays") && strings.Contains(s.logs.String(), "the old keys stay")
	})
	s.cmd.Process.Signal(syscall.SIGTERM)
	for range 5 {
		s.cmd.Process.Signal(syscall.SIGHUP)
		time.Sleep(10 * time.Millisecond)
	}
	if code := s.exit(); code != 0 {
		t.Errorf("exit status %d: %s", code, s.logs)
	}

	// While it starts: it waits for its keys.
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-addr", "127.0.0.1:0", "-drain-delay", "0", "-api-key-file", pipe)
	cmd.Env = environ()
	logs := new(lockedBuffer)
	cmd.Stderr = logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	time.Sleep(500 * time.Millisecond)
	cmd.Process.Signal(syscall.SIGHUP)
	time.Sleep(100 * time.Millisecond)
	if err := os.WriteFile(pipe, []byte("k"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it serves", func() bool { return strings.Contains(logs.String(), `"serving"`) })
}

// Who is told to stop while it starts has nobody to tell, and waits for nothing.
func TestStopWhileItStarts(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, logs: new(lockedBuffer), cmd: exec.Command(binary, "-addr", "127.0.0.1:0", "-api-key-file", pipe)}
	s.cmd.Env, s.cmd.Stderr = environ(), s.logs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	time.Sleep(500 * time.Millisecond)
	s.cmd.Process.Signal(syscall.SIGTERM)
	if code := s.exit(); code != 0 || s.logs.String() != "carillon: terminated, before it served\n" {
		t.Errorf("exit status %d: %s", code, s.logs)
	}
}
