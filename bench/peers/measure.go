package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
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
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args := []string{p.peers, "-serve", name, "-addr", addr}
	if name == carillonName {
		args = []string{p.server, "-addr", addr}
	}
	ready := "1" // messages: the welcome
	if s.echo {
		args = append(args, "-on-message", "echo")
		if name == carillonName {
			ready = "0" // it then has none
		}
	} else {
		args = append(args, "-on-message", "ignore")
	}
	log, err := os.Create(filepath.Join(p.dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	server := exec.CommandContext(ctx, args[0], args[1:]...)
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	defer func() {
		_ = server.Process.Kill() // its clients have gone, and it has nothing to save
		_ = server.Wait()
	}()
	if err := awaitListener(ctx, addr); err != nil {
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w: %s", err, text)
	}

	out := filepath.Join(p.dir, "result.json")
	_ = os.Remove(out)
	args = append(slices.Clone(s.args), "-url", "ws://{addr}/ws?system_id={system}&group_name={group}",
		"-pid", strconv.Itoa(server.Process.Pid), "-conns", strconv.Itoa(o.Conns), "-size", strconv.Itoa(o.Size),
		"-duration", o.Duration.String(), "-ready", ready, "-id-key", "client_id",
		"-label", name, "-json", out, "-quiet")
	if name == "centrifuge" {
		args = append(args, "-hello", `{"id":1,"connect":{}}`)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "{addr}", addr)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Duration+5*time.Minute)
	defer cancel()
	text, benchErr := exec.CommandContext(ctx, p.bench, args...).CombinedOutput()
	if benchErr != nil {
		benchErr = fmt.Errorf("bench: %w: %s", benchErr, text)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		return nil, errors.Join(benchErr, err)
	}
	r := new(result)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, errors.Join(benchErr, fmt.Errorf("the load generator's JSON: %w", err))
	}
	return r, benchErr
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func awaitListener(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server does not listen: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
