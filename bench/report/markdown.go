package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Markdown is the results as tables for a README: the claims that they show, and a row
// for each of them with what was done, what came of it, and the command that does it
// again. What made a figure doubtful is said
// below it.
func Markdown(results []*Result) string {
	var b strings.Builder
	b.WriteString(madeAt(results) + ". Latencies are from when a message was due to be sent to when its client had it; no message was lost, " +
		"doubled or out of order unless the row says so.\n\n")
	var benchmarks []*Result
	for _, r := range results {
		if r.Scenario == GoBenchmark {
			benchmarks = append(benchmarks, r)
		}
	}
	b.WriteString(claimsTable(benchmarks, len(claims)) + "| what | figure | command |\n|---|---|---|\n")
	for _, r := range results {
		if r.Scenario == GoBenchmark {
			continue
		}
		what, figures := r.summary()
		if bad := r.Failures(); len(bad) > 0 {
			figures = append(figures, "FAILED: "+strings.Join(bad, ", "))
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` |\n", cell(what), cell(strings.Join(figures, "; ")), cell(r.Command))
	}
	var warnings []string
	for _, r := range results {
		if len(r.Warnings) > 0 {
			warnings = append(warnings, fmt.Sprintf("- `%s` warned: %s.", r.Command, strings.Join(r.Warnings, "; ")))
		}
	}
	if len(warnings) > 0 {
		b.WriteString("\n" + strings.Join(warnings, "\n") + "\n")
	}
	if len(benchmarks) > 0 {
		b.WriteString("\n| Go benchmark | figures | command |\n|---|---|---|\n")
	}
	for _, r := range benchmarks {
		command := "`" + r.Command + "`"
		for i := 0; i < len(r.Extra); {
			name, figures := r.Extra[i].Name, []string(nil)
			for ; i < len(r.Extra) && r.Extra[i].Name == name; i++ {
				f := r.Extra[i]
				if f.Unit == "ns/op" && f.Value >= 1e9 { // the time of the benchmark itself
					continue
				}
				figures = append(figures, significant(f.Value)+" "+f.Unit)
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(name), cell(strings.Join(figures, "; ")), command)
			command = ""
		}
	}
	return b.String()
}

// GoBenchmark is the scenario of results that Go benchmarks printed. Their figures are
// Extra, named for the benchmark.
const GoBenchmark = "go benchmark"

// significant is a figure with at least three digits.
func significant(v float64) string {
	switch {
	case v >= 1000:
		return Count(v)
	case v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// cell keeps a text inside its cell.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}

// madeAt says when and where the results come from; once if it is the same.
func madeAt(results []*Result) string {
	distinct := func(of func(r *Result) string) string {
		var all []string
		for _, r := range results {
			if s := of(r); !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
		return strings.Join(all, " and ")
	}
	return fmt.Sprintf("Measured on %s at commit %s, on %s", distinct(func(r *Result) string { return r.Date.Format("2006-01-02") }),
		distinct(func(r *Result) string { return r.Commit }), distinct(func(r *Result) string { return r.Machine.String() }))
}

// summary is a result in a row: what was done, and the figures that it was done for.
func (r *Result) summary() (what string, figures []string) {
	add := func(format string, v ...any) { figures = append(figures, fmt.Sprintf(format, v...)) }
	optional := func(v *float64, format string, text func(float64) string) {
		if v != nil {
			add(format, text(*v))
		}
	}
	latency := func() {
		if r.Latency.Count > 0 {
			add("p50 %s, p99 %s", Micros(float64(r.Latency.P50)), Micros(float64(r.Latency.P99)))
		}
	}
	perDelivery := func() {
		if v := r.ServerCPUPerDelivery; v != nil {
			add("%s of server CPU a delivery%s", Micros(*v), r.toFloor(func(r *Result) *float64 { return r.ServerCPUPerDelivery }))
		}
	}
	clients := Count(float64(r.Conns)) + " clients"
	if r.Servers > 1 {
		clients += fmt.Sprintf(" of %d servers", r.Servers)
	}
	rate := "as fast as possible"
	if r.Rate > 0 {
		rate = Count(r.Rate) + " a second"
	}
	switch r.Scenario {
	case "connect":
		what = clients + " connect, " + rate
		add("%s connects a second", Count(r.ConnectsPerSecond))
		optional(r.ServerCPUPerConnect, "%s of server CPU each", Micros)
		add("p99 %s", Micros(float64(r.Connect.P99)))
	case "idle":
		what = clients + " are idle"
		optional(r.RSSPerConn, "%s of resident memory each,"+r.over(), Bytes)
		optional(r.ServerCPUPerPing, "%s of server CPU a ping", Micros)
	case "fanout", "floor":
		what = fmt.Sprintf("pushes to %s of %s, %s", Count(float64(r.Receivers)), clients, rate)
		if r.Receivers == r.Conns {
			what = fmt.Sprintf("pushes to all of %s, %s", clients, rate)
		}
		if r.Servers > 1 {
			add("%s connects a second", Count(r.ConnectsPerSecond))
			optional(r.RSSPerConn, "%s of resident memory each", Bytes)
		}
		if r.Rate == 0 {
			add("%s deliveries a second%s", Count(r.DeliveriesPerSecond), r.toFloor(func(r *Result) *float64 { return &r.DeliveriesPerSecond }))
		}
		perDelivery()
		if r.Rate > 0 {
			latency()
		}
	case "unicast":
		what = fmt.Sprintf("pushes to one of %s, %s, each an HTTP call", clients, rate)
		latency()
		optional(r.ServerCPUPerDelivery, "%s of server CPU each", Micros)
	case "echo":
		what = fmt.Sprintf("messages of %s come back, %s", clients, rate)
		latency()
		optional(r.ServerCPUPerDelivery, "%s of server CPU each", Micros)
	case "churn":
		what = fmt.Sprintf("of %s, some connect, join a group, leave it and disconnect while pushes go out, %s", clients, rate)
		latency()
		add("%s deliveries a second", Count(r.DeliveriesPerSecond))
	case "storm":
		what = clients + " are cut off at once and come back"
		optional(r.extra(AllBack), "all back after %s", Micros)
		optional(r.ServerCPUPerConnect, "%s of server CPU each", Micros)
	case "soak":
		what = fmt.Sprintf("everything at once for %.0f s, %s", r.Seconds, clients)
		if m := r.RSSBeforeAfter; len(m) == 2 {
			add("resident memory %s before and %s after", Bytes(float64(m[0])), Bytes(float64(m[1])))
		}
		if d := r.DescriptorsBeforeAfter; len(d) == 2 {
			add("%s descriptors before and %s after", Count(float64(d[0])), Count(float64(d[1])))
		}
		latency()
	default:
		what = r.Scenario
	}
	return what, figures
}

// toFloor compares a figure with the floor's of the same run; empty if there is none.
func (r *Result) toFloor(of func(*Result) *float64) string {
	if r.Floor == nil {
		return ""
	}
	a, b := of(r), of(r.Floor)
	if a == nil || b == nil || *b <= 0 {
		return ""
	}
	return fmt.Sprintf(", **%.2f** of the bare write loop's", *a / *b)
}

// AllBack is the name of the figure that a storm is about.
const AllBack = "all back after"

func (r *Result) extra(name string) *float64 {
	for _, f := range r.Extra {
		if f.Name == name {
			return &f.Value
		}
	}
	return nil
}
