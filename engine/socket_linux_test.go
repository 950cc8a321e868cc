package engine

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// A connection that went to net/http is watched by nobody here: the kernel's own
// list of what nbio's epoll descriptor watches has only what wakes it up.
func TestHandedOverIsForgotten(t *testing.T) {
	e := newEngine(t, Options{ServeHTTP: true, Pollers: 1})
	p := dial(t, e, "system_id=1")
	c, _ := e.Client(p.id)
	epfd := reflect.ValueOf(c.nc).Elem().FieldByName("p").Elem().FieldByName("epfd").Int()
	watched := func() int {
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", epfd))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(b), "tfd:")
	}
	if n := watched(); n != 4 {
		t.Fatalf("%d descriptors are watched, want the client, nbio's wake-up, ours, and the set of those to write to", n)
	}
	for range 20 {
		api := rawConn(t, e, "GET /api HTTP/1.1\r\n")
		handed, err := e.HTTP().Accept()
		if err != nil {
			t.Fatal(err)
		}
		api.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(handed); err != nil || string(b) != "GET /api HTTP/1.1\r\n" {
			t.Fatalf("%q, %v", b, err)
		}
		if n := watched(); n != 4 {
			t.Fatalf("%d descriptors are watched while one is with net/http, want 4", n)
		}
		handed.Close()
	}
	push(t, e, ToClient("1", p.id), "1")
	p.next()
}

// A program that the process starts does not inherit the clients' sockets.
func TestSocketsAreNotInherited(t *testing.T) {
	e := newEngine(t, Options{})
	for range 5 {
		dial(t, e, "system_id=1")
	}
	child := exec.Command("sleep", "30")
	if err := child.Start(); err != nil {
		t.Skip("no program to start: ", err)
	}
	defer func() { child.Process.Kill(); child.Wait() }()
	eventually(t, "it runs", func() bool { // and not still this program
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child.Process.Pid))
		return string(b) == "sleep\n"
	})
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", child.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", child.Process.Pid, entry.Name()))
		if strings.HasPrefix(to, "socket:") {
			t.Errorf("it has descriptor %s, %s", entry.Name(), to)
		}
	}
}
