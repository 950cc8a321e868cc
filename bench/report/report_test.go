package report

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"carillon/bench/machine"
)

// sample is a result with everything in it.
func sample(server string, factor float64) *Result {
	h := hdrhistogram.New(1, 1e8, 3)
	for i := range int64(10_000) {
		h.RecordValue(100 + i*int64(factor*10)/10)
	}
	of := func(v float64) *float64 { return &v }
	rss := int64(20 << 20)
	r := &Result{
		Scenario: "fanout", Server: server, Command: "go run ./bench fanout -label '" + server + "'", Commit: "abc", Machine: machine.This(),
		Date: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Conns: 5000, Receivers: 5000, Servers: 1, ClientProcesses: 1,
		Size: 128, MessageBytes: 302, Rate: 5, RateOf: "pushes", Seconds: 10, Pushes: 50, Deliveries: 250_000,
		DeliveriesPerSecond: 25_000 * factor, Latency: Summarize(h), Connect: Summarize(h), Distribution: Distribute(h),
		ServerCPUSeconds: of(2), ServerCores: of(0.2), ServerCPUPerDelivery: of(8 * factor), ServerRSS: &rss,
		RSSPerConn: of(900 * factor), Errors: []string{}, Warnings: []string{"a <b>warning</b>"},
		Extra: []Figure{{"pings", 12, ""}, {"time", 1200, "µs"}, {"size", 2048, "bytes"}, {"gone", 3, "clients"}},
	}
	for i := range 20 {
		r.Series = append(r.Series, Sample{T: float64(i) / 2, Conns: 5000, Deliveries: 25_000 * factor, P50: 90, P99: 400, ServerCores: of(0.2), ServerRSS: &rss})
	}
	return r
}

func TestFileKeepsResults(t *testing.T) {
	a, b := sample("a", 1), sample("b", 2)
	a.Floor = sample("floor", 0.9)
	for _, want := range [][]*Result{{a}, {a, b}} {
		name := filepath.Join(t.TempDir(), "r.json")
		if err := WriteFile(name, want...); err != nil {
			t.Fatal(err)
		}
		got, err := ReadFile(name)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d results came back as %d, %v, or different", len(want), len(got), err)
		}
	}
}

func TestDistributionRises(t *testing.T) {
	h := hdrhistogram.New(1, 1e8, 3)
	for i := range int64(100_000) {
		h.RecordValue(i + 1)
	}
	d := Distribute(h)
	if d[0].Q != 0 || d[len(d)-1] != (Quantile{1, h.Max()}) {
		t.Errorf("from %v to %v", d[0], d[len(d)-1])
	}
	for i := 1; i < len(d); i++ {
		if d[i].Q <= d[i-1].Q || d[i].V < d[i-1].V {
			t.Errorf("point %d, %v, after %v", i, d[i], d[i-1])
		}
	}
	l := Summarize(h)
	for _, p := range []struct {
		got  int64
		want float64
	}{{l.P50, 5e4}, {l.P90, 9e4}, {l.P99, 9.9e4}, {l.P999, 9.99e4}, {l.P9999, 9.999e4}, {l.Max, 1e5}} {
		if math.Abs(float64(p.got)-p.want) > p.want/500 {
			t.Errorf("percentile %d, want %v within the 3 digits", p.got, p.want)
		}
	}
	if Distribute(hdrhistogram.New(1, 10, 3)) != nil {
		t.Error("a distribution of nothing")
	}
}

func TestTableSaysWhatMatters(t *testing.T) {
	r := sample("carillon", 1)
	r.Floor = sample("floor", 0.5)
	r.Rate, r.Floor.Rate = 0, 0
	var b strings.Builder
	r.Table(&b)
	for _, want := range []string{
		"throughput run", "250,000, 25,000/s", "latency                      p50 5.1 ms, p90 9.1 ms, p99 10.0 ms, p99.9 10 ms, p99.99 10 ms, max 10 ms\n", "8.0 µs", "900 bytes", "CPU per delivery, to floor   2.00",
		"deliveries/s, to floor       2.00", "0 lost", "1.2 ms", "3 clients", "warning: a <b>",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	r = &Result{Scenario: "idle"}
	b.Reset()
	r.Table(&b)
	if !strings.Contains(b.String(), "n/a") {
		t.Errorf("without /proc:\n%s", &b)
	}
}

func TestFailures(t *testing.T) {
	if f := sample("a", 1).Failures(); len(f) != 0 {
		t.Errorf("failures of a good run: %v", f)
	}
	r := &Result{Lost: 1, Duplicated: 2, Reordered: 3, Wrong: 4, Broken: 5, Failed: 6, Floor: &Result{Lost: 7}}
	want := "1 lost, 2 duplicated, 3 reordered, 4 to the wrong receiver, 5 connections broken, 6 connections failed, floor: 7 lost"
	if got := strings.Join(r.Failures(), ", "); got != want {
		t.Errorf("failures %q, want %q", got, want)
	}
}

// The page is well-formed, loads nothing, and has the charts of all results.
func TestHTML(t *testing.T) {
	a, b := sample("carillon", 1), sample("<script>alert(1)</script>", 2)
	a.Floor = sample("floor", 0.9)
	var w bytes.Buffer
	if err := HTML(&w, []*Result{a, b}); err != nil {
		t.Fatal(err)
	}
	text := w.String()
	for _, bad := range []string{"<script", "src=", "http:", "https:", "@import", "url(", "<b>warning", "NaN", "Inf", "ZgotmplZ"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	for want, n := range map[string]int{"<svg": 6, `class="line c0"`: 6, `class="line c1"`: 6, `class="line c2"`: 6, `class="bars"`: 5, `class="card"`: 3} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%d of %s, want %d", got, want, n)
		}
	}
	for _, want := range []string{
		"<figcaption>Latency over time, p99 <small>of each half second, or the worst of several</small></figcaption>",
		"<figcaption>Latency by percentile <small>from when a message was due</small></figcaption>",
		">Latency, p50 <", ">Latency, p99 <",
		// A page shows several blanks as one, and breaks lines at it.
		"p50\u00a05.1\u00a0ms, p90\u00a09.1\u00a0ms, p99\u00a0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q in it", want)
		}
	}
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
}

// A page of results that lack nearly everything is still a page.
func TestHTMLOfLittle(t *testing.T) {
	for _, results := range [][]*Result{{{Scenario: "idle"}}, {{Scenario: "idle"}, {Scenario: "idle"}}} {
		var w bytes.Buffer
		if err := HTML(&w, results); err != nil || !strings.Contains(w.String(), "</html>") {
			t.Errorf("%d results: %v", len(results), err)
		}
	}
}

func TestLabelsTellApart(t *testing.T) {
	r := func(server, scenario string, rate float64) *Result {
		return &Result{Server: server, Scenario: scenario, Rate: rate}
	}
	got := labels([]*Result{r("a", "fanout", 0), r("b", "fanout", 0), r("b", "echo", 0), r("c", "fanout", 0), r("c", "fanout", 5), r("d", "x", 1), r("d", "x", 1)})
	want := []string{"a", "b fanout", "b echo", "c as fast as possible", "c 5/s", "d", "d #2"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("labels %q, want %q", got, want)
	}
}

func TestScales(t *testing.T) {
	for _, most := range []float64{0, 0.003, 1, 7, 9.99, 10, 11, 99, 12_345, 5e9} {
		s := linear(most, Count)
		if end := s.ticks[len(s.ticks)-1]; s.position(end) < 0.999 || end < most || most > 0 && end > 2.1*most || len(s.ticks) < 2 || len(s.ticks) > 8 {
			t.Errorf("linear to %v: ticks %v", most, s.ticks)
		}
	}
	s := logarithmic(3, 4_000, Micros)
	if s.position(1) != 0 || s.position(10_000) != 1 || len(s.ticks) != 5 {
		t.Errorf("logarithmic: %v", s.ticks)
	}
	n := nines(1e5)
	if n.position(0) != 0 || n.position(1) != 1 || math.Abs(n.position(0.99)-0.4) > 1e-9 || n.label(0.999) != "99.9%" || n.label(0.5) != "50%" {
		t.Errorf("nines: %v %v %v", n.position(0.99), n.label(0.999), n.label(0.5))
	}
}

func TestUnits(t *testing.T) {
	for got, want := range map[string]string{
		Micros(0): "0", Micros(9.94): "9.9 µs", Micros(150): "150 µs", Micros(1500): "1.5 ms", Micros(15_000): "15 ms", Micros(2.5e6): "2.50 s",
		Bytes(900): "900 bytes", Bytes(3 << 20): "3.0 MiB", Bytes(2 << 30): "2.00 GiB",
		Count(5): "5", Count(99.5): "99.5", Count(1234567): "1,234,567", Count(-4321): "-4,321", Count(100): "100",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
