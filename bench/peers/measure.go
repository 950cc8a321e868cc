package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// programs are the paths of what is run, and a folder for what they write.
type programs struct{ server, bench, peers, dir string }

func build(ctx context.Context, dir string) (programs, error) {
	self, err := os.Executable()
	if err != nil {
		return programs{}, err
	}
	const root = "../.."
	if mod, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil || !bytes.HasPrefix(mod, []byte("module carillon\n")) {
		return programs{}, errors.New("-compare: Carillon's go.mod is not two folders up: run it in bench/peers")
	}
	p := programs{filepath.Join(dir, "server"), filepath.Join(dir, "bench"), self, dir}
	for path, out := range map[string]string{"./cmd/server": p.server, "./bench": p.bench} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", out, path)
		cmd.Dir = root
		if text, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("go build %s: %w\n%s", path, err, text)
		}
	}
	return p, nil
}

// measure starts the server of the name, runs the scenario against it, and ends it.
// With an error there may be a result nevertheless: of a run that lost messages.
func (p programs) measure(ctx context.Context, o compareOptions, s scenario, name string) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Duration+5*time.Minute)
	defer cancel()
	args := []string{p.peers, "-serve", name}
	if name == carillonName {
		args = []string{p.server, "-log-level", "warn"}
	}
	onMessage := "ignore"
	if s.echo {
		onMessage = "echo"
	}
	server := exec.CommandContext(ctx, args[0], append(args[1:], "-addr", "127.0.0.1:0", "-on-message", onMessage)...)
	addr, stop, err := start(server)
	if err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	defer stop()

	out := filepath.Join(p.dir, "result.json")
	_ = os.Remove(out)
	args = append(slices.Clone(s.args), "-url", "ws://"+addr+"/ws?system_id={system}&group_name={group}",
		"-pid", strconv.Itoa(server.Process.Pid), "-label", name, "-conns", strconv.Itoa(o.Conns), "-json", out, "-quiet")
	if name == "centrifuge" {
		args = append(args, "-hello", `{"id":1,"connect":{}}`)
	}
	bench := exec.CommandContext(ctx, p.bench, args...)
	bench.Cancel = func() error { return bench.Process.Signal(os.Interrupt) } // it has processes of its own to end
	bench.WaitDelay = 10 * time.Second
	text, benchErr := bench.CombinedOutput()
	if benchErr != nil {
		benchErr = fmt.Errorf("bench: %w: %s", benchErr, text)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		return nil, cmp.Or(benchErr, err)
	}
	r := new(result)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, errors.Join(benchErr, fmt.Errorf("the load generator's JSON: %w", err))
	}
	return r, benchErr
}

// start returns when the server has said, on its first line, where it listens.
func start(server *exec.Cmd) (addr string, stop func(), err error) {
	server.Stderr = os.Stderr // it says only what went wrong
	stdout, err := server.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = server.Process.Kill() // its clients have gone, and it has nothing to save
		_ = server.Wait()
	}
	r := bufio.NewReader(stdout)
	line, _ := r.ReadString('\n')
	_, after, ok := strings.Cut(line, "ws://")
	if !ok {
		stop()
		return "", nil, fmt.Errorf("its first line is %q, want its address", line)
	}
	addr, _, _ = strings.Cut(after, "/")
	go func() { _, _ = io.Copy(io.Discard, r) }() // until it ends
	return addr, stop, nil
}
