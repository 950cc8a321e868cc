package report

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Table writes what a person wants to know of a result.
func (r *Result) Table(w io.Writer) {
	for _, row := range r.rows() {
		fmt.Fprintf(w, "  %-28s %s\n", row[0], row[1])
	}
	if r.Floor != nil {
		fmt.Fprintf(w, "\nfloor: the bare write loop, in turns with it\n")
		for _, row := range r.Floor.rows() {
			fmt.Fprintf(w, "  %-28s %s\n", row[0], row[1])
		}
		fmt.Fprintln(w)
		for _, row := range r.ratios() {
			fmt.Fprintf(w, "  %-28s %s\n", row[0], row[1])
		}
	}
	for _, s := range r.Warnings {
		fmt.Fprintf(w, "  warning: %s\n", s)
	}
}

// rows are names and values.
func (r *Result) rows() (rows [][2]string) {
	add := func(name, format string, v ...any) { rows = append(rows, [2]string{name, fmt.Sprintf(format, v...)}) }
	add("clients", "%s, in %s, of %s", Count(float64(r.Conns)), plural(r.ClientProcesses, "process", "es"), plural(r.Servers, "server", "s"))
	switch {
	case r.RateOf == "":
	case r.Rate > 0:
		add("asked for", "%g %s a second", r.Rate, r.RateOf)
	default:
		add("asked for", "%s as fast as possible: a throughput run", r.RateOf)
	}
	if r.Connect.Count > 0 {
		if r.ConnectsPerSecond > 0 {
			add("connects", "%s/s", Count(r.ConnectsPerSecond))
		}
		add("connect latency", "%s", r.Connect)
	}
	optional := func(name string, v *float64, format func(float64) string, suffix string) {
		if v != nil {
			add(name, "%s%s", format(*v), suffix)
		}
	}
	optional("server CPU per connect", r.ServerCPUPerConnect, Micros, "")
	if r.Deliveries > 0 {
		add("pushed", "%s in %.1f s", Count(float64(r.Pushes)), r.Seconds)
		add("delivered", "%s, %s/s, %.0f bytes each", Count(float64(r.Deliveries)), Count(r.DeliveriesPerSecond), r.MessageBytes)
		add("latency", "%s", r.Latency)
		optional("server CPU per delivery", r.ServerCPUPerDelivery, Micros, "")
		if r.SenderLate >= 1 {
			add("sender late by itself", "up to %.0f ms", r.SenderLate)
		}
	}
	optional("server CPU", r.ServerCores, func(v float64) string { return fmt.Sprintf("%.2f cores", v) }, "")
	if r.Seconds > 0 {
		add("client CPU", "%.2f cores, %.2f in the busiest process", r.ClientCPUSeconds/r.Seconds, r.ClientBusiest)
	}
	if r.ServerCores == nil {
		add("server CPU and memory", "n/a (no /proc, or no -pid)")
	}
	if r.ServerRSS != nil {
		add("server RSS", "%s", Bytes(float64(*r.ServerRSS)))
	}
	optional("  per connection", r.RSSPerConn, Bytes, r.over())
	optional("  PSS per connection", r.PSSPerConn, Bytes, "")
	optional("kernel per socket", r.KernelPerSocket, Bytes, ": "+r.KernelPerSocketSource)
	optional("  as the kernel grew", r.KernelGrowthPerSocket, Bytes, "")
	optional("client per connection", r.ClientBytesPerConn, Bytes, "")
	optional("server CPU per ping", r.ServerCPUPerPing, Micros, "")
	for _, f := range r.Extra {
		value := Count(f.Value)
		switch f.Unit {
		case "bytes":
			value = Bytes(f.Value)
		case "µs":
			value = Micros(f.Value)
		case "":
		default:
			value += " " + f.Unit
		}
		add(f.Name, "%s", value)
	}
	add("checked", "%d lost, %d duplicated, %d reordered, %d to the wrong receiver, %d broken", r.Lost, r.Duplicated, r.Reordered, r.Wrong, r.Broken)
	return rows
}

// over says what memory of a connection is over.
func (r *Result) over() string {
	if r.BaseConns == 0 {
		return " over the empty server"
	}
	return " over the server with " + Count(float64(r.BaseConns)) + " clients"
}

// ratios compare with the floor.
func (r *Result) ratios() (rows [][2]string) {
	if a, b := r.ServerCPUPerDelivery, r.Floor.ServerCPUPerDelivery; a != nil && b != nil && *b > 0 {
		rows = append(rows, [2]string{"CPU per delivery, to floor", fmt.Sprintf("%.2f", *a / *b)})
	}
	if a, b := r.DeliveriesPerSecond, r.Floor.DeliveriesPerSecond; r.Rate == 0 && b > 0 {
		rows = append(rows, [2]string{"deliveries/s, to floor", fmt.Sprintf("%.2f", a/b)})
	}
	return rows
}

func plural(n int, one, ending string) string {
	if n != 1 {
		one += ending
	}
	return fmt.Sprintf("%d %s", n, one)
}

// String is the percentiles in one line.
func (l Latency) String() string {
	if l.Count == 0 {
		return "none"
	}
	var b strings.Builder
	for i, p := range []struct {
		name string
		v    int64
	}{{"p50", l.P50}, {"p90", l.P90}, {"p99", l.P99}, {"p99.9", l.P999}, {"p99.99", l.P9999}, {"max", l.Max}} {
		if i > 0 {
			b.WriteString(", ") // a page shows two blanks as one
		}
		fmt.Fprintf(&b, "%s %s", p.name, Micros(float64(p.v)))
	}
	return b.String()
}

// Micros writes a time given in µs.
func Micros(us float64) string {
	switch {
	case us == 0:
		return "0"
	case us >= 1e6:
		return fmt.Sprintf("%.2f s", us/1e6)
	case us >= 1e4:
		return fmt.Sprintf("%.0f ms", us/1e3)
	case us >= 1e3:
		return fmt.Sprintf("%.1f ms", us/1e3)
	case us >= 100:
		return fmt.Sprintf("%.0f µs", us)
	}
	return fmt.Sprintf("%.1f µs", us)
}

// Bytes writes a size.
func Bytes(n float64) string {
	switch {
	case n >= 1<<30 || n <= -1<<30:
		return fmt.Sprintf("%.2f GiB", n/(1<<30))
	case n >= 1<<20 || n <= -1<<20:
		return fmt.Sprintf("%.1f MiB", n/(1<<20))
	}
	return Count(math.Round(n)) + " bytes"
}

// Count writes a number with commas, and a small one with a digit behind the point
// if it has one.
func Count(v float64) string {
	if v < 100 && v != float64(int64(v)) {
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
