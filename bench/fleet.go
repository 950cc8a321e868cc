package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"carillon/bench/client"
)

// A fleet is all clients of one server or several, in worker processes.
type fleet struct {
	workers []*workerProcess

	mu         sync.Mutex // guards the following fields and the workers' states
	changed    chan struct{}
	latency    *hdrhistogram.Histogram // since the last reset
	connect    *hdrhistogram.Histogram
	connected  int64                   // connections made so far
	window     *hdrhistogram.Histogram // latency since the last sample
	complaints []string
}

// A workerProcess is the parent's end of a worker.
type workerProcess struct {
	cfg   workerConfig
	cmd   *exec.Cmd
	stdin io.WriteCloser

	sendMu sync.Mutex
	enc    *json.Encoder

	mu      sync.Mutex // guards the following fields
	next    int
	waiting map[int]chan message
	dead    error

	state state // guarded by fleet.mu
}

// maxComplaints is how many of what went wrong are printed.
const maxComplaints = 8

// startFleet starts the workers; urls are given to them in turn.
func startFleet(cfg workerConfig, urls []string) (*fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &fleet{
		changed: make(chan struct{}),
		latency: client.NewHistogram(), connect: client.NewHistogram(), window: client.NewHistogram(),
	}
	for i := range cfg.Workers {
		cfg.Worker, cfg.URL = i, urls[i%len(urls)]
		w := &workerProcess{cfg: cfg, cmd: exec.Command(self, workerFlag), waiting: map[int]chan message{}}
		w.cmd.Stderr = os.Stderr
		dieWithParent(w.cmd)
		if w.stdin, err = w.cmd.StdinPipe(); err == nil {
			var stdout io.Reader
			if stdout, err = w.cmd.StdoutPipe(); err == nil {
				if err = w.cmd.Start(); err == nil {
					f.workers = append(f.workers, w)
					w.enc = json.NewEncoder(w.stdin)
					go f.listen(w, stdout)
					err = w.enc.Encode(cfg)
				}
			}
		}
		if err != nil {
			f.close()
			return nil, fmt.Errorf("starting a worker: %w", err)
		}
	}
	return f, nil
}

// listen takes what a worker says until it ends.
func (f *fleet) listen(w *workerProcess, stdout io.Reader) {
	lines := json.NewDecoder(stdout)
	for {
		var m message
		if err := lines.Decode(&m); err != nil {
			if err == io.EOF {
				err = errors.New("it ended")
			}
			err = fmt.Errorf("worker %d: %w", w.cfg.Worker, err)
			w.mu.Lock()
			w.dead = err
			for _, c := range w.waiting {
				close(c)
			}
			w.waiting = nil
			w.mu.Unlock()
			return
		}
		if m.State != nil {
			f.add(w, *m.State)
		}
		if m.ID != 0 {
			w.mu.Lock()
			c := w.waiting[m.ID]
			delete(w.waiting, m.ID)
			w.mu.Unlock()
			c <- m
		}
	}
}

// add merges a worker's state.
func (f *fleet) add(w *workerProcess, s state) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(s.Latency) > 0 {
		h := decode(s.Latency)
		f.latency.Merge(h)
		f.window.Merge(h)
	}
	if len(s.Connect) > 0 {
		h := decode(s.Connect)
		f.connect.Merge(h)
		f.connected += h.TotalCount()
	}
	for _, c := range s.Complaints {
		if len(f.complaints) < maxComplaints {
			f.complaints = append(f.complaints, c)
		}
	}
	s.Latency, s.Connect, s.Complaints = nil, nil, nil
	w.state = s
	close(f.changed)
	f.changed = make(chan struct{})
}

// call has one worker do something.
func (w *workerProcess) call(ctx context.Context, c command) (message, error) {
	reply := make(chan message, 1)
	w.mu.Lock()
	if w.dead != nil {
		w.mu.Unlock()
		return message{}, w.dead
	}
	w.next++
	c.ID = w.next
	w.waiting[c.ID] = reply
	w.mu.Unlock()
	w.sendMu.Lock()
	err := w.enc.Encode(c)
	w.sendMu.Unlock()
	if err != nil {
		return message{}, fmt.Errorf("worker %d: %w", w.cfg.Worker, err)
	}
	select {
	case m, ok := <-reply:
		if !ok {
			return m, w.dead
		}
		return m, nil
	case <-ctx.Done():
		return message{}, ctx.Err()
	}
}

// all has every worker do something, at the same time; each says what exactly.
func (f *fleet) all(ctx context.Context, each func(w *workerProcess) command) ([]message, error) {
	replies := make([]message, len(f.workers))
	errs := make([]error, len(f.workers))
	var wg sync.WaitGroup
	for i, w := range f.workers {
		wg.Go(func() { replies[i], errs[i] = w.call(ctx, each(w)) })
	}
	wg.Wait()
	return replies, errors.Join(errs...)
}

// part is a command for the worker's share of the clients below number to.
func (w *workerProcess) part(c command, from, to int) command {
	share := w.cfg
	share.Conns = from
	c.From = share.conns()
	share.Conns = to
	c.To = share.conns()
	return c
}

// one has the worker of a client do something for it.
func (f *fleet) one(ctx context.Context, client int, c command) (message, error) {
	w := f.workers[client%len(f.workers)]
	c.From = client / len(f.workers)
	c.To, c.One = c.From+1, true
	m, err := w.call(ctx, c)
	if err == nil && m.Error != "" {
		err = fmt.Errorf("client %d: %s", client, m.Error)
	}
	return m, err
}

// counts adds up the workers' counters.
func (f *fleet) counts() client.Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	var sum client.Counts
	for _, w := range f.workers {
		sum = sum.Plus(w.state.Counts)
	}
	return sum
}

// usage is the CPU time of each worker, and the memory of all.
func (f *fleet) usage() (cpu []time.Duration, rss int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.workers {
		cpu = append(cpu, time.Duration(w.state.CPU))
		rss += w.state.RSS
	}
	return cpu, rss
}

// until waits for ok, which is asked whenever the counters change. It gives up
// when ctx ends or when the deliveries have not changed for patience.
func (f *fleet) until(ctx context.Context, patience time.Duration, ok func(client.Counts) bool) bool {
	last, since := f.counts(), time.Now()
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		c := f.counts()
		if ok(c) {
			return true
		}
		if c.Delivered != last.Delivered {
			last, since = c, time.Now()
		}
		if time.Since(since) > patience {
			return false
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		case <-time.After(tickEvery):
		}
	}
}

// lastDelivery is when any client last got a message.
func (f *fleet) lastDelivery() (last int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.workers {
		last = max(last, w.state.Last)
	}
	return last
}

// resetHistograms begins a new measurement.
func (f *fleet) resetHistograms() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latency, f.window = client.NewHistogram(), client.NewHistogram()
}

// takeWindow returns the latencies since the last call.
func (f *fleet) takeWindow() *hdrhistogram.Histogram {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.window
	f.window = client.NewHistogram()
	return h
}

// close ends the workers.
func (f *fleet) close() {
	for _, w := range f.workers {
		_ = w.stdin.Close()
	}
	for _, w := range f.workers {
		stop := time.AfterFunc(5*time.Second, func() { _ = w.cmd.Process.Kill() })
		_ = w.cmd.Wait()
		stop.Stop()
	}
}

func encode(h *hdrhistogram.Histogram) []byte {
	b, err := h.EncodeV2()
	if err != nil {
		panic(err) // it only fails to write to memory
	}
	return b
}

// decode reads what encode made, in this program.
func decode(b []byte) *hdrhistogram.Histogram {
	h, err := hdrhistogram.Decode(b)
	if err != nil {
		panic(err)
	}
	return h
}

// resetConnects begins a new measurement of connections.
func (f *fleet) resetConnects() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connect = client.NewHistogram()
}
