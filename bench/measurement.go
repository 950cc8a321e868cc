package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"carillon/bench/client"
	"carillon/bench/machine"
	"carillon/bench/report"
	"carillon/bench/stamp"
)

// A measurement adds up what happens between begin and end, any number of times.
type measurement struct {
	s *session
	// At begin.
	start     int64
	counts    client.Counts
	server    machine.Usage
	clientCPU []time.Duration
	ownCPU    int64
	// Added up.
	seconds   float64
	sum       client.Counts
	serverCPU time.Duration
	clientSum []time.Duration // of each worker, and of this process at the end
	pushes    int64
	refused   int64
	late      int64         // Result.SenderLate, in nanoseconds
	machine   time.Duration // busy at begin
	others    time.Duration // busy between begin and end, all of the machine
}

func (s *session) measurement() *measurement {
	s.fleet.resetHistograms()
	return &measurement{s: s, clientSum: make([]time.Duration, len(s.fleet.workers)+1)}
}

func (m *measurement) begin(ctx context.Context) error {
	if _, err := m.s.fleet.all(ctx, func(*workerProcess) command { return command{Op: "state"} }); err != nil {
		return err
	}
	m.counts = m.s.fleet.counts()
	m.clientCPU, _ = m.s.fleet.usage()
	m.ownCPU = machine.OwnCPU()
	m.server = machine.Measure(m.s.pids, false)
	m.machine = machine.BusyCPU()
	m.start = stamp.Now()
	return nil
}

// end closes the interval: at the last delivery if there were any and toLast is
// set, else now.
func (m *measurement) end(ctx context.Context, toLast bool) error {
	stop := stamp.Now()
	m.others += machine.BusyCPU() - m.machine
	server := machine.Measure(m.s.pids, false)
	if _, err := m.s.fleet.all(ctx, func(*workerProcess) command { return command{Op: "state"} }); err != nil {
		return err
	}
	if last := m.s.fleet.lastDelivery(); toLast && last > m.start {
		stop = last
	}
	m.seconds += float64(stop-m.start) / 1e9
	m.sum = m.sum.Plus(m.s.fleet.counts().Minus(m.counts))
	m.server.Known = m.server.Known && server.Known // it may have died
	m.serverCPU += server.CPU - m.server.CPU
	cpu, _ := m.s.fleet.usage()
	for i := range cpu {
		m.clientSum[i] += cpu[i] - m.clientCPU[i]
	}
	m.clientSum[len(cpu)] += time.Duration(machine.OwnCPU() - m.ownCPU)
	return nil
}

// result makes a report of it.
func (m *measurement) result() *report.Result {
	s, cfg := m.s, m.s.cfg
	counts := s.fleet.counts()
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	r := &report.Result{
		Scenario: cfg.scenario.name, Server: s.label, Conns: cfg.conns, Receivers: s.place.Receivers,
		Servers: len(s.endpoints), ClientProcesses: len(s.fleet.workers), Size: cfg.size, Rate: cfg.rate, RateOf: cfg.scenario.rateOf,
		Seconds: m.seconds, Pushes: m.pushes, Refused: m.refused, Unsent: s.unsent.Load(), Deliveries: m.sum.Delivered,
		Latency: report.Summarize(s.fleet.latency), Connect: report.Summarize(s.fleet.connect),
		Distribution: report.Distribute(s.fleet.latency), SenderLate: float64(m.late) / 1e6,
		Lost: counts.Lost, Duplicated: counts.Duplicated, Reordered: counts.Reordered, Wrong: counts.Wrong,
		Broken: counts.Broken, Failed: counts.Failed, Errors: s.fleet.complaints, Warnings: []string{},
	}
	if r.Errors == nil {
		r.Errors = []string{}
	}
	if m.seconds > 0 {
		r.DeliveriesPerSecond = float64(r.Deliveries) / m.seconds
	}
	if r.Deliveries > 0 {
		r.MessageBytes = float64(m.sum.Bytes) / float64(r.Deliveries)
	}
	busiest := time.Duration(0)
	for _, d := range m.clientSum {
		busiest = max(busiest, d)
		r.ClientCPUSeconds += d.Seconds()
	}
	if m.seconds > 0 {
		r.ClientBusiest = busiest.Seconds() / m.seconds
	}
	if m.server.Known {
		cpu := m.serverCPU.Seconds()
		r.ServerCPUSeconds = &cpu
		if m.seconds > 0 {
			r.ServerCores = ref(cpu / m.seconds)
		}
		if r.Deliveries > 0 {
			r.ServerCPUPerDelivery = ref(cpu * 1e6 / float64(r.Deliveries))
		}
		if now := machine.Measure(s.pids, false); now.Known {
			r.ServerRSS = &now.RSS
		}
	}
	if s.monitor != nil {
		r.Series = s.monitor.series()
	}
	if m.others >= 0 && m.server.Known && m.seconds > 0 {
		r.OtherCores = ref(max(m.others.Seconds()-m.serverCPU.Seconds()-r.ClientCPUSeconds, 0) / m.seconds)
	}
	warn(r, runtime.NumCPU())
	return r
}

// warn says what makes the figures doubtful, on a machine of so many cores.
func warn(r *report.Result, cores int) {
	add := func(format string, v ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, v...)) }
	used := r.ClientCPUSeconds
	if r.ServerCPUSeconds != nil {
		used += *r.ServerCPUSeconds
	}
	if o := r.OtherCores; o != nil && r.Seconds >= 0.2 && *o > 0.25 {
		add("the machine was busy with other things, %.1f cores of it: latencies and rates are worse for that", *o)
		used += *o * r.Seconds
	}
	full := used > 0.9*r.Seconds*float64(cores) // of the machine
	switch {
	case r.Seconds < 0.2: // too short to tell
	case full:
		add("all %d cores were busy: latencies include waiting for a core, and the server could do more on a machine of its own", cores)
	case r.ClientBusiest > 0.85:
		r.ClientLimited = true
		add("the clients were the bottleneck, not the server: one of their processes used %.0f %% of a core; try -procs %d", 100*r.ClientBusiest, r.ClientProcesses+1)
	case r.SenderLate > 100:
		r.ClientLimited = true
		add("the sender was up to %.0f ms late by itself while there was CPU to spare", r.SenderLate)
	}
	if r.Unsent > 0 {
		add("the server could not keep up: pushing ended early, and %d that were due and not sent are in no percentile", r.Unsent)
	}
	if r.Refused > 0 {
		add("the server refused %d pushes because too much waited: the rate is over what it can do", r.Refused)
	}
}
