package engine

import (
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
)

// A connection that went to net/http is watched by nobody here: the kernel's own
// list of what nbio's epoll descriptor watches has only its wake-up descriptor.
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
	if n := watched(); n != 2 {
		t.Fatalf("%d descriptors are watched, want the client and the wake-up", n)
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
		if n := watched(); n != 2 {
			t.Fatalf("%d descriptors are watched while one is with net/http, want 2", n)
		}
		handed.Close()
	}
	push(t, e, ToClient("1", p.id), "1")
	p.next()
}
