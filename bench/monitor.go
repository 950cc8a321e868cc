package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"carillon/bench/client"
	"carillon/bench/machine"
	"carillon/bench/report"
)

// A monitor samples a session while it runs, for the series of the report and for
// who is watching.
type monitor struct {
	s        *session
	w        io.Writer
	terminal bool // one line that is written over, instead of one after another
	cancel   context.CancelFunc
	done     chan struct{}

	mu      sync.Mutex // guards the following fields
	phase   string
	samples samples
}

const (
	sampleEvery = 500 * time.Millisecond
	linesEvery  = 4   // samples, when the output is no terminal
	maxSamples  = 600 // then each two become one
)

// watch starts a monitor. w is nil if nobody watches.
func (s *session) watch(w io.Writer) {
	ctx, cancel := context.WithCancel(context.Background())
	m := &monitor{s: s, w: w, cancel: cancel, done: make(chan struct{}), terminal: columns(w) > 0}
	s.monitor = m
	go m.run(ctx)
}

// columns is how wide the terminal is; 0 if w is none.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// cut shortens a line to what a terminal of so many columns has room for: the next
// one could not be written over a line that wraps.
func cut(line string, columns int) string {
	if r := []rune(line); columns > 0 && len(r) >= columns {
		return string(r[:columns-1])
	}
	return line
}

// say names what is going on.
func (m *monitor) say(format string, v ...any) {
	m.mu.Lock()
	m.phase = fmt.Sprintf(format, v...)
	m.mu.Unlock()
}

func (m *monitor) stop() {
	m.cancel()
	<-m.done
}

func (m *monitor) series() []report.Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.samples.series()
}

// samples are those of the whole run, of equal length, at most maxSamples.
type samples struct {
	closed []report.Sample
	each   int           // how many one stands for
	open   report.Sample // that of the latest n
	n      int
}

func (q *samples) add(s report.Sample) {
	q.each = max(q.each, 1)
	if q.n > 0 {
		s = q.open.Merge(q.n, s)
	}
	q.open, q.n = s, q.n+1
	if q.n < q.each {
		return
	}
	q.closed, q.n = append(q.closed, q.open), 0
	if len(q.closed) == maxSamples {
		for i := range maxSamples / 2 {
			q.closed[i] = q.closed[2*i].Merge(1, q.closed[2*i+1])
		}
		q.closed, q.each = q.closed[:maxSamples/2], 2*q.each
	}
}

func (q *samples) series() []report.Sample {
	s := append([]report.Sample{}, q.closed...)
	if q.n > 0 {
		s = append(s, q.open)
	}
	for i := range s {
		s[i].Round()
	}
	return s
}

func (m *monitor) run(ctx context.Context) {
	defer close(m.done)
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	start, last := time.Now(), time.Now()
	counts, server, clientCPU := m.s.fleet.counts(), machine.Measure(m.s.pids, false), m.clientCPU()
	connected := m.s.fleet.connects()
	for n := 0; ; n++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			if m.terminal {
				fmt.Fprint(m.w, "\r\x1b[K")
			}
			return
		}
		now := time.Now()
		dt := now.Sub(last).Seconds()
		last = now
		c, u, cpu, conn := m.s.fleet.counts(), machine.Measure(m.s.pids, false), m.clientCPU(), m.s.fleet.connects()
		window := m.s.fleet.takeWindow()
		sample := report.Sample{
			T: now.Sub(start).Seconds(), Conns: c.Connected,
			Deliveries: float64(c.Delivered-counts.Delivered) / dt, Connects: float64(conn-connected) / dt,
			ClientCores: (cpu - clientCPU).Seconds() / dt,
		}
		if window.TotalCount() > 0 {
			sample.P50, sample.P99 = window.ValueAtPercentile(50), window.ValueAtPercentile(99)
		}
		if u.Known {
			sample.ServerCores, sample.ServerRSS = ref((u.CPU-server.CPU).Seconds()/dt), &u.RSS
		}
		counts, server, clientCPU, connected = c, u, cpu, conn
		m.mu.Lock()
		m.samples.add(sample)
		phase := m.phase
		m.mu.Unlock()
		m.print(n, phase, sample, c)
	}
}

func (m *monitor) clientCPU() time.Duration {
	sum := time.Duration(machine.OwnCPU())
	cpu, _ := m.s.fleet.usage()
	for _, d := range cpu {
		sum += d
	}
	return sum
}

// connects is how many connections were made so far.
func (f *fleet) connects() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.connected
}

func (m *monitor) print(n int, phase string, s report.Sample, c client.Counts) {
	if m.w == nil || !m.terminal && n%linesEvery != 0 {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%5.1fs %s %s: %d connected", s.T, m.s.label, phase, s.Conns)
	if s.Connects > 0 {
		fmt.Fprintf(&b, ", %.0f connects/s", s.Connects)
	}
	if s.Deliveries > 0 {
		fmt.Fprintf(&b, ", %.0f deliveries/s, p50 %s p99 %s", s.Deliveries, report.Micros(float64(s.P50)), report.Micros(float64(s.P99)))
	}
	if s.ServerCores != nil {
		fmt.Fprintf(&b, ", server %.0f %% CPU %s", 100**s.ServerCores, report.Bytes(float64(*s.ServerRSS)))
	}
	fmt.Fprintf(&b, ", clients %.0f %% CPU", 100*s.ClientCores)
	if bad := c.Duplicated + c.Reordered + c.Wrong + c.Broken; bad > 0 {
		fmt.Fprintf(&b, ", %d WRONG", bad)
	}
	if m.terminal {
		fmt.Fprint(m.w, "\r\x1b[K", cut(b.String(), columns(m.w)))
	} else {
		fmt.Fprintln(m.w, b.String())
	}
}
