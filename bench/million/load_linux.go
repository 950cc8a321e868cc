package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"carillon/bench/client"
	"carillon/bench/machine"
	"carillon/bench/report"
	"carillon/bench/stamp"
)

const (
	addr   = "127.0.0.1:9991" // of the server
	system = "million"
	groups = 1000 // that the clients are spread over

	messageBytes  = 128
	window        = 2048   // handshakes, and later pings, under way at once
	warm          = 100    // clients that connect before anything is measured
	perSource     = 10_000 // clients of one source address, which has 64,512 ports
	patience      = 2 * time.Minute
	maxComplaints = 8
)

// A loader is the first process of the guest as the clients of the server.
type loader struct {
	plan
	swarm  *client.Swarm
	stages *stages
	r      *result

	mu         sync.Mutex // guards the following fields
	latency    *hdrhistogram.Histogram
	complaints []string
	last       int64 // when a message was last delivered
}

func load(p plan) (*result, error) {
	pid, err := startServer(p.serverFlags())
	if err != nil {
		return nil, err
	}
	l := &loader{plan: p, stages: &stages{server: pid, began: time.Now()}, latency: client.NewHistogram()}
	l.r = &result{
		Guest: thisGuest(), ServerFlags: p.serverFlags(), Sysctls: p.sysctls(), OpenFiles: p.openFiles(), Clients: p.Clients,
	}
	l.swarm, err = client.New(client.Config{
		Conns: p.Clients, Addr: addr, ReadyMessages: 1, InFlight: window, Timeout: patience,
		Sources: p.Clients/perSource + 1,
		Number:  func(i int) uint32 { return uint32(i) },
		Request: func(i int) client.Request {
			target := fmt.Sprintf("/ws?system_id=%s&group_name=%d", system, i%groups)
			return client.Request{Target: target, Host: addr, Group: int32(i % groups)}
		},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go l.progress(ctx)
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"started", l.warmUp}, {"connected", l.connect}, {"held", l.hold}, {"pushed", l.push}, {"pinged", l.ping},
	} {
		if err := step.do(ctx); err != nil {
			l.r.Failures = append(l.r.Failures, err.Error())
			break
		}
		l.stages.add(step.name)
	}
	return l.r, l.finish(ctx)
}

// startServer returns when the server listens.
func startServer(flags []string) (pid int, err error) {
	cmd := exec.Command("/server", append([]string{"-log-level", "warn"}, flags...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := pin(serverCPU); err != nil { // the new process has this thread's CPU
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if err := pin(clientCPU); err != nil {
		return 0, err
	}
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); !strings.Contains(line, addr) {
		return 0, fmt.Errorf("the server does not listen: it said %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return cmd.Process.Pid, nil
}

// warmUp has what a server makes for its first clients and call counted as its own:
// some clients connect, and stay.
func (l *loader) warmUp(ctx context.Context) error {
	if _, err := l.stats(ctx); err != nil {
		return err
	}
	return l.connectUpTo(ctx, 0, warm)
}

func (l *loader) connect(ctx context.Context) error {
	began := time.Now()
	err := l.connectUpTo(ctx, warm, l.Clients)
	l.r.ConnectSeconds = time.Since(began).Seconds()
	if err == nil {
		l.r.ConnectsPerSecond = float64(l.Clients-warm) / l.r.ConnectSeconds
	}
	return err
}

func (l *loader) connectUpTo(ctx context.Context, from, to int) error {
	var conns []int
	for i := from; i < to; i++ {
		conns = append(conns, i)
	}
	if failed, err := l.swarm.Connect(ctx, client.Plan{Conns: conns}); err != nil {
		return fmt.Errorf("%d clients could not connect, the first: %w", failed, err)
	}
	return nil
}

func (l *loader) hold(context.Context) error {
	before, began := l.take().Pings, time.Now()
	time.Sleep(l.Hold)
	// However short, until a heartbeat was due.
	for time.Since(began) < l.heartbeat() && l.take().Pings == 0 {
		time.Sleep(100 * time.Millisecond)
	}
	l.r.HoldSeconds = time.Since(began).Seconds()
	l.r.HeartbeatsInHold = l.take().Pings - before
	return nil
}

// push pushes one message to everyone, and waits until nothing comes any more.
func (l *loader) push(ctx context.Context) error {
	p, due := &l.r.Push, stamp.Now()
	message := stamp.Stamp{Kind: stamp.System, At: due}.Append(nil, messageBytes)
	body := fmt.Sprintf(`{"system_id":%q,"data":%q}`, system, message)
	answered := make(chan error, 1)
	go func() {
		err := l.call(ctx, http.MethodPost, "/push_to_system", body, p)
		p.AnswerSeconds = float64(stamp.Now()-due) / 1e9
		answered <- err
	}()
	l.until(func(c client.Counts) int64 { return c.Delivered })
	err := <-answered
	time.Sleep(time.Second) // for what comes twice
	l.swarm.Check(client.Totals{Systems: []uint32{1}}, 0, l.Clients)
	c := l.take()
	p.Delivered, p.Lost, p.Duplicated, p.Wrong = c.Delivered, c.Lost, c.Duplicated, c.Wrong
	p.Latency, p.Seconds = report.Summarize(l.latency), float64(l.last-due)/1e9
	return err
}

func (l *loader) ping(context.Context) error {
	began := time.Now()
	l.swarm.Ping(0, l.Clients, window)
	l.until(func(c client.Counts) int64 { return c.Pongs })
	l.r.PingsAnswered, l.r.PingSeconds = l.take().Pongs, time.Since(began).Seconds()
	return nil
}

// until waits for as many of something as there are clients, or until no more come.
func (l *loader) until(count func(client.Counts) int64) {
	last, since := int64(0), time.Now()
	for last < int64(l.Clients) && time.Since(since) < patience {
		time.Sleep(100 * time.Millisecond)
		if n := count(l.take()); n != last {
			last, since = n, time.Now()
		}
	}
}

func (l *loader) finish(ctx context.Context) error {
	s, err := l.stats(ctx)
	if err != nil {
		return err
	}
	c, r := l.take(), l.r
	r.Connected, r.Broken, r.Heartbeats, r.Complaints = c.Connected, c.Broken, c.Pings, l.complaints
	r.Retransmitted = machine.Retransmitted()
	r.ServerConnections, r.Stages, r.PerClient = s.Connections, l.stages.list, l.stages.perClient(l.Clients-warm)
	r.ServerDescriptors = machine.Process(l.stages.server, true).Descriptors // last: the kernel keeps a record of each that it names
	return nil
}

type stats struct {
	Connections int `json:"connections"`
}

func (l *loader) stats(ctx context.Context) (s stats, err error) {
	err = l.call(ctx, http.MethodGet, "/stats", "", &s)
	return s, err
}

// call makes an API call of the server.
func (l *loader) call(ctx context.Context, method, path, body string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: reading the answer: %w", method, path, err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return json.Unmarshal(text, answer)
}

// take adds what the swarm has seen since it was last called.
func (l *loader) take() client.Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.swarm.Take()
	if d.Latency != nil {
		l.latency.Merge(d.Latency)
	}
	l.complaints, l.last = append(l.complaints, d.Complaints...), d.Last
	l.complaints = l.complaints[:min(len(l.complaints), maxComplaints)]
	return d.Counts
}

// progress prints where the run stands.
func (l *loader) progress(ctx context.Context) {
	for tick := time.Tick(10 * time.Second); ctx.Err() == nil; <-tick {
		c := l.take()
		fmt.Printf("%4.0f s: %d connected, %d heartbeats, %d messages, %d pongs\n", time.Since(l.stages.began).Seconds(), c.Connected, c.Pings, c.Delivered, c.Pongs)
	}
}
