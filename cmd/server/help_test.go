package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// output runs the binary and returns what it prints to standard output.
func output(t *testing.T, binary string, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = environ("CARILLON_API_KEY=a secret", "CARILLON_MAX_QUEUE=x") // mistakes do not keep help away
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%q: %v", args, err)
	}
	return string(out)
}

func TestHelp(t *testing.T) {
	help := output(t, binary, "-h")
	for _, args := range [][]string{{"--help"}, {"-help"}, {"help"}, {"-insecure", "-h"}, {"-max-queue", "1KiB", "--help"}} {
		if got := output(t, binary, args...); got != help {
			t.Errorf("%q is not -h: %.100q", args, got)
		}
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^  -([a-z-]+)`).FindAllStringSubmatch(help, -1) {
		names = append(names, m[1])
		if !strings.Contains(help, "["+envName(m[1])+"]") {
			t.Errorf("-h does not name the variable of -%s", m[1])
		}
	}
	if len(names) < 25 {
		t.Errorf("-h has %d flags:\n%s", len(names), help)
	}
	for _, want := range []string{"(default 127.0.0.1:9991)", "(default 64KiB)", "(default 0660)", "  carillon [flags]", "-ldflags", "-drain-delay"} {
		if !strings.Contains(help, want) {
			t.Errorf("-h has no %q:\n%s", want, help)
		}
	}
	if strings.Contains(help, "secret") || strings.Contains(help, "server [") {
		t.Errorf("-h has what it must not: %s", help)
	}
}

// The line has version, commit and Go version, and a build with -ldflags says which.
func TestVersion(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`^carillon (\S+) commit (\S+) go1\.\S+ \w+/\w+\n$`)
	for _, arg := range []string{"-version", "--version", "version", "-version=true"} {
		if got := output(t, binary, arg); !line.MatchString(got) {
			t.Errorf("%s: %q", arg, got)
		}
	}
	// As -h and the README of this directory have it, in a clone.
	git := needs(t, "git")
	clone := filepath.Join(t.TempDir(), "clone")
	if out, err := exec.Command(git, "clone", "-q", "../..", clone).CombinedOutput(); err != nil {
		t.Skipf("this is no repository: %s", out)
	}
	command := regexp.MustCompile(`go build -ldflags .*`).FindString(output(t, binary, "help"))
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir, cmd.Env = clone, append(os.Environ(), "GOFLAGS=-buildvcs=true")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	want, _ := exec.Command(git, "-C", clone, "rev-parse", "HEAD").Output()
	got := output(t, filepath.Join(clone, "carillon"), "version")
	if m := line.FindStringSubmatch(got); m == nil || m[1] != "v1.2.3" || !strings.HasPrefix(string(want), strings.TrimSuffix(m[2], "+changes")) {
		t.Errorf("%q: want v1.2.3 and commit %.12s", got, want)
	}
}
