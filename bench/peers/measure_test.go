package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test binary serves as a peer when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// fakeBench is a load generator that writes what it was called with, and a result.
func fakeBench(t *testing.T, result, end string) (p programs) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p = programs{peers: self, dir: t.TempDir()}
	p.bench = filepath.Join(p.dir, "bench")
	script := "#!/bin/sh\ncd '" + p.dir + "'\necho \"$*\" >args\n" + result + "\n" + end + "\n"
	if err := os.WriteFile(p.bench, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMeasure(t *testing.T) {
	o := compareOptions{Conns: 7, Size: 100, Duration: 2 * time.Second, Load: 70}
	for _, tt := range []struct {
		name, result, end string
		wantCPU           float64 // 0 for no result
		wantErr           string
	}{
		{"good", `echo '{"server_cpu_us_per_delivery":8.5}' >result.json`, "exit 0", 8.5, ""},
		{"messages were lost", `echo '{"server_cpu_us_per_delivery":8.5,"lost":3}' >result.json`, "echo FAILED: 3 lost >&2; exit 1", 8.5, "3 lost"},
		{"no result", "", "echo no server >&2; exit 1", 0, "no server"},
		{"no JSON", "echo nothing >result.json", "exit 0", 0, "JSON"},
	} {
		p := fakeBench(t, tt.result, tt.end)
		got, err := p.measure(t.Context(), o, o.scenarios()[3], "centrifuge")
		if (got == nil) != (tt.wantCPU == 0) || got != nil && *got.CPUMicrosDeliver != tt.wantCPU {
			t.Errorf("%s: %+v, want %v", tt.name, got, tt.wantCPU)
		}
		if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: error %v, want %q in it", tt.name, err, tt.wantErr)
		}
		args, err := os.ReadFile(filepath.Join(p.dir, "args"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"fanout -rate=10 -size=100 -duration=2s", "-conns 7", `-hello {"id":1,"connect":{}}`} {
			if !strings.Contains(string(args), want) {
				t.Errorf("%s: the load generator was called with %s: no %s", tt.name, args, want)
			}
		}
		_, addr, _ := strings.Cut(string(args), "ws://")
		addr, _, _ = strings.Cut(addr, "/")
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Errorf("%s: the server at %s still runs", tt.name, addr)
		}
	}
}

func TestMeasureWithoutServer(t *testing.T) {
	p := fakeBench(t, "", "exit 0")
	if _, err := p.measure(t.Context(), compareOptions{}, scenario{}, "fork"); err == nil || !strings.Contains(err.Error(), "server") {
		t.Errorf("a server that does not start: %v", err)
	}
}
