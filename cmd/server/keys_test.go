package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseKeys(t *testing.T) {
	tests := []struct {
		text string
		want []string // nil: refused
		line int      // that is named, if any
	}{
		{"k1\n", []string{"k1"}, 0},
		{"k1", []string{"k1"}, 0},
		{"# comment\nk1\n\n  # and more\nk2\n", []string{"k1", "k2"}, 0},
		{"k1\r\n\r\n# c\r\nk2\r\n", []string{"k1", "k2"}, 0},
		{"\ufeffk1\nk2", []string{"k1", "k2"}, 0},
		{"\ufeff# comment\nk1", []string{"k1"}, 0},
		{" \tk1 \n", []string{"k1"}, 0},
		{"k#1\n", []string{"k#1"}, 0},
		{"", nil, 0},
		{"\n\r\n \n# only a comment\n", nil, 0},
		{"\ufeff", nil, 0},
		{"k1\nsecret key\n", nil, 2},
		{"k1\nsecret # comment\n", nil, 2},
		{"k1\n\n# c\nsecret\tkey", nil, 4},
		{"secret\rkey\n", nil, 1},
		{"secr\u00e9t\n", nil, 1},
		{"secret\x00\n", nil, 1},
		{"\xff\xfes\x00e\x00c\x00", nil, 1}, // UTF-16
		{strings.Repeat("secret\n", 1001), nil, 0},
	}
	for _, tt := range tests {
		got, err := parseKeys("FILE", []byte(tt.text))
		if (err == nil) != (tt.want != nil) || !slices.Equal(got, tt.want) {
			t.Errorf("%.40q: %q, %v, want %q", tt.text, got, err, tt.want)
		}
		if err == nil {
			continue
		}
		if want := fmt.Sprintf("FILE:%d: ", tt.line); tt.line > 0 && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", tt.text, err, want)
		}
		if !strings.HasPrefix(err.Error(), "FILE:") || strings.Contains(err.Error(), "sec") {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
}

// status is that of a call with the key.
func (s *server) status(key string) int {
	s.t.Helper()
	req, _ := http.NewRequest("GET", "http://"+s.api+"/clients", nil)
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Keys are changed in a file, without a restart: by themselves, at SIGHUP, and not at
// all if the file is bad.
func TestKeysAreReadAgain(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-api-addr", "127.0.0.1:0"}} {
		file := write(t, t.TempDir(), "keys", "# ours\nold-secret\n")
		s := start(t, append(args, "-api-key-file", file, "-api-key", "flag-secret", "-log-level", "debug")...)
		for key, want := range map[string]int{"old-secret": 200, "flag-secret": 200, "#": 401, "ours": 401, "new-secret": 401} {
			if got := s.status(key); got != want {
				t.Errorf("at first: %s: %d, want %d", key, got, want)
			}
		}
		os.WriteFile(file, []byte("new-secret\r\n"), 0o600)
		eventually(t, "the new key is taken", func() bool { return s.status("new-secret") == 200 })
		if got := s.status("old-secret"); got != 401 {
			t.Errorf("the old key: %d", got)
		}

		os.WriteFile(file, []byte("newer-secret\nsecret with blanks\n"), 0o600)
		eventually(t, "the bad file is told of", func() bool {
			s.status("flag-secret")
			return strings.Contains(s.logs.String(), `keys:2: want one key`)
		})
		for key, want := range map[string]int{"new-secret": 200, "flag-secret": 200, "newer-secret": 401} {
			if got := s.status(key); got != want {
				t.Errorf("beside a bad file: %s: %d, want %d", key, got, want)
			}
		}
		os.Remove(file)
		eventually(t, "the missing file is told of", func() bool {
			s.status("flag-secret")
			return strings.Contains(s.logs.String(), "no such file")
		})
		if got := s.status("new-secret"); got != 200 {
			t.Errorf("beside no file: %d", got)
		}

		// A file of the same size and time, in the place of the other, as mv makes.
		next := write(t, filepath.Dir(file), "next", "hup-secret\n")
		os.Rename(next, file)
		s.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, "SIGHUP reads the keys", func() bool { return s.status("hup-secret") == 200 })
		if logs := s.logs.String(); strings.Contains(logs, "-secret") || !strings.Contains(logs, "API keys reloaded") || !strings.Contains(logs, `"level":"warn","remote":"127.0.0.1:`) {
			t.Errorf("the log has a key, or lacks a line: %s", logs)
		}
	}
}

// What can be read only once is, and a pipe that is put in the file's place holds
// nothing up.
func TestKeysFromAPipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go os.WriteFile(pipe, []byte("k\n"), 0)
	s := start(t, "-api-key-file", pipe)
	s.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "a warning", func() bool { return strings.Contains(s.logs.String(), "cannot be read again") })
	if got := s.status("k"); got != 200 {
		t.Errorf("%d", got)
	}

	file := write(t, t.TempDir(), "keys", "k")
	s = start(t, "-api-key-file", file)
	os.Remove(file)
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(checkEvery)
	if got := s.status("k"); got != 200 {
		t.Errorf("beside a pipe: %d", got)
	}
}
