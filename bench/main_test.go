package main

import (
	"context"
	"encoding/json"
	"errors"
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
func carillon(t *testing.T) (url, pid string) {
	t.Helper()
	built.once.Do(func() { built.dir, built.binary, built.err = buildServer(context.Background()) })
	if built.err != nil {
		t.Fatal(built.err)
	}
	s, err := launch(built.binary, 1, []string{"-ping-interval", "1s"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	p := s.processes[0]
	return strings.Replace(defaultURL, "127.0.0.1:9991", p.addr, 1), fmt.Sprint(p.cmd.Process.Pid)
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

func TestBadCommandLines(t *testing.T) {
	tests := []struct{ args, want string }{
		{"", "want a scenario"},
		{"fanuot", "want a scenario, one of connect, idle, fanout"},
		{"fanout x", `unexpected argument "x"`},
		{"fanout -conns 0", "-conns: want a whole number from 1"},
		{"fanout -conns many", "-conns: want a whole number from 1"},
		{"fanout -rate -1", "-rate: want a number from 0"},
		{"fanout -duration 10", "-duration: want a time up to 24h"},
		{"fanout -target everyone", "-target: want one of system, group, all"},
		{"fanout -receivers 10 -conns 5", "-receivers 10: want at most the 5 of -conns"},
		{"fanout -url http://x/", "-url \"http://x/\": want ws://"},
		{"fanout -url ws://x:y/", "-url \"x:y\": want host:port"},
		{"fanout -push-url ws://127.0.0.1:1/", "-push-url \"ws://127.0.0.1:1/\": want http://"},
		{"fanout -push-url http://a/ -push-url http://b/", "-push-url: want one for each -url"},
		{"fanout -push-body x", "-push-body \"x\": want {data}"},
		{"fanout -push ws", "-push ws: want -push-body"},
		{"fanout -servers 1 -pid 1", "-servers: want no -url"},
		{"fanout -server-flags x", "-server-flags: want -servers"},
		{"fanout -header x", "-header \"x\": want 'Name: value'"},
		{"fanout -pid x", "-pid \"x\": want the ID"},
		{"fanout -pid 4194999", "-pid 4194999: want the ID of a process, there is none"},
		{"fanout -json /does/not/exist", "-json: open /does/not/exist"},
		{"fanout -html /does/not/exist", "-html: open /does/not/exist"},
		{"fanout -procs 1 -servers 2", "-procs 1: want at least one for each of 2"},
		{"fanout -floor=perhaps", "-floor: want true or false"},
		{"echo -target all", "-target"},
		{"floor -url ws://127.0.0.1:1/", "-url"},
		{"churn -inflight 5 -conns 5", "-inflight 5: want less than"},
		{"unicast -id-key=", "-id-key: want the key"},
		{"numbers", "-json: want the file"},
		{"numbers x", `unexpected argument "x"`},
		{"numbers -json /does/not/exist", "-json: open /does/not/exist"},
		{"report -readme x -markdown", "-readme: want nothing else"},
		{"report -readme /does/not/exist", "-readme: open /does/not/exist"},
		{"report a.json", "-html: want the file"},
		{"report -html x", "want one or more results"},
		{"report -html x /does/not/exist", "/does/not/exist"},
	}
	for _, tt := range tests {
		var out strings.Builder
		err := run(t.Context(), strings.Fields(tt.args), &out, &out)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `value "`, `"`), tt.want) && !strings.Contains(withoutValue(err.Error()), tt.want) {
			t.Errorf("bench %s: %v, want %q in it", tt.args, err, tt.want)
		}
	}
}

// withoutValue cuts what package flag says before the flag's own words: invalid
// value "x" for flag -conns: …
func withoutValue(s string) string {
	_, after, _ := strings.Cut(s, "for flag ")
	_, after2, ok := strings.Cut(s, "for ")
	if after == "" && ok {
		after = after2
	}
	return after
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

// Of a server that dies there are no figures from half of the run.
func TestServerDies(t *testing.T) {
	t.Parallel()
	url, id := carillon(t)
	pid, err := strconv.Atoi(id)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2*time.Second, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	r, out, err := bench(t, "idle", "-conns", "20", "-duration", "4s", "-url", url, "-pid", id)
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

func TestURLs(t *testing.T) {
	for in, want := range map[string]webSocketURL{
		"ws://a:1":                      {"a:1", "/"},
		"ws://a/x?y={system}":           {"a:80", "/x?y={system}"},
		"ws://[::1]:5?g={group}":        {"[::1]:5", "/?g={group}"},
		"ws://127.0.0.1:9991/ws?a=b&c=": {"127.0.0.1:9991", "/ws?a=b&c="},
	} {
		if got, err := parseWebSocketURL(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "wss://a/", "ws://", "ws://a:0/", "ws://a:99999", "ws://a b/"} {
		if got, err := parseWebSocketURL(in); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
	addr, target, err := parseHTTPURL("http://h/push_to_{target}?x={y}")
	if err != nil || addr != "h:80" || target != "/push_to_{target}?x={y}" {
		t.Errorf("%s %s %v", addr, target, err)
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
