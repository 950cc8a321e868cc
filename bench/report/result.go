// Package report holds what a run of the load generator found: the JSON, the table
// and the page with charts that are made of it.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"carillon/bench/machine"
)

// A Result is one scenario run against one server. What could not be measured is
// null.
type Result struct {
	// Scenario is the name on the command line.
	Scenario string `json:"scenario"`
	// Server is the label of what was tested.
	Server string `json:"server"`
	// Command is how to run it again.
	Command string          `json:"command"`
	Commit  string          `json:"commit"` // of the working tree; -dirty if it was changed
	Date    time.Time       `json:"date"`
	Machine machine.Machine `json:"machine"`

	// Conns is how many clients were connected, Receivers how many of them a push is
	// for.
	Conns     int `json:"conns"`
	Receivers int `json:"receivers"`
	// Servers and ClientProcesses are how many processes there were.
	Servers         int `json:"servers"`
	ClientProcesses int `json:"client_processes"`
	// Size is the payload of a message in bytes; MessageBytes is the mean of what
	// clients got around it.
	Size         int     `json:"size"`
	MessageBytes float64 `json:"message_bytes"`
	// Rate is what was asked for: pushes, messages, connections or clients that come
	// and go, a second. 0 is as fast as possible, with a bounded number under way.
	Rate float64 `json:"rate"`
	// RateOf is what Rate counts; empty if there is no such thing.
	RateOf string `json:"rate_of"`
	// Seconds is how long it was measured, from the first due time to the last
	// delivery.
	Seconds float64 `json:"seconds"`

	// Pushes is how many messages were sent, Refused how many the server refused
	// because too much waited, and Unsent how many were given up because the schedule
	// had fallen behind by more than the timeout.
	Pushes              int64   `json:"pushes"`
	Refused             int64   `json:"refused"`
	Unsent              int64   `json:"unsent"`
	Deliveries          int64   `json:"deliveries"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	// Latency is from when a message was due to be sent to when it arrived. Of the
	// scenario connect it is the same as Connect.
	Latency Latency `json:"latency_us"`
	// Connect is from when a connection was due to be made to when the client was
	// ready: its handshake done, and its welcome there if it waits for one.
	Connect           Latency `json:"connect_latency_us"`
	ConnectsPerSecond float64 `json:"connects_per_second"`
	// SenderLate is how much later than it could have been the latest message was
	// sent, in ms: than it was due, and than the server had answered the one before.
	SenderLate float64 `json:"sender_late_ms"`

	// Of the server's processes, user and system.
	ServerCPUSeconds     *float64 `json:"server_cpu_seconds"`
	ServerCPUPerDelivery *float64 `json:"server_cpu_us_per_delivery"`
	ServerCPUPerConnect  *float64 `json:"server_cpu_us_per_connect"`
	ServerCPUPerPing     *float64 `json:"server_cpu_us_per_ping,omitempty"`
	ServerCores          *float64 `json:"server_cores"` // busy on average
	ServerRSS            *int64   `json:"server_rss_bytes"`
	// RSSPerConn and what follows are for each connection but the first BaseConns,
	// with which the server was when it was measured before.
	BaseConns  int      `json:"base_conns"`
	RSSPerConn *float64 `json:"rss_bytes_per_conn"`
	PSSPerConn *float64 `json:"pss_bytes_per_conn"`
	// KernelPerSocket is what the kernel's objects of one socket take, without
	// buffers, and KernelGrowthPerSocket by how much all that the machine's kernel
	// holds has grown, which whatever else goes on distorts.
	KernelPerSocket        *float64 `json:"kernel_bytes_per_socket"`
	KernelGrowthPerSocket  *float64 `json:"kernel_growth_bytes_per_socket"`
	KernelPerSocketSource  string   `json:"kernel_bytes_source,omitempty"`
	ClientBytesPerConn     *float64 `json:"client_bytes_per_conn"`
	ClientCPUSeconds       float64  `json:"client_cpu_seconds"`
	ClientBusiest          float64  `json:"client_busiest_core"` // share of a core, of the busiest client process
	OtherCores             *float64 `json:"other_cores"`         // that neither server nor clients kept busy
	DescriptorsBeforeAfter []int    `json:"descriptors_before_after,omitempty"`
	RSSBeforeAfter         []int64  `json:"rss_before_after_bytes,omitempty"`

	// What fails the run.
	Lost       int64    `json:"lost"`
	Duplicated int64    `json:"duplicated"`
	Reordered  int64    `json:"reordered"`
	Wrong      int64    `json:"wrong"`
	Broken     int64    `json:"broken"` // connections that ended though they should not
	Failed     int64    `json:"failed"` // connections that were not made
	Errors     []string `json:"errors"`

	// ClientLimited says that the clients, not the server, were the bottleneck.
	ClientLimited bool     `json:"client_limited"`
	Warnings      []string `json:"warnings"`
	// Extra are figures of one scenario only, in order.
	Extra []Figure `json:"extra,omitempty"`
	// Floor is the same on the bare write loop, in the same run.
	Floor *Result `json:"floor,omitempty"`

	// Distribution is the latency at ever more nines; Series is what went on.
	Distribution []Quantile `json:"distribution"`
	Series       []Sample   `json:"series"`
}

// A Figure is a line of the table.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// A Latency sums up a histogram, in µs.
type Latency struct {
	P50   int64   `json:"p50"`
	P90   int64   `json:"p90"`
	P99   int64   `json:"p99"`
	P999  int64   `json:"p999"`
	P9999 int64   `json:"p9999"`
	Max   int64   `json:"max"`
	Mean  float64 `json:"mean"`
	Count int64   `json:"count"`
}

// A Quantile is a point of a latency distribution.
type Quantile struct {
	Q float64 `json:"q"` // 0 to 1
	V int64   `json:"us"`
}

// A Sample is one moment of a run.
type Sample struct {
	T           float64  `json:"t"` // seconds since the run began
	Conns       int64    `json:"conns"`
	Deliveries  float64  `json:"deliveries_per_second"`
	Connects    float64  `json:"connects_per_second"`
	P50         int64    `json:"p50_us"`
	P99         int64    `json:"p99_us"`
	ServerCores *float64 `json:"server_cores"`
	ServerRSS   *int64   `json:"server_rss_bytes"`
	ClientCores float64  `json:"client_cores"`
}

// Merge is one sample for n that s stands for and one that follows: rates are the
// mean, and percentiles the worst, so that no peak is lost.
func (s Sample) Merge(n int, o Sample) Sample {
	mean := func(a, b float64) float64 { return (float64(n)*a + b) / float64(n+1) }
	o.Deliveries, o.Connects = mean(s.Deliveries, o.Deliveries), mean(s.Connects, o.Connects)
	o.ClientCores = mean(s.ClientCores, o.ClientCores)
	o.P50, o.P99 = max(s.P50, o.P50), max(s.P99, o.P99)
	if s.ServerCores != nil && o.ServerCores != nil {
		cores := mean(*s.ServerCores, *o.ServerCores)
		o.ServerCores = &cores
	}
	return o
}

// Round leaves the digits that mean something: a report has many samples.
func (s *Sample) Round() {
	digits := func(v float64, n float64) float64 { return math.Round(v*n) / n }
	s.T, s.Deliveries, s.Connects, s.ClientCores = digits(s.T, 100), digits(s.Deliveries, 1), digits(s.Connects, 1), digits(s.ClientCores, 1000)
	if s.ServerCores != nil {
		cores := digits(*s.ServerCores, 1000)
		s.ServerCores = &cores
	}
}

// Summarize reads the percentiles off a histogram in µs.
func Summarize(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	return Latency{
		P50: h.ValueAtPercentile(50), P90: h.ValueAtPercentile(90), P99: h.ValueAtPercentile(99),
		P999: h.ValueAtPercentile(99.9), P9999: h.ValueAtPercentile(99.99),
		Max: h.Max(), Mean: h.Mean(), Count: h.TotalCount(),
	}
}

// Distribute reads the whole curve: four points for each halving of what is left.
func Distribute(h *hdrhistogram.Histogram) (d []Quantile) {
	if h.TotalCount() == 0 {
		return nil
	}
	for step := 0; ; step++ {
		left := math.Pow(2, -float64(step)/4)
		if left*float64(h.TotalCount()) < 1 {
			break
		}
		d = append(d, Quantile{math.Round(1e9*(1-left)) / 1e9, h.ValueAtPercentile(100 * (1 - left))})
	}
	return append(d, Quantile{1, h.Max()})
}

// Failures says in a few words what fails the run; empty if nothing does.
func (r *Result) Failures() (s []string) {
	for _, f := range []struct {
		n    int64
		what string
	}{
		{r.Lost, "lost"},
		{r.Duplicated, "duplicated"},
		{r.Reordered, "reordered"},
		{r.Wrong, "to the wrong receiver"},
		{r.Broken, "connections broken"},
		{r.Failed, "connections failed"},
	} {
		if f.n > 0 {
			s = append(s, fmt.Sprintf("%d %s", f.n, f.what))
		}
	}
	if len(s) == 0 && len(r.Errors) > 0 {
		s = append(s, r.Errors[0])
	}
	if r.Floor != nil {
		for _, f := range r.Floor.Failures() {
			s = append(s, "floor: "+f)
		}
	}
	return s
}

var (
	points = regexp.MustCompile(`\{\s+"(t|q)": [^{}"]*("[a-z0-9_]+": [^{}"]*)+\}`)
	blanks = regexp.MustCompile(`\s+`)
)

// WriteFile writes results as JSON: an object for one, an array for several.
func WriteFile(name string, results ...*Result) error {
	var v any = results
	if len(results) == 1 {
		v = results[0]
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	// Samples and quantiles are many: one line each.
	b = points.ReplaceAllFunc(b, func(point []byte) []byte { return blanks.ReplaceAll(point, []byte(" ")) })
	return os.WriteFile(name, append(b, '\n'), 0o644)
}

// ReadFile reads what WriteFile wrote.
func ReadFile(name string) (results []*Result, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	one := new(Result)
	if err = json.Unmarshal(b, one); err == nil {
		results = []*Result{one}
	} else if err2 := json.Unmarshal(b, &results); err2 == nil {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: not a result of bench: %w", name, err)
	}
	for _, r := range results {
		if r == nil || r.Scenario == "" {
			return nil, fmt.Errorf("%s: not a result of bench: no scenario", name)
		}
	}
	return results, nil
}

// Writable tries to open a file for writing, and leaves nothing behind. It is for before
// a run that takes long. An empty name, for standard output, can be written.
func Writable(file string) error {
	if file == "" {
		return nil
	}
	_, err := os.Stat(file)
	fresh := errors.Is(err, os.ErrNotExist)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if fresh {
		_ = os.Remove(file)
	}
	return f.Close()
}
