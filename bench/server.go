package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A serverProcess is a server that this run has started.
type serverProcess struct {
	cmd   *exec.Cmd
	stdin io.Closer
	place string // such as ws://127.0.0.1:9991
	log   *tail
}

// servers are what a run has started, and where they were built.
type servers struct {
	processes []*serverProcess
	dir       string
}

// buildServer builds Carillon into a new directory.
func buildServer(ctx context.Context) (dir, binary string, err error) {
	if dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return "", "", err
	}
	binary = filepath.Join(dir, "server")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "carillon/cmd/server").CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", "", fmt.Errorf("-servers: building carillon/cmd/server: %w: %s", err, out)
	}
	return dir, binary, nil
}

// startServers builds Carillon and starts n of it.
func startServers(ctx context.Context, n int, flags []string) (*servers, error) {
	dir, binary, err := buildServer(ctx)
	if err != nil {
		return nil, err
	}
	s, err := launch(binary, n, flags)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	s.dir = dir
	return s, nil
}

// launch starts n servers that are built.
func launch(binary string, n int, flags []string) (*servers, error) {
	s := &servers{}
	for i := range n {
		args := append([]string{"-addr", "127.0.0.1:0", "-log-level", "warn", "-node-id", fmt.Sprint(i)}, flags...)
		p, err := startServer(exec.Command(binary, args...))
		if err != nil {
			s.stop()
			return nil, fmt.Errorf("-servers: %w", err)
		}
		s.processes = append(s.processes, p)
	}
	return s, nil
}

// listens is where a server says that it listens.
var listens = regexp.MustCompile(`wss?://[^/\s]+`)

// startServer starts a server that prints where it listens, as a URL, on its first line.
func startServer(cmd *exec.Cmd) (*serverProcess, error) {
	p := &serverProcess{cmd: cmd, log: &tail{}}
	cmd.Stderr = p.log
	dieWithParent(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := bufio.NewReader(stdout)
	line, err := r.ReadString('\n')
	at := listens.FindString(line)
	if at == "" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err == nil || err == io.EOF {
			err = errors.New("it did not say where it listens")
		}
		return nil, fmt.Errorf("starting the server: %w: %s", err, strings.TrimSpace(p.log.String()))
	}
	p.place = at
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return p, nil
}

// stop ends the servers. Their clients are gone or do not matter any more.
func (s *servers) stop() {
	for _, p := range s.processes {
		_ = p.stdin.Close()
		_ = p.cmd.Process.Kill()
	}
	for _, p := range s.processes {
		_ = p.cmd.Wait()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *servers) pids() (pids []int) {
	for _, p := range s.processes {
		pids = append(pids, p.cmd.Process.Pid)
	}
	return pids
}

// A tail keeps the first bytes that are written to it: what a server complains
// about first is what matters.
type tail struct{ strings.Builder }

func (t *tail) Write(b []byte) (int, error) {
	const limit = 4 << 10
	if room := limit - t.Len(); room > 0 {
		t.Builder.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// startFloor starts the bare write loop.
func startFloor() (*servers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := startServer(exec.Command(self, floorFlag))
	if err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	return &servers{processes: []*serverProcess{p}}, nil
}

// settle is how long memory figures wait for what a server still does by itself. Tests
// that look at no such figure wait less.
var settle = 500 * time.Millisecond
