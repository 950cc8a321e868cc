package main

import (
	"strings"
	"testing"

	"carillon/bench/client"
	"carillon/bench/report"
)

// What two workers have recorded, in two states each, adds up to what one
// histogram would have.
func TestStatesOfWorkersAddUp(t *testing.T) {
	f := &fleet{changed: make(chan struct{}), latency: client.NewHistogram(), connect: client.NewHistogram(), window: client.NewHistogram()}
	f.workers = []*workerProcess{{}, {}}
	all := client.NewHistogram()
	for i := range 4 {
		h := client.NewHistogram()
		for v := int64(1); v < 1000; v++ {
			h.RecordValue(v * int64(i+1))
			all.RecordValue(v * int64(i+1))
		}
		// Counters are totals, histograms what came since the last state.
		f.add(f.workers[i%2], state{
			Counts: client.Counts{Delivered: int64(999 * (i/2 + 1)), Lost: int64(i / 2)}, Latency: encode(h), Connect: encode(h),
			Complaints: []string{"a", "b", "c"}, CPU: int64(i), RSS: 10, Last: int64(100 - i),
		})
	}
	if got, want := report.Summarize(f.latency), report.Summarize(all); got != want || !f.connect.Equals(all) || !f.takeWindow().Equals(all) {
		t.Errorf("merged %+v, want %+v", got, want)
	}
	if f.takeWindow().TotalCount() != 0 {
		t.Error("the window was taken twice")
	}
	if got, want := f.counts(), (client.Counts{Delivered: 2 * 1998, Lost: 2}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	if cpu, rss := f.usage(); cpu[0] != 2 || cpu[1] != 3 || rss != 20 {
		t.Errorf("usage %v, %d", cpu, rss)
	}
	if len(f.complaints) != maxComplaints || f.lastDelivery() != 98 {
		t.Errorf("complaints %q, last delivery %d", f.complaints, f.lastDelivery())
	}
}

func TestWarnings(t *testing.T) {
	server := func(seconds float64) *float64 { return &seconds }
	tests := []struct {
		name    string
		r       report.Result
		limited bool
		want    string // in the warnings; none if empty
	}{
		{"nothing", report.Result{Seconds: 10, ClientCPUSeconds: 3, ClientBusiest: 0.3, ServerCPUSeconds: server(9)}, false, ""},
		{"a client at its limit", report.Result{Seconds: 10, ClientCPUSeconds: 9.5, ClientBusiest: 0.95, ServerCPUSeconds: server(5), ClientProcesses: 1}, true, "-procs 2"},
		{"too short to tell", report.Result{Seconds: 0.1, ClientCPUSeconds: 0.1, ClientBusiest: 1}, false, ""},
		{"all cores", report.Result{Seconds: 10, ClientCPUSeconds: 10, ClientBusiest: 1, ServerCPUSeconds: server(28), SenderLate: 500}, false, "all 4 cores"},
		{"a sender behind for no reason", report.Result{Seconds: 10, ClientCPUSeconds: 1, ServerCPUSeconds: server(1), SenderLate: 200}, true, "200 ms late"},
		{"others", report.Result{Seconds: 10, ClientCPUSeconds: 1, ServerCPUSeconds: server(1), OtherCores: server(1.5)}, false, "other things, 1.5 cores"},
		{"others take the rest", report.Result{Seconds: 10, ClientCPUSeconds: 9, ClientBusiest: 0.9, ServerCPUSeconds: server(9), OtherCores: server(2)}, false, "all 4 cores"},
		{"given up", report.Result{Seconds: 10, Unsent: 7}, false, "7 that were due"},
		{"refused", report.Result{Seconds: 10, Refused: 3}, false, "refused 3"},
		{"server not known", report.Result{Seconds: 10, ClientCPUSeconds: 9, ClientBusiest: 0.9}, true, "bottleneck"},
	}
	for _, tt := range tests {
		warn(&tt.r, 4)
		got := strings.Join(tt.r.Warnings, "; ")
		if tt.r.ClientLimited != tt.limited || !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: limited %v, warnings %q", tt.name, tt.r.ClientLimited, got)
		}
	}
}
