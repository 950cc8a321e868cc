package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every scenario has its row, with the figures that it is run for.
func TestMarkdown(t *testing.T) {
	of := func(scenario string, rate float64) *Result {
		r := sample("carillon", 1)
		r.Scenario, r.Rate, r.Warnings, r.Command = scenario, rate, nil, "go run ./bench "+scenario
		return r
	}
	ratio := of("fanout", 0)
	ratio.Floor = sample("floor", 0.5)
	many := of("fanout", 5)
	many.Servers, many.Conns, many.Receivers = 6, 100_000, 100_000
	storm := of("storm", 0)
	storm.Extra = []Figure{{AllBack, 680_000, "µs"}}
	soak := of("soak", 50)
	soak.RSSBeforeAfter, soak.DescriptorsBeforeAfter = []int64{1 << 20, 2 << 20}, []int{10, 11}
	bad := of("echo", 5)
	bad.Lost, bad.Command, bad.Warnings = 3, "go run ./bench echo | cat", []string{"too hot", "too cold"}
	connect := of("connect", 0)
	connect.ConnectsPerSecond = 9_000
	for _, tt := range []struct {
		r    *Result
		want []string
	}{
		{connect, []string{"| 5,000 clients connect, as fast as possible | 9,000 connects a second;", "p99 10.0 ms | `go run ./bench connect` |"}},
		{of("idle", 0), []string{"| 5,000 clients are idle | 900 bytes of resident memory each"}},
		{ratio, []string{"| pushes to all of 5,000 clients, as fast as possible | 25,000 deliveries a second, **2.00** of", "8.0 µs of server CPU a delivery, **2.00** of"}},
		{of("fanout", 5), []string{"| pushes to all of 5,000 clients, 5 a second | 8.0 µs of server CPU a delivery; p50 5.1 ms, p99 10.0 ms |"}},
		{many, []string{"all of 100,000 clients of 6 servers, 5 a second | "}},
		{of("unicast", 2000), []string{"| pushes to one of 5,000 clients, 2,000 a second, each an HTTP call | p50 5.1 ms, p99 10.0 ms; 8.0 µs"}},
		{of("churn", 200), []string{"25,000 deliveries a second"}},
		{storm, []string{"all back after 680 ms"}},
		{soak, []string{"resident memory 1.0 MiB before and 2.0 MiB after; 10 descriptors before and 11 after"}},
		{bad, []string{"; FAILED: 3 lost | `go run ./bench echo \\| cat` |\n", "\n- `go run ./bench echo | cat` warned: too hot; too cold.\n"}},
	} {
		got := Markdown([]*Result{tt.r})
		for _, want := range append(tt.want, "Measured on 2026-11-24 at commit abc, on ") {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		if rows := strings.Count(got, "\n| "); rows != 2 || strings.Count(got, "warned") > 1 {
			t.Errorf("%d rows with the head, want 2:\n%s", rows, got)
		}
	}
	benchmark := &Result{Scenario: GoBenchmark, Command: "go test -bench A", Extra: []Figure{
		{"A/plain", 4e9, "ns/op"}, {"A/plain", 1004, "RSS-B/conn"}, {"A/plain", 664.72, "heap-B/conn"}, {"A/tls", 11, "goroutines"}, {"A/tls", 0.0123, "ratio"},
	}}
	if got, want := Markdown([]*Result{of("idle", 0), benchmark}), "| Go benchmark | figures | command |\n|---|---|---|\n"+
		"| A/plain | 1,004 RSS-B/conn; 665 heap-B/conn | `go test -bench A` |\n| A/tls | 11 goroutines; 0.0123 ratio |  |\n"; !strings.HasSuffix(got, want) {
		t.Errorf("no %s in\n%s", want, got)
	}
	other := of("idle", 0)
	other.Commit = "def"
	if got := Markdown([]*Result{ratio, other, ratio}); !strings.Contains(got, "at commit abc and def, on") {
		t.Errorf("of two commits:\n%s", got)
	}
}

func TestClaims(t *testing.T) {
	r := &Result{Scenario: GoBenchmark, Command: "go test -bench x", Extra: []Figure{
		{Name: "IdleMinute/wheel", Value: 0.5, Unit: "%core"}, {Name: "IdleMinute/full_walk", Value: 2, Unit: "%core"},
		{Name: "Fanout", Value: 1.0312, Unit: "cpu-to-bare-write"},
	}}
	want := "| claim | figure | command |\n|---|---|---|\n" +
		"| CPU of a delivery, to a bare write(2) | 1.03 cpu-to-bare-write | `go test -bench x` |\n" +
		"| heartbeat of a million idle clients | 0.5 %core, **0.25** of IdleMinute/full_walk | `go test -bench x` |\n\n"
	if got := claimsTable([]*Result{r}, len(claims)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := claimsTable(nil, len(claims)); got != "" {
		t.Errorf("without results: %s", got)
	}
}

// comparisonText is what bench/peers writes, in short.
const comparisonText = `{"command":"go run . -compare","commit":"abc","date":"2026-11-24T12:00:00Z",
	"machine":{"cpus":2,"model":"M","kernel":"Linux 6","go":"go1.26"},"contenders":["floor","gws"],
	"table":[{"measure":"CPU, µs","figures":{"floor":{"median":8,"ratio_to_floor":1},"gws":{"median":12.345,"ratio_to_floor":1.5}}},
		{"measure":"memory, B","figures":{"gws":{"median":12345.6,"ratio_to_floor":null},"floor":{"median":null,"ratio_to_floor":null}}}],
	"notes":["something"],"runs":[]}`

func TestComparison(t *testing.T) {
	name := filepath.Join(t.TempDir(), "peers.json")
	for _, bad := range []string{"[]", "{}", "nothing"} {
		if err := os.WriteFile(name, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadComparison(name); err == nil || !strings.Contains(err.Error(), "not a comparison") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := os.WriteFile(name, []byte(comparisonText), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := ReadComparison(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Measured on 2026-11-24 at commit abc, on 2 × M under Linux 6 with go1.26, by `go run . -compare`.",
		"| what | floor | gws |\n|---|---|---|\n| CPU, µs | 8.00 **×1.00** | 12.3 **×1.50** |\n| memory, B | – | 12,346 |\n\n- something\n",
	} {
		if got := c.Markdown(); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	c.Contenders = nil // of an older file
	if got := c.Markdown(); !strings.Contains(got, "| what | floor | gws |") {
		t.Errorf("without their order:\n%s", got)
	}
}
