package socketfile

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// short is a directory whose name leaves room for a socket's.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestListen(t *testing.T) {
	path := filepath.Join(short(t), "s")
	for _, mode := range []os.FileMode{0o660, 0o600, 0o777} {
		old := syscall.Umask(0o077)
		l, err := Listen(path, mode)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Lstat(path); err != nil || st.Mode() != mode|os.ModeSocket {
			t.Errorf("%v, %v, want mode %v", st, err, mode)
		}
		if _, err := Listen(path, mode); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("beside a living one: %v", err)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("the living one was taken away: %v", err)
		}
		conn.Close()
		l.Close()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file stays: %v", err)
		}
	}
}

func TestListenOverWhatIsThere(t *testing.T) {
	dir := short(t)
	stale := filepath.Join(dir, "stale")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	l, err := Listen(stale, 0o600)
	if err != nil {
		t.Fatalf("over a stale one: %v", err)
	}
	// Another process has put its own there.
	if err := os.Rename(stale, filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	other, err := Listen(stale, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l.Close()
	if conn, err := net.Dial("unix", stale); err != nil {
		t.Errorf("the other's file is gone: %v", err)
	} else {
		conn.Close()
	}

	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		if l, err := Listen(path, 0o600); err == nil {
			l.Close()
			t.Errorf("listens at %s", path)
		} else if !strings.Contains(err.Error(), "no socket") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file: %q, %v", b, err)
	}
	if _, err := Listen(filepath.Join(dir, "no", "s"), 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
	if _, err := Listen(filepath.Join(dir, strings.Repeat("x", MaxPath)), 0o600); err == nil {
		t.Error("listens at too long a path")
	}
}
