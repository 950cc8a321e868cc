package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carillon/bench/report"
)

// parallel is how many runs go on at the same time: more than there are processors, as
// most of the time they wait.
var parallel = "6"

// The test binary is also the worker and the floor, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case workerFlag:
			os.Exit(workerMain())
		case floorFlag:
			os.Exit(floorMain())
		}
	}
	flag.Set("test.parallel", parallel)
	if !full() {
		settle = 50 * time.Millisecond
	}
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// bench runs the program and returns what it wrote with -json, if it did.
func bench(t *testing.T, args ...string) (r *report.Result, stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "result.json")
	var out, watched strings.Builder
	err = run(ctx, append(args, "-json", file), &out, &watched)
	if b, err2 := os.ReadFile(file); err2 == nil {
		r = new(report.Result)
		if err := json.Unmarshal(b, r); err != nil {
			t.Fatal(err)
		}
	}
	return r, out.String(), err
}

// built is the server, built once for all tests.
var built struct {
	once        sync.Once
	dir, binary string
	err         error
}

// carillon starts a server for the test.
func carillon(t *testing.T, flags ...string) (url, pid string) {
	t.Helper()
	built.once.Do(func() { built.dir, built.binary, built.err = buildServer(context.Background()) })
	if built.err != nil {
		t.Fatal(built.err)
	}
	s, err := launch(built.binary, 1, append([]string{"-ping-interval", "1s"}, flags...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	p := s.processes[0]
	return strings.Replace(defaultURL, defaultPlace, p.place, 1), fmt.Sprint(p.cmd.Process.Pid)
}

// Every scenario, small, against a real server.
func TestScenarios(t *testing.T) {
	tests := []struct {
		name       string
		args       string
		deliveries int64 // exactly; -1 for some
		pushes     int64
	}{
		{"connect", "connect -conns 100", 0, 0},
		{"connect on schedule", "connect -conns 50 -rate 200 -procs 3", 0, 0},
		{"idle", "idle -conns 100 -duration 2s", 0, 0},
		{"fanout", "fanout -conns 100 -duration 500ms -rate 20", 1000, 10},
		{"fanout to few", "fanout -conns 100 -receivers 30 -duration 500ms -rate 20 -procs 2", 300, 10},
		{"fanout to a group", "fanout -conns 100 -target group -receivers 7 -duration 500ms -rate 20 -procs 3", 70, 10},
		{"fanout to all", "fanout -conns 100 -target all -duration 500ms -rate 20 -size 3000", 1000, 10},
		{"fanout as fast as possible", "fanout -conns 100 -duration 500ms -rate 0", -1, -1},
		{"fanout to some and floor", "fanout -conns 60 -receivers 50 -duration 800ms -rate 10 -floor", 400, 8},
		{"fanout and floor", "fanout -conns 100 -duration 1s -rate 20 -floor", 2000, 20},
		{"unicast", "unicast -conns 100 -duration 500ms -rate 1000", 500, 500},
		{"unicast as fast as possible", "unicast -conns 100 -duration 500ms -rate 0 -senders 3", -1, -1},
		{"echo", "echo -conns 100 -duration 500ms -rate 1000 -procs 2", 500, 500},
		{"echo as fast as possible", "echo -conns 50 -duration 500ms -rate 0", -1, -1},
		{"churn", "churn -conns 100 -inflight 20 -duration 1s -rate 100 -push-rate 40", -1, 40},
		{"churn without pushes", "churn -conns 60 -inflight 20 -duration 1s -push-rate 0", 0, 0},
		{"storm", "storm -conns 100", 100, 1},
		{"soak", "soak -conns 100 -inflight 20 -duration 1s -rate 60 -push-rate 20", -1, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, pid := carillon(t)
			args := append(strings.Fields(tt.args), "-url", url, "-pid", pid)
			r, out, err := bench(t, args...)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if r.Scenario != args[0] || r.Conns < 50 || r.Seconds <= 0 || r.Commit == "" || r.Machine.CPUs == 0 || !strings.Contains(r.Command, tt.args) {
				t.Errorf("result %+v", r)
			}
			if tt.deliveries >= 0 && r.Deliveries != tt.deliveries || tt.deliveries < 0 && r.Deliveries == 0 {
				t.Errorf("%d deliveries, want %d", r.Deliveries, tt.deliveries)
			}
			if tt.pushes >= 0 && r.Pushes != tt.pushes || tt.pushes < 0 && r.Pushes == 0 {
				t.Errorf("%d pushes, want %d", r.Pushes, tt.pushes)
			}
			if l := r.Latency; r.Deliveries > 0 && (l.Count != r.Deliveries || l.P50 < 1 || l.P50 > l.P99 || l.P99 > l.Max) {
				t.Errorf("latency %+v of %d deliveries", l, r.Deliveries)
			}
			if r.Connect.Count == 0 || len(r.Distribution) == 0 && (r.Deliveries > 0 || r.Scenario == "connect") {
				t.Errorf("connect latency %+v, distribution %v", r.Connect, r.Distribution)
			}
			if tt.name == "fanout and floor" && (r.Floor == nil || r.Floor.Deliveries != 2000 || r.Floor.Size != int(r.MessageBytes) || !strings.Contains(out, "floor")) {
				t.Errorf("floor %+v\n%s", r.Floor, out)
			}
			if _, err := os.Stat("/proc/self/stat"); err == nil && (r.ServerCPUSeconds == nil || *r.ServerCPUSeconds < 0 || r.ServerRSS == nil || *r.ServerRSS < 1<<20) {
				t.Errorf("figures of /proc: %v, %v", r.ServerCPUSeconds, r.ServerRSS)
			}
			if !strings.Contains(out, "0 lost") {
				t.Errorf("printed\n%s", out)
			}
		})
	}
}

// The floor alone, and servers that bench builds: several, with a client process
// each.
func TestStartsServers(t *testing.T) {
	t.Parallel()
	r, out, err := bench(t, "floor", "-conns", "60", "-duration", "500ms", "-rate", "20", "-quiet")
	if err != nil || r == nil || r.Deliveries != 600 || r.Server != "floor" {
		t.Errorf("floor: %v\n%s", err, out)
	}
	page := filepath.Join(t.TempDir(), "page.html")
	r, out, err = bench(t, "fanout", "-servers", "3", "-server-flags", "-pollers 1", "-conns", "90", "-duration", "500ms", "-rate", "20", "-html", page)
	if err != nil || r == nil || r.Deliveries != 900 || r.Servers != 3 || r.ClientProcesses != 3 {
		t.Errorf("three servers: %v\n%s", err, out)
	}
	if b, err := os.ReadFile(page); err != nil || !strings.Contains(string(b), "<svg") {
		t.Errorf("-html: %v, %d bytes", err, len(b))
	}
}

// One command makes a file of several runs, and of nothing if one of them fails.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, line := range numbers {
		if strings.HasPrefix(line, "go test ") {
			continue
		}
		args := strings.Fields(line)
		if s := findScenario(args[0]); s == nil {
			t.Errorf("%s: no such scenario", line)
		} else if c, err := parseFlags(s, args[1:], io.Discard); err != nil || c.servers == 0 {
			t.Errorf("%s: %v, or against a server that is there by chance", line, err)
		}
	}
	file := filepath.Join(t.TempDir(), "all.json")
	lines := []string{"floor -conns 20 -duration 200ms -rate 10", "floor -conns 30 -duration 200ms -rate 10"}
	bad := append(slices.Clone(lines), "connect -url ws://127.0.0.1:1/")
	if err := runNumbers(t.Context(), bad, []string{"-json", file}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no server at") {
		t.Errorf("without a server: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file of half of the runs")
	}
	if err := runNumbers(t.Context(), lines, []string{"-json", file}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"report", "-markdown", file}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if !strings.Contains(out.String(), "`go run ./bench "+line+"`") {
			t.Errorf("no row of %s in\n%s", line, &out)
		}
	}
}

func TestNoServer(t *testing.T) {
	// Nothing listens on port 1.
	_, _, err := bench(t, "fanout", "-url", "ws://127.0.0.1:1/ws")
	if err == nil || !strings.Contains(err.Error(), "no server at 127.0.0.1:1") || strings.Contains(err.Error(), "\n") {
		t.Errorf("no server: %v", err)
	}
}

func TestHelp(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"-h"}, &out, &out); !errors.Is(err, errHelp) {
		t.Error(err)
	}
	for _, s := range scenarios {
		if !strings.Contains(out.String(), s.name) {
			t.Errorf("-h does not name %s", s.name)
		}
		var own strings.Builder
		if err := run(t.Context(), []string{s.name, "-h"}, &own, &own); !errors.Is(err, errHelp) {
			t.Error(err)
		}
		for _, want := range []string{s.about, "-conns", "-json", "(default"} {
			if !strings.Contains(own.String(), want) {
				t.Errorf("%s -h has no %q", s.name, want)
			}
		}
	}
}

// Of few clients the memory of one is not told, or told with what is wrong with it.
func TestFewClients(t *testing.T) {
	t.Parallel()
	for grown, want := range map[int64]float64{-4096: 0, 0: 0, 4096: 1024} {
		if got := each(grown, 4); (got == nil) != (want == 0) || got != nil && *got != want {
			t.Errorf("%d bytes more for 4 clients: %v each, want %v", grown, got, want)
		}
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("memory is read from /proc")
	}
	url, pid := carillon(t)
	r, out, err := bench(t, "idle", "-conns", "5", "-duration", "200ms", "-url", url, "-pid", pid, "-quiet")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, v := range []*float64{r.RSSPerConn, r.PSSPerConn, r.KernelGrowthPerSocket, r.ClientBytesPerConn} {
		if v != nil && *v <= 0 {
			t.Errorf("a connection takes %v bytes", *v)
		}
	}
	if !strings.Contains(out, "warning: ") || !strings.Contains(out, "5 clients") || !strings.Contains(out, "more are needed, such as -conns 10000") {
		t.Errorf("nothing says that 5 clients are too few:\n%s", out)
	}
}

// Of a server that dies there are no figures from half of the run.
func TestServerDies(t *testing.T) {
	t.Parallel()
	url, id := carillon(t)
	pid, err := strconv.Atoi(id)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(1500*time.Millisecond, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	r, out, err := bench(t, "idle", "-conns", "20", "-duration", "3s", "-url", url, "-pid", id)
	if err == nil || !strings.Contains(err.Error(), "20 connections broken") {
		t.Errorf("%v\n%s", err, out)
	}
	if r == nil || r.ServerCPUSeconds != nil || r.ServerRSS != nil || r.RSSPerConn != nil {
		t.Errorf("figures of a dead server:\n%s", out)
	}
}

// A process that listens at two addresses is counted once.
func TestOneProcessAtTwoAddresses(t *testing.T) {
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		t.Skip("who listens is looked up in /proc")
	}
	c := &config{timeout: time.Minute}
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c.urls = append(c.urls, "ws://"+ln.Addr().String()+"/")
	}
	if pids, err := findServers(c); err != nil || !slices.Equal(pids, []int{os.Getpid()}) {
		t.Errorf("%v, %v, want %d once", pids, err, os.Getpid())
	}
}

// Interrupting ends a run soon, with its children.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(1500*time.Millisecond, cancel)
	var out strings.Builder
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"floor", "-conns", "50", "-duration", "10m", "-quiet"}, &out, &out) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("an interrupted run is no success")
		}
	case <-time.After(time.Minute):
		t.Fatal("does not end")
	}
}

func TestPlacement(t *testing.T) {
	p := placement{Receivers: 10, Groups: 3, OtherSystem: true, Stable: 14}
	for i := range 16 {
		system, group := p.of(i)
		switch {
		case i < 10:
			if system != 0 || int(group) != i%3 {
				t.Errorf("client %d: %d, %d", i, system, group)
			}
		case i < 14:
			if system != 1 || group != 3 {
				t.Errorf("client %d: %d, %d", i, system, group)
			}
		default:
			if system != 0 || group != -1 {
				t.Errorf("client %d: %d, %d", i, system, group)
			}
		}
	}
}

// Each client is one worker's, whatever their numbers.
func TestShares(t *testing.T) {
	for workers := 1; workers < 6; workers++ {
		for conns := range 20 {
			seen := map[int]bool{}
			for w := range workers {
				c := workerConfig{Worker: w, Workers: workers, Conns: conns}
				for i := range c.conns() {
					seen[c.number(i)] = true
				}
			}
			if len(seen) != conns || conns > 0 && (!seen[0] || !seen[conns-1]) {
				t.Errorf("%d workers hold %d of %d", workers, len(seen), conns)
			}
		}
	}
}

// What a push says is written as its type asks for.
func TestPushBody(t *testing.T) {
	n := names{Run: "r"}
	to := pushTarget{client: `a"&b`}
	for mimeType, want := range map[string]string{
		"application/json":                  `{"d":"x y","c":"a\"&b"}`,
		"application/x-www-form-urlencoded": `{"d":x+y,"c":a%22%26b}`,
		"text/plain":                        `{"d":x y,"c":a"&b}`,
	} {
		e := &endpoint{mimeType: mimeType, names: n}
		got := strings.ReplaceAll(e.text(`{"d":{data},"c":{client_id}}`, to, []byte("x y")), `\u0026`, "&")
		if got != want {
			t.Errorf("%s: %s, want %s", mimeType, got, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	args := []string{"fanout", "-json", "/a/b", "-url", "ws://h/?g={group}", "-quiet", "-html=/x", "--json=/y", "-hello", "it's", "-id-key", "", "-rate", "5"}
	want := `go run ./bench fanout -url 'ws://h/?g={group}' -hello 'it'\''s' -id-key '' -rate 5`
	if got := commandLine(args); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestScenarioNamesAreUnique(t *testing.T) {
	names := scenarioNames()
	slices.Sort(names)
	if len(slices.Compact(names)) != 9 {
		t.Errorf("scenarios %v", names)
	}
}
