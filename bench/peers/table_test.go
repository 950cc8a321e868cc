package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carillon/bench/machine"
)

func cpu(contender string, round int, micros float64) run {
	return run{Contender: contender, Scenario: "fanout", Round: round, Result: &result{CPUMicrosDeliver: &micros}}
}

func TestFigure(t *testing.T) {
	nothing := run{Contender: "gws", Scenario: "fanout", Round: 1, Error: "it fell over"}
	other := cpu("gws", 1, 1000)
	other.Scenario = "unicast"
	nan := math.NaN()
	for _, tt := range []struct {
		name string
		runs []run
		want figure
	}{
		{"nothing", nil, figure{nan, nan}},
		{"a run without a result", []run{nothing, cpu(floorName, 1, 8)}, figure{nan, nan}},
		{"another scenario", []run{other, cpu(floorName, 1, 8)}, figure{nan, nan}},
		{"no floor", []run{cpu("gws", 1, 12)}, figure{12, nan}},
		{"a floor of zero", []run{cpu("gws", 1, 12), cpu(floorName, 1, 0)}, figure{12, nan}},
		{"a floor of another round", []run{cpu("gws", 1, 12), cpu(floorName, 2, 8)}, figure{12, nan}},
		{"one round", []run{cpu(floorName, 1, 8), cpu("gws", 1, 12)}, figure{12, 1.5}},
		{"two rounds", []run{cpu(floorName, 1, 8), cpu("gws", 1, 12), cpu(floorName, 2, 8), cpu("gws", 2, 16)}, figure{14, 1.75}},
		// The machine was ten times slower in round 2: the ratio of the medians would be
		// 20/10 or 200/10, and the ratios are 2, 2 and 3.
		{"a slow round", []run{
			cpu(floorName, 1, 10), cpu("gws", 1, 20),
			cpu(floorName, 2, 100), cpu("gws", 2, 200),
			cpu(floorName, 3, 9), cpu("gws", 3, 27),
		}, figure{27, 2}},
		{"one round of three failed", []run{
			cpu(floorName, 1, 10), nothing, cpu(floorName, 2, 10), cpu("gws", 2, 30), cpu(floorName, 3, 10), cpu("gws", 3, 10),
		}, figure{20, 2}},
	} {
		m := measure{scenario: "fanout", of: cpuPerDelivery}
		if got := m.figure(tt.runs, "gws"); !same(got.Median, tt.want.Median) || !same(got.Ratio, tt.want.Ratio) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// allScenarios is a run of each scenario, read from what the load generator writes.
func allScenarios(t *testing.T, contender string, written string) (runs []run) {
	t.Helper()
	for _, s := range (compareOptions{Conns: 1, Load: 1}).scenarios() {
		r := new(result)
		if err := json.Unmarshal([]byte(written), r); err != nil {
			t.Fatal(err)
		}
		runs = append(runs, run{Contender: contender, Scenario: s.name, Round: 1, Result: r})
	}
	return runs
}

const (
	writtenByFloor = `{"rss_bytes_per_conn":500,"server_cpu_us_per_connect":40,"server_cpu_us_per_delivery":8,
		"deliveries_per_second":100000,"latency_us":{"p50":100,"p99":200,"p999":400,"count":7}}`
	writtenByGWS = `{"rss_bytes_per_conn":10000,"server_cpu_us_per_connect":60,"server_cpu_us_per_delivery":12,
		"deliveries_per_second":75000,"latency_us":{"p50":150,"p99":500,"p999":4000,"count":7},"client_limited":true,"sender_late_ms":31}`
	writtenByNbio = `{"rss_bytes_per_conn":null,"server_cpu_us_per_connect":null,"server_cpu_us_per_delivery":null,
		"deliveries_per_second":0,"latency_us":{"p50":0,"p99":0,"p999":0,"count":0}}`
)

func TestTable(t *testing.T) {
	runs := append(allScenarios(t, floorName, writtenByFloor), allScenarios(t, "gws", writtenByGWS)...)
	runs = append(runs, allScenarios(t, "nbio", writtenByNbio)...)
	runs = append(runs, run{Contender: "gorilla", Scenario: "echo", Round: 2, Error: "it fell over"})
	var out strings.Builder
	if err := writeTable(&out, []string{floorName, "gws", "nbio", "gorilla"}, runs); err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for line := range strings.Lines(out.String()) {
		name, cells, _ := strings.Cut(strings.Join(strings.Fields(line), " "), ", ")
		lines[name] = cells
	}
	for name, want := range map[string]string{ // after a comma
		"resident memory of an idle connection":                "B 500 ×1.00 10000 ×20.00 – –",
		"connect: server CPU":                                  "µs 40.0 ×1.00 60.0 ×1.50 – –",
		"fan-out: server CPU of a delivery":                    "µs 8.00 ×1.00 12.00 ×1.50 – –",
		"fan-out at -load: p50":                                "µs 100 ×1.00 150 ×1.50 – –",
		"echo: messages a second 100000 ×1.00 75000 ×0.75 – –": "",
		"push to one: p99.9":                                   "µs 400 ×1.00 4000 ×10.00 – –",
	} {
		if got, ok := lines[name]; got != want || !ok {
			t.Errorf("%s: %q, want %q in\n%s", name, got, want, out.String())
		}
	}
	for _, want := range []string{
		"echo of gorilla in round 2: it fell over\n",
		"fanout: the load generator, not the server, was the limit of gws in round 1\n",
		"paced: the machine had no time for the load generator, which pushed late, of gws in round 1 (31 ms)\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "floor in round") {
		t.Errorf("nothing was wrong with the floor:\n%s", out.String())
	}
}

func TestJSON(t *testing.T) {
	o := compareOptions{Conns: 5, Size: 128, Duration: time.Second, Rounds: 1, Load: 20, only: []string{floorName, "gws", "nbio"}}
	runs := append(allScenarios(t, floorName, writtenByFloor), allScenarios(t, "gws", writtenByGWS)...)
	file := filepath.Join(t.TempDir(), "out.json")
	if err := newComparison(o, runs).write(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Date              time.Time
		Machine           struct{ CPUs int }
		Command, Commit   string
		Contenders, Notes []string
		Options           struct{ Scenarios map[string][]string }
		Table             []struct {
			Measure string
			Figures map[string]map[string]*float64
		}
		Runs []run
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	memory := c.Table[0]
	if got := memory.Figures["gws"]; *got["median"] != 10000 || *got["ratio_to_floor"] != 20 {
		t.Errorf("%s of gws: %v", memory.Measure, got)
	}
	if got, ok := memory.Figures["nbio"]["median"]; got != nil || !ok {
		t.Errorf("%s of nbio: %v, want null", memory.Measure, got)
	}
	if len(c.Table) != len(measures) || len(c.Runs) != len(runs) || c.Machine.CPUs < 1 || c.Commit != machine.Commit() || len(c.Contenders) != 3 || len(c.Notes) != 12 ||
		c.Command != "go run . -compare -only floor,gws,nbio -conns 5 -size 128 -duration 1s -rounds 1 -load 20" ||
		time.Since(c.Date) > time.Hour || len(c.Options.Scenarios) != len(o.scenarios()) {
		t.Errorf("%+v", c)
	}
}

func TestOptions(t *testing.T) {
	good := compareOptions{Conns: 1, Size: 40, Rounds: 1, Load: 1, Duration: time.Second}
	for _, tt := range []struct {
		only string
		want string // the names, or what the error names
		with func(*compareOptions)
	}{
		{"", "floor,carillon,gws,gorilla,nbio,centrifuge", nil},
		{"gws,floor", "floor,gws", nil},
		{"gws,fork", `-only "fork"`, nil},
		{"", "-conns 0", func(o *compareOptions) { o.Conns = 0 }},
		{"", "-size 39", func(o *compareOptions) { o.Size = 39 }},
		{"", "-rounds -1", func(o *compareOptions) { o.Rounds = -1 }},
		{"", "-duration 1ms", func(o *compareOptions) { o.Duration = time.Millisecond }},
	} {
		o := good
		if tt.with != nil {
			tt.with(&o)
		}
		got := ""
		if err := o.check(tt.only); err != nil {
			got, _, _ = strings.Cut(err.Error(), ": want")
		} else {
			got = strings.Join(o.only, ",")
		}
		if got != tt.want {
			t.Errorf("-only %q: %q, want %q", tt.only, got, tt.want)
		}
	}
}
