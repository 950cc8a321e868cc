package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"carillon/bench/client"
	"carillon/bench/machine"
	"carillon/bench/stamp"
)

// A process may hold only so many descriptors, so that the clients live in worker
// processes: this program again, with workerFlag. The parent writes commands to a
// worker's standard input and reads replies from its standard output, both as
// JSON lines. A worker ends when its input does.

const workerFlag = "-worker"

// tickEvery is how often a worker says what it has seen.
const tickEvery = 250 * time.Millisecond

// A workerConfig is the first line that a worker reads.
type workerConfig struct {
	Worker, Workers int // this one, of how many
	Conns           int // of all workers
	URL             string
	Headers, Hello  []string
	IDKey           string
	Ready           int
	Sources         int
	InsecureTLS     bool
	InFlight        int
	Timeout         time.Duration
	Names           names
	Place           placement
}

// A worker's connection i is number i*Workers+Worker of all.
func (c workerConfig) number(i int) int { return i*c.Workers + c.Worker }

func (c workerConfig) conns() int { return (c.Conns - c.Worker + c.Workers - 1) / c.Workers }

// A command is what the parent wants; which fields count depends on Op.
type command struct {
	ID         int
	Op         string // a key of operations
	From, To   int    // connections, by the worker's own count
	One        bool   // it concerns one of them: answer without a state
	Rate       float64
	Late       bool
	Graceful   bool
	Size       int
	Kind       stamp.Kind
	Group      int32
	Seq        uint32
	Streams    [stamp.Kinds]uint32
	Totals     client.Totals
	Duration   time.Duration
	Deliveries int64
}

// A message is a reply, or with ID 0 just the state.
type message struct {
	ID     int      `json:",omitempty"`
	Error  string   `json:",omitempty"`
	Failed int      `json:",omitempty"`
	IDs    []string `json:",omitempty"`
	// Greeting is the first message without an id, in the answer to ids.
	Greeting string `json:",omitempty"`
	Late     int64  `json:",omitempty"` // nanoseconds
	State    *state `json:",omitempty"` // nil in the answer to what concerns one client
}

// A state is a worker's counters, and what it has recorded since the last state.
type state struct {
	client.Counts
	Latency    []byte   `json:",omitempty"` // an encoded histogram
	Connect    []byte   `json:",omitempty"`
	Complaints []string `json:",omitempty"`
	CPU        int64    // nanoseconds since it began
	RSS        int64    // bytes; 0 if not known
	Last       int64    // when a message was last delivered
}

type worker struct {
	cfg   workerConfig
	swarm *client.Swarm
	// mu makes taking a state and writing it one step: the parent adds up what it
	// reads.
	mu  sync.Mutex
	out *json.Encoder
}

func runWorker(in io.Reader, out io.Writer) error {
	lines := json.NewDecoder(in)
	var w worker
	if err := lines.Decode(&w.cfg); err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	cfg := w.cfg
	u, err := parseWebSocketURL(cfg.URL)
	if err != nil {
		return err
	}
	if !isLoopback(u.addr) {
		cfg.Sources = 0 // only to loopback can one connect from all of 127.0.0.0/8
	}
	w.out = json.NewEncoder(out)
	w.swarm, err = client.New(client.Config{
		Conns: cfg.conns(), Addr: u.addr, TLS: u.tls(cfg.InsecureTLS), ReadyMessages: cfg.Ready, IDKey: cfg.IDKey, Sources: cfg.Sources,
		InFlight: cfg.InFlight, Timeout: cfg.Timeout,
		Number: func(i int) uint32 { return uint32(cfg.number(i)) },
		Request: func(i int) client.Request {
			n := cfg.number(i)
			system, group := cfg.Place.of(n)
			r := cfg.Names.replacer(system, group, n)
			hello := make([]string, len(cfg.Hello))
			for k, text := range cfg.Hello {
				hello[k] = r.Replace(text)
			}
			return client.Request{
				Target: r.Replace(u.target), Host: u.addr, Headers: cfg.Headers, Hello: hello,
				System: system, Group: group,
			}
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go w.tick(ctx)
	var running sync.WaitGroup
	for {
		var c command
		if err = lines.Decode(&c); err != nil {
			break
		}
		running.Go(func() { w.do(ctx, c) })
	}
	cancel()
	running.Wait()
	if err == io.EOF {
		err = nil
	}
	return err
}

func (w *worker) tick(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	rounds := w.swarm.Rounds(0)
	for {
		select {
		case <-t.C:
		case <-rounds:
		case <-ctx.Done():
			return
		}
		w.send(message{}, true)
	}
}

func (w *worker) send(m message, withState bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if withState {
		m.State = w.state()
	}
	_ = w.out.Encode(m) // if the parent is gone, standard input says so too
}

func (w *worker) state() *state {
	d := w.swarm.Take()
	st := &state{Counts: d.Counts, Complaints: d.Complaints, Last: d.Last, CPU: machine.OwnCPU(), RSS: machine.OwnRSS()}
	if d.Latency != nil {
		st.Latency = encode(d.Latency)
	}
	if d.Connect != nil {
		st.Connect = encode(d.Connect)
	}
	return st
}

// advise says why a client could not connect, and which flag is for that.
func (c workerConfig) advise(err error) string {
	text := err.Error()
	if errors.As(err, new(*client.SilentError)) {
		if c.IDKey != "" {
			text += ": say -id-key '' if the server does not greet its clients"
		} else {
			text += ": want a -ready-messages that the server sends"
		}
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		text += ": say -insecure-tls to take it nevertheless"
	}
	return text
}

// operations are the commands. They may run at the same time.
var operations = map[string]func(*worker, context.Context, command, *message){
	"connect": func(w *worker, ctx context.Context, c command, m *message) {
		var err error
		m.Failed, err = w.swarm.Connect(ctx, client.Plan{Conns: span(c.From, c.To), Rate: c.Rate, Late: c.Late, Base: c.Streams})
		if err != nil {
			m.Error = w.cfg.advise(err)
		}
	},
	"drop": func(w *worker, ctx context.Context, c command, m *message) {
		conns := span(c.From, c.To)
		w.swarm.Drop(conns, c.Graceful)
		if !within(ctx, w.cfg.Timeout, func() bool { return w.swarm.Down(conns) }) {
			m.Error = fmt.Sprintf("connections are still there after %v", w.cfg.Timeout)
		}
	},
	"echo": func(w *worker, ctx context.Context, c command, m *message) {
		m.Late = w.swarm.Echo(ctx, c.From, c.To, c.Rate, c.Size, int64(c.Duration))
	},
	"ids": func(w *worker, _ context.Context, c command, m *message) {
		m.IDs, m.Greeting = w.swarm.IDs()[c.From:c.To], w.swarm.Greeting()
	},
	"rounds":  func(w *worker, _ context.Context, c command, _ *message) { w.swarm.Rounds(c.Deliveries) },
	"state":   func(*worker, context.Context, command, *message) {},
	"settle":  func(*worker, context.Context, command, *message) { debug.FreeOSMemory() },
	"check":   func(w *worker, _ context.Context, c command, _ *message) { w.swarm.Check(c.Totals, c.From, c.To) },
	"begin":   func(w *worker, _ context.Context, c command, _ *message) { w.swarm.Begin(c.From, c.Kind, c.Seq) },
	"bind":    func(w *worker, _ context.Context, c command, _ *message) { w.swarm.Bind(c.From, c.Group) },
	"unbound": func(w *worker, _ context.Context, c command, _ *message) { w.swarm.Unbound(c.From, c.Seq) },
	// await counts what the client has not got after a while as lost.
	"await": func(w *worker, ctx context.Context, c command, _ *message) {
		within(ctx, w.cfg.Timeout, func() bool { return w.swarm.Has(c.From, c.Streams) })
		w.swarm.Missing(c.From, c.Streams)
	},
}

func (w *worker) do(ctx context.Context, c command) {
	m := message{ID: c.ID}
	if op := operations[c.Op]; op != nil {
		op(w, ctx, c, &m)
	} else {
		m.Error = fmt.Sprintf("unknown command %q", c.Op)
	}
	w.send(m, !c.One)
}

func span(from, to int) []int {
	s := make([]int, 0, max(to-from, 0))
	for i := from; i < to; i++ {
		s = append(s, i)
	}
	return s
}

// within waits for ok.
func within(ctx context.Context, d time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(d); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return false
		}
	}
	return true
}

// workerMain is main in a worker.
func workerMain() int {
	ignoreInterrupt() // the parent decides
	if err := runWorker(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench worker:", err)
		return 1
	}
	return 0
}
