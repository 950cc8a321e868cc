package main

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A client that reads late gets everything: the pushes wait for it.
func TestFloorWaitsForAFullSocket(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, err := startFloor(ln, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	s := &server{t: t, addr: ln.Addr().String()}
	c := s.dial("system_id=a")
	const pushes, size = 40, 500_000 // more than the sockets' buffers
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range pushes {
			s.push("/push_to_system", url.Values{"system_id": {"a"}, "data": {fmt.Sprint(i, strings.Repeat("x", size))}})
		}
	}()
	select {
	case <-done:
		t.Fatal("everything was taken before it was read: the test needs more")
	case <-time.After(200 * time.Millisecond):
	}
	for i := range pushes {
		if got := c.data(); got != fmt.Sprint(i, strings.Repeat("x", size)) {
			t.Fatalf("message %d: %d bytes, %.10q", i, len(got), got)
		}
	}
	<-done
}
