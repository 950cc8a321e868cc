package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A result is what the load generator writes with -json, as far as it matters here.
// What it could not measure is nil.
type result struct {
	Scenario         string   `json:"scenario"`
	Conns            int      `json:"conns"`
	Seconds          float64  `json:"seconds"`
	Deliveries       int64    `json:"deliveries"`
	PerSecond        float64  `json:"deliveries_per_second"`
	CPUMicrosDeliver *float64 `json:"server_cpu_us_per_delivery"`
	CPUMicrosConnect *float64 `json:"server_cpu_us_per_connect"`
	RSSPerConn       *float64 `json:"rss_bytes_per_conn"`
	Latency          latency  `json:"latency_us"`
	Lost             int64    `json:"lost"`
	Duplicated       int64    `json:"duplicated"`
	Reordered        int64    `json:"reordered"`
	Wrong            int64    `json:"wrong"`
	Broken           int64    `json:"broken"`
	Failed           int64    `json:"failed"`
	SenderLate       float64  `json:"sender_late_ms"` // of the message that was sent the latest after it was due
	ClientLimited    bool     `json:"client_limited"`
}

type latency struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Count int64   `json:"count"`
}

// A run is one contender in one scenario of one round.
type run struct {
	Contender string  `json:"contender"`
	Scenario  string  `json:"scenario"` // of scenarios, which may differ from the generator's name
	Round     int     `json:"round"`
	Result    *result `json:"result"` // nil if there is none
	Error     string  `json:"error,omitempty"`
}

// A measure is a row of the table.
type measure struct {
	name     string
	scenario string
	of       func(*result) *float64 // nil for what was not measured
	format   string
}

var measures = []measure{
	{"resident memory of an idle connection, B", "idle", func(r *result) *float64 { return r.RSSPerConn }, "%.0f"},
	{"connect: server CPU, µs", "connect", func(r *result) *float64 { return r.CPUMicrosConnect }, "%.1f"},
	{"fan-out: server CPU of a delivery, µs", "fanout", cpuPerDelivery, "%.2f"},
	{"fan-out: deliveries a second", "fanout", perSecond, "%.0f"},
	{"fan-out at -load: p50, µs", "paced", p50, "%.0f"},
	{"fan-out at -load: p99, µs", "paced", p99, "%.0f"},
	{"fan-out at -load: p99.9, µs", "paced", p999, "%.0f"},
	{"push to one: server CPU, µs", "unicast", cpuPerDelivery, "%.1f"},
	{"push to one: p50, µs", "unicast", p50, "%.0f"},
	{"push to one: p99, µs", "unicast", p99, "%.0f"},
	{"push to one: p99.9, µs", "unicast", p999, "%.0f"},
	{"echo: server CPU of a message, µs", "echo", cpuPerDelivery, "%.2f"},
	{"echo: messages a second", "echo", perSecond, "%.0f"},
}

func cpuPerDelivery(r *result) *float64 { return r.CPUMicrosDeliver }
func perSecond(r *result) *float64      { return r.Latency.unlessEmpty(r.PerSecond) }
func p50(r *result) *float64            { return r.Latency.unlessEmpty(r.Latency.P50) }
func p99(r *result) *float64            { return r.Latency.unlessEmpty(r.Latency.P99) }
func p999(r *result) *float64           { return r.Latency.unlessEmpty(r.Latency.P999) }

func (l latency) unlessEmpty(v float64) *float64 {
	if l.Count == 0 {
		return nil
	}
	return &v
}

// A figure is a cell: the median over the rounds, and the median of the ratios to
// the floor of the same round, so that a machine that is slower in one round does
// not tilt it. NaN is for nothing measured.
type figure struct{ Median, Ratio float64 }

// MarshalJSON writes null for what was not measured.
func (f figure) MarshalJSON() ([]byte, error) {
	number := func(v float64) string {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "null"
		}
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	return fmt.Appendf(nil, `{"median":%s,"ratio_to_floor":%s}`, number(f.Median), number(f.Ratio)), nil
}

func (m measure) figure(runs []run, contender string) figure {
	floor := m.values(runs, floorName)
	var values, ratios []float64
	for round, v := range m.values(runs, contender) {
		values = append(values, v)
		if f := floor[round]; f > 0 {
			ratios = append(ratios, v/f)
		}
	}
	return figure{median(values), median(ratios)}
}

// values are a contender's, by round.
func (m measure) values(runs []run, contender string) map[int]float64 {
	values := map[int]float64{}
	for _, r := range runs {
		if r.Contender == contender && r.Scenario == m.scenario && r.Result != nil {
			if v := m.of(r.Result); v != nil {
				values[r.Round] = *v
			}
		}
	}
	return values
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func (f figure) text(format string) string {
	if math.IsNaN(f.Median) {
		return "–"
	}
	text := fmt.Sprintf(format, f.Median)
	if !math.IsNaN(f.Ratio) {
		text += fmt.Sprintf(" ×%.2f", f.Ratio)
	}
	return text
}

// writeTable has a row for each measure and a column for each contender, and below
// it the notes.
func writeTable(w io.Writer, contenders []string, runs []run) error {
	const firstColumn = "%-42s\t" // on the left; tabwriter puts all on the right
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, firstColumn, "median ×ratio to the floor")
	for _, c := range contenders {
		fmt.Fprintf(t, "%s\t", c)
	}
	fmt.Fprintln(t)
	for _, m := range measures {
		fmt.Fprintf(t, firstColumn, m.name)
		for _, c := range contenders {
			fmt.Fprintf(t, "%s\t", m.figure(runs, c).text(m.format))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range notes(runs) {
		if _, err := fmt.Fprintln(w, note); err != nil {
			return err
		}
	}
	return nil
}

// notes say what makes a figure doubtful.
func notes(runs []run) []string {
	all := []string{}
	limited, late := map[string][]string{}, map[string][]string{} // by scenario
	for _, r := range runs {
		where := fmt.Sprintf("%s in round %d", r.Contender, r.Round)
		if r.Error != "" {
			all = append(all, fmt.Sprintf("%s of %s: %s", r.Scenario, where, r.Error))
		}
		if r.Result != nil && r.Result.ClientLimited {
			limited[r.Scenario] = append(limited[r.Scenario], where)
		}
		if r.Result != nil && r.Result.SenderLate > maxLate {
			late[r.Scenario] = append(late[r.Scenario], fmt.Sprintf("%s (%.0f ms)", where, r.Result.SenderLate))
		}
	}
	for _, s := range slices.Sorted(maps.Keys(limited)) {
		all = append(all, fmt.Sprintf("%s: the load generator, not the server, was the limit of %s", s, strings.Join(limited[s], ", ")))
	}
	for _, s := range slices.Sorted(maps.Keys(late)) {
		all = append(all, fmt.Sprintf("%s: the machine had no time for the load generator, which pushed late, of %s", s, strings.Join(late[s], ", ")))
	}
	return all
}

// maxLate, in ms, is what the latencies can bear.
const maxLate = 20
