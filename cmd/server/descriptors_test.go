package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"carillon/engine"
	"carillon/httpapi"
)

// Whatever the limit, there is something for everybody, and never more than there is.
func TestShareOut(t *testing.T) {
	for _, loops := range []int{1, 2, 16, 256} {
		last := 0
		for limit := uint64(0); limit < 1<<21; limit = limit*5/4 + 1 {
			s := shareOut(limit, loops)
			used := s.clients + engine.RefusedAtOnce(s.clients) + httpapi.ListenerDescriptors(s.api) + 20 + 6*loops
			if s.clients > 1 && used > int(limit) {
				t.Errorf("%d descriptors, %d loops: %+v takes %d", limit, loops, s, used)
			}
			if s.clients < last || s.clients < 1 || s.api < 16 || s.api > 1024 {
				t.Errorf("%d descriptors, %d loops: %+v", limit, loops, s)
			}
			last = s.clients
			if limit > 10_000 && loops == 2 && s.clients < int(limit)*3/4 {
				t.Errorf("%d descriptors: %+v wastes some", limit, s)
			}
		}
	}
	if s := shareOut(1024, 2); s.clients < 500 {
		t.Errorf("1,024 descriptors: %+v, want some hundreds of clients", s)
	}
	if s := shareOut(^uint64(0), 2); s.clients != 1<<31 {
		t.Errorf("without a limit: %+v", s)
	}
}

// limited starts the server with so many descriptors.
func limited(t *testing.T, limit int, args ...string) *server {
	t.Helper()
	real := binary
	defer func() { binary = real }()
	binary = write(t, t.TempDir(), "limited", fmt.Sprintf("#!/bin/sh\nulimit -n %d && exec %s \"$@\"\n", limit, real))
	if err := exec.Command("chmod", "+x", binary).Run(); err != nil {
		t.Fatal(err)
	}
	return start(t, args...)
}

// With the limit that shells have by default, some hundreds are served, the API beside
// them; and the operator hears that it is not many.
func TestFewDescriptors(t *testing.T) {
	s := limited(t, 1024, "-api-addr", "127.0.0.1:0")
	eventually(t, "it serves", func() bool { return strings.Contains(s.logs.String(), `"serving"`) })
	n, _ := strconv.Atoi(regexp.MustCompile(`"max_connections":(\d+)`).FindStringSubmatch(s.logs.String())[1])
	if n < 500 || !strings.Contains(s.logs.String(), "only a few clients") {
		t.Errorf("max_connections %d: %s", n, s.logs)
	}
	for range n {
		s.dial("system_id=1")
	}
	if got := s.get("/stats"); !strings.Contains(got, fmt.Sprintf(`"connections":%d,`, n)) {
		t.Errorf("with %d clients: %s", n, got)
	}
	if status, body := s.post("/push_to_all", map[string][]string{"data": {"x"}}); status != 200 || !strings.Contains(body, fmt.Sprintf(`"written":%d`, n)) {
		t.Errorf("push: %d %s", status, body)
	}
	if status := knock(t, s.addr, request(""), 0); status != 503 {
		t.Errorf("one more: %d, want 503", status)
	}
}

// -max-connections is not cut in silence, and not warned of if it fits.
func TestMaxConnectionsIsCut(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-max-connections", "1000000"}, `"level":"warn","asked":1000000,"max_connections":`},
		{[]string{"-max-connections", "100"}, ""},
	} {
		s := limited(t, 2048, tt.args...)
		logs := s.logs.String()
		if tt.want == "" && strings.Contains(logs, "descriptors allow") || !strings.Contains(logs, tt.want) {
			t.Errorf("%v: want %s: %s", tt.args, tt.want, logs)
		}
	}
}
