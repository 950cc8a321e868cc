package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// runScript calls run.sh where only the given tools are there; those that would change
// the machine, or run for long, only write down how they were called.
func runScript(t *testing.T, tools, args []string) (out, calls string) {
	t.Helper()
	bin := t.TempDir()
	log := filepath.Join(bin, "calls")
	for _, name := range append([]string{"sh", "dirname", "find", "head", "sed", "uname", "id", "mkdir", "mktemp", "rm"}, tools...) {
		path := filepath.Join(bin, name)
		switch name {
		case "go", "apt-get", "apt-cache", "qemu-system-x86_64":
			if err := os.WriteFile(path, []byte("#!/bin/sh\necho "+name+" \"$@\" >>'"+log+"'\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		default:
			real, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(real, path); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command("./run.sh", args...)
	cmd.Env = []string{"PATH=" + bin, "HOME=" + t.TempDir()}
	text, _ := cmd.CombinedOutput() // it cannot get as far as a guest
	b, _ := os.ReadFile(log)        // none if nothing was called
	return string(text), string(b)
}

// Without -install nothing is installed or fetched, and what is missing is named.
func TestScriptInstallsNothingUnasked(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the guest is an x86-64 machine, and so must the host be")
	}
	apt := []string{"apt-get", "apt-cache"}
	with := func(tools ...string) []string { return append(tools, apt...) }
	for _, tt := range []struct {
		name        string
		tools, args []string
		out         string // in what it says
		calls       string // in what it called; never apt without -install
	}{
		{"help", with("go"), []string{"-h"}, "-install", "go run ./bench/million -h"},
		{"help among others", with("go"), []string{"-n", "5000", "--help"}, "bench/million/run.sh -n 1000000", "-h"},
		{"help without go", apt, []string{"-h"}, "want go", ""},
		{"no go", apt, nil, "run.sh: want go", ""},
		{"no QEMU", with("go"), []string{"-n", "1000"}, "run.sh: want qemu-system-x86_64: install Debian's qemu-system-x86, or have -install do it", ""},
		{"no kernel", with("go", "qemu-system-x86_64"), nil, "run.sh: want a kernel: name its file in KERNEL, or have -install fetch", ""},
	} {
		out, calls := runScript(t, tt.tools, tt.args)
		if !strings.Contains(out, tt.out) || !strings.Contains(calls, tt.calls) || strings.Contains(calls, "apt") {
			t.Errorf("%s: says %q, want %q; calls %q, want %q", tt.name, out, tt.out, calls, tt.calls)
		}
	}
	out, calls := runScript(t, with("go", "qemu-system-x86_64"), []string{"-install"})
	if !strings.HasPrefix(calls, "apt-cache depends linux-image-cloud-amd64") || !strings.Contains(out, "no package linux-image-cloud-amd64") {
		t.Errorf("-install: says %q, calls %q", out, calls)
	}
	if os.Getuid() != 0 {
		return
	}
	if _, calls := runScript(t, with("go"), []string{"-install", "-n", "1000"}); !strings.Contains(calls, "apt-get install -y -q --no-install-recommends qemu-system-x86\n") {
		t.Errorf("-install without QEMU calls %q", calls)
	}
}
