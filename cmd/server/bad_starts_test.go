package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// One clear line that names the flag or the variable, whatever is wrong. Exit status
// 2 says that it is what the operator wrote, 1 that it is the machine.
func TestBadStarts(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	empty := filepath.Join(t.TempDir(), "empty")
	os.WriteFile(empty, nil, 0o600)
	dir := t.TempDir()
	writeCertificate(t, dir, "test")
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	tests := []struct {
		name string
		env  []string
		args []string
		code int
		want string
	}{
		{"port in use", nil, []string{"-addr", busy.Addr().String()}, 1, "-addr: " + busy.Addr().String() + ": address already in use"},
		{"port in use, from a variable", []string{"CARILLON_ADDR=" + busy.Addr().String()}, nil, 1, "CARILLON_ADDR: " + busy.Addr().String() + ": address already in use"},
		{"API port in use", nil, []string{"-addr", "127.0.0.1:0", "-api-addr", busy.Addr().String()}, 1, "-api-addr: " + busy.Addr().String() + ": address already in use"},
		{"unknown host", nil, []string{"-addr", "nosuchhost.invalid:1"}, 1, "-addr: nosuchhost.invalid:1: unknown host nosuchhost.invalid"},
		{"unknown host of the API", nil, []string{"-api-addr", "nosuchhost.invalid:1", "-api-key", "k"}, 1, "-api-addr: nosuchhost.invalid:1: unknown host"},
		{"another's address", nil, []string{"-addr", "192.0.2.1:1", "-api-key", "k"}, 1, "-addr: 192.0.2.1:1: not an address of this machine"},
		{"unknown flag", nil, []string{"-nonsense"}, 2, "-nonsense: no such flag; carillon -h lists the flags"},
		{"misspelt flag", nil, []string{"--max-quue=1"}, 2, "is it -max-queue?; carillon -h"},
		{"argument", nil, []string{"nonsense"}, 2, "argument nonsense is unexpected"},
		{"argument behind a flag", nil, []string{"-insecure", "true"}, 2, "argument true is unexpected"},
		{"no value", nil, []string{"-max-queue"}, 2, "-max-queue: want a value"},
		{"no number", nil, []string{"-max-groups", "many"}, 2, "-max-groups: many: want"},
		{"no size", nil, []string{"-max-queue", "64XB"}, 2, "-max-queue: 64XB: want a size such as 65536, 64KiB"},
		{"no time", nil, []string{"-ping-interval", "5"}, 2, "25s"},
		{"short time", nil, []string{"-ping-interval", "5ms"}, 2, "at least 1s"},
		{"long time", nil, []string{"-ping-interval", "100h"}, 2, "-ping-interval: 100h: want 1s to 24h"},
		{"no such language", nil, []string{"-lang", "fr"}, 2, "zh, en"},
		{"no address", nil, []string{"-addr", "here"}, 2, "-addr: here: want host:port"},
		{"no port", nil, []string{"-addr", "127.0.0.1:99999"}, 2, "-addr: 127.0.0.1:99999: want a port from 0 to 65535"},
		{"no socket", nil, []string{"-addr", "unix:"}, 2, "-addr: unix:: want unix: and the path"},
		{"not a socket", nil, []string{"-addr", "unix:" + empty}, 1, "-addr: unix:" + empty + ": " + empty + " is there and is no socket"},
		{"no directory", nil, []string{"-addr", "127.0.0.1:0", "-api-addr", "unix:/nonexistent/s"}, 1, "-api-addr: unix:/nonexistent/s: bind: no such file"},
		{"option refused by the engine", nil, []string{"-node-id", "5000"}, 2, "-node-id: 5000: want 0 to 4095"},
		{"size refused by the engine", nil, []string{"-max-queue", "64"}, 2, "-max-queue: 64: want 1KiB to 1GiB"},
		{"the same, from a variable", []string{"CARILLON_MAX_QUEUE=64"}, nil, 2, "CARILLON_MAX_QUEUE: 64: want 1KiB to 1GiB"},
		{"long messages to echo", nil, []string{"-on-message", "echo", "-max-message", "1GiB"}, 2, "-max-message: 1GiB: want at most"},
		{"path taken", nil, []string{"-addr", "127.0.0.1:0", "-path", "/stats"}, 2, "-path: /stats: want"},
		{"public without a key", nil, []string{"-addr", "0.0.0.0:0"}, 2, "-insecure"},
		{"public by name", nil, []string{"-addr", ":0"}, 2, "-insecure"},
		{"public API", nil, []string{"-addr", "127.0.0.1:0", "-api-addr", "0.0.0.0:0"}, 2, "-api-addr"},
		{"no such file", nil, []string{"-api-key-file", "/nonexistent"}, 2, "/nonexistent"},
		{"empty file", nil, []string{"-api-key-file", empty}, 2, "no key"},
		{"bad variable", []string{"CARILLON_MAX_QUEUE=x"}, nil, 2, "CARILLON_MAX_QUEUE"},
		{"certificate without a key", nil, []string{"-tls-cert", empty}, 2, "-tls-cert: want -tls-key"},
		{"key without a certificate", []string{"CARILLON_TLS_KEY=" + empty}, nil, 2, "CARILLON_TLS_KEY: want -tls-cert"},
		{"no certificate", nil, []string{"-tls-cert", empty, "-tls-key", empty}, 2, "-tls-cert, -tls-key: "},
		{"no origin", nil, []string{"-allow-origin", "https://a.example,https://example.com/"}, 2, "-allow-origin: https://example.com/: want"},
		{"no host", nil, []string{"-allow-host", "a.example,b:1"}, 2, "-allow-host: b:1: want"},
		{"no network", nil, []string{"-trusted-proxies", "here"}, 2, "10.0.0.0/8"},
		{"no groups", nil, []string{"-max-groups", "0"}, 2, "at least 1"},
		{"no memory", nil, []string{"-memory-limit", "1KiB"}, 2, "-memory-limit: 1KiB: want at least 32MiB"},
		{"no mode", nil, []string{"-socket-mode", "rw"}, 2, "-socket-mode: rw: want permissions such as 0660"},
		{"no delay", nil, []string{"-drain-delay", "-1s"}, 2, "-drain-delay: -1s: want"},
		{"plain API for all", nil, []string{"-tls-cert", cert, "-tls-key", key, "-api-key", "k", "-api-addr", "0.0.0.0:0", "-api-tls", "off"}, 2, "-api-tls: off: want -api-addr on a loopback address"},
		{"plain API at one port", nil, []string{"-tls-cert", cert, "-tls-key", key, "-api-tls", "off"}, 2, "-api-tls: off: want -api-addr"},
		{"TLS without a certificate", nil, []string{"-api-addr", "127.0.0.1:0", "-api-tls", "on"}, 2, "-api-tls: on: want -tls-cert"},
		{"empty path", nil, []string{"-path", ""}, 2, "-path"},
		{"two lines", nil, []string{"-addr", "a\nb"}, 2, "-addr"},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(binary, tt.args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = environ(tt.env...), &stdout, &stderr
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || strings.Count(stderr.String(), "\n") != 1 ||
			!strings.HasPrefix(stderr.String(), "carillon: ") || !strings.Contains(stderr.String(), tt.want) || stdout.Len() > 0 {
			t.Errorf("%s: exit status %d, standard error %q, standard output %q; want %d and one line with %q", tt.name, code, &stderr, &stdout, tt.code, tt.want)
		}
	}
	s := start(t, "-addr", "0.0.0.0:0", "-insecure") // the last -addr counts
	if !strings.HasPrefix(s.addr, "127.0.0.1:") {
		t.Errorf("says to connect to %s", s.addr)
	}
	if !strings.Contains(s.get("/healthz"), "ok") {
		t.Error("-insecure does not serve")
	}
}
