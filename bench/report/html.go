package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// WriteHTML writes one page, which needs nothing else, with the charts of the
// results side by side.
func WriteHTML(name string, results []*Result) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	err = HTML(f, results)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return err
}

// HTML is WriteHTML to a writer.
func HTML(w io.Writer, results []*Result) error {
	var shown []*Result
	for _, r := range results {
		shown = append(shown, r)
		if r.Floor != nil {
			shown = append(shown, r.Floor)
		}
	}
	names := labels(shown)
	type column struct {
		*Result
		Name  string
		Color int
		Again bool // the colours are used up: its lines are dashed
		Rows  [][2]string
		Bad   string
	}
	data := struct {
		Title   string
		Results []column
		Bars    []template.HTML
		Charts  []template.HTML
	}{Title: title(results), Bars: comparison(names, shown), Charts: charts(names, shown)}
	for i, r := range shown {
		data.Results = append(data.Results, column{r, names[i], i % palette, i >= palette, unbroken(r.rows()), strings.Join(r.Failures(), ", ")})
	}
	return page.Execute(w, data)
}

// unbroken keeps a percentile and its unit on one line.
func unbroken(rows [][2]string) [][2]string {
	for i, row := range rows {
		if strings.HasSuffix(row[0], "latency") {
			rows[i][1] = strings.ReplaceAll(strings.ReplaceAll(row[1], " ", "\u00a0"), ",\u00a0", ", ")
		}
	}
	return rows
}

func title(results []*Result) string {
	var scenarios []string
	for _, r := range results {
		if !slices.Contains(scenarios, r.Scenario) {
			scenarios = append(scenarios, r.Scenario)
		}
	}
	return strings.Join(scenarios, ", ")
}

// labels tells the results apart: by server, and those that this does not by more.
func labels(results []*Result) []string {
	names := make([]string, len(results))
	for i, r := range results {
		names[i] = r.Server
	}
	for _, more := range []func(r *Result) string{
		func(r *Result) string { return r.Scenario },
		func(r *Result) string {
			if r.Rate == 0 {
				return "as fast as possible"
			}
			return fmt.Sprintf("%g/s", r.Rate)
		},
		func(r *Result) string { return Count(float64(r.Conns)) + " clients" },
		func(r *Result) string { return r.Commit },
		func(r *Result) string { return r.Date.Format("15:04:05") },
	} {
		alike := map[string][]int{}
		for i, name := range names {
			alike[name] = append(alike[name], i)
		}
		for _, group := range alike {
			differs := func(i int) bool { return more(results[i]) != more(results[group[0]]) }
			if slices.ContainsFunc(group, differs) {
				for _, i := range group {
					names[i] += " " + more(results[i])
				}
			}
		}
	}
	seen := map[string]int{}
	for i, name := range names {
		if seen[name]++; seen[name] > 1 {
			names[i] += fmt.Sprintf(" #%d", seen[name])
		}
	}
	return names
}

func value(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// positive takes 0 for not measured.
func positive(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// comparison makes the bars, of the figures that two results have.
func comparison(names []string, results []*Result) (b []template.HTML) {
	if len(results) < 2 {
		return nil
	}
	for _, f := range []struct {
		title, hint string
		of          func(r *Result) float64
		format      func(float64) string
	}{
		{"Deliveries a second", "more is better, if they were as fast as possible", func(r *Result) float64 { return positive(r.DeliveriesPerSecond) }, Count},
		{"Server CPU per delivery", "less is better", func(r *Result) float64 { return value(r.ServerCPUPerDelivery) }, Micros},
		{"Latency, p50", "less is better", func(r *Result) float64 { return positive(float64(r.Latency.P50)) }, Micros},
		{"Latency, p99", "less is better", func(r *Result) float64 { return positive(float64(r.Latency.P99)) }, Micros},
		{"Memory per connection", "RSS over the server with few clients, less is better", func(r *Result) float64 { return value(r.RSSPerConn) }, Bytes},
		{"Server CPU per connect", "less is better", func(r *Result) float64 { return value(r.ServerCPUPerConnect) }, Micros},
	} {
		values, known := make([]float64, len(results)), 0
		for i, r := range results {
			if values[i] = f.of(r); !math.IsNaN(values[i]) {
				known++
			}
		}
		if known > 1 {
			b = append(b, bars(f.title, f.hint, names, values, f.format))
		}
	}
	return b
}

// charts makes those that there are figures for.
func charts(names []string, results []*Result) (c []template.HTML) {
	if h := distribution(names, results); h != "" {
		c = append(c, h)
	}
	for _, f := range []struct {
		title, hint string
		of          func(s Sample) float64
		format      func(float64) string
	}{
		{"Deliveries a second over time", "", func(s Sample) float64 { return s.Deliveries }, Count},
		{"Latency over time, p99", "of each half second, or the worst of several", func(s Sample) float64 { return positive(float64(s.P99)) }, Micros},
		{"Connections over time", "", func(s Sample) float64 { return float64(s.Conns) }, Count},
		{"Server memory (RSS) over time", "", func(s Sample) float64 {
			if s.ServerRSS == nil {
				return math.NaN()
			}
			return float64(*s.ServerRSS) / (1 << 20)
		}, func(v float64) string { return fmt.Sprintf("%.3g MiB", v) }},
		{"Server CPU over time", "in cores", func(s Sample) float64 { return value(s.ServerCores) }, func(v float64) string { return fmt.Sprintf("%.3g", v) }},
	} {
		var lines []line
		most, end := 0.0, 0.0
		for i, r := range results {
			l := line{name: names[i], color: i, dashed: i >= palette}
			for _, s := range r.Series {
				v := f.of(s)
				l.x, l.y = append(l.x, s.T), append(l.y, v)
				end = math.Max(end, s.T)
				if v > most {
					most = v
				}
			}
			lines = append(lines, l)
		}
		if most > 0 && end > 0 {
			seconds := linear(end, func(v float64) string { return fmt.Sprintf("%.3g s", v) })
			c = append(c, plot(f.title, f.hint, seconds, linear(most, f.format), lines))
		}
	}
	return c
}

func distribution(names []string, results []*Result) template.HTML {
	least, most, count := math.Inf(1), 0.0, 0.0
	var lines []line
	for i, r := range results {
		l := line{name: names[i], color: i, dashed: i >= palette}
		for _, q := range r.Distribution {
			l.x, l.y = append(l.x, q.Q), append(l.y, float64(q.V))
			least, most = math.Min(least, float64(q.V)), math.Max(most, float64(q.V))
		}
		if len(r.Distribution) > 0 {
			lines = append(lines, l)
			count = math.Max(count, float64(max(r.Latency.Count, r.Connect.Count)))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return plot("Latency by percentile", "from when a message was due", nines(count), logarithmic(least, most, Micros), lines)
}
