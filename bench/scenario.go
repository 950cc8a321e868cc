package main

import (
	"context"
	"io"
	"time"

	"carillon/bench/report"
)

// A scenario is one kind of load, with the flags that it takes and their defaults:
// on two cores each is through in less than a minute with them.
type scenario struct {
	name, about string
	run         func(ctx context.Context, c *config, watch io.Writer) (*report.Result, error)

	conns       int
	rate        float64
	pushRate    float64 // default of -push-rate; no such flag if 0
	churns      bool    // -inflight of the clients come and go
	rateOf      string  // what -rate counts; no such flag if empty
	duration    time.Duration
	inflight    string // what -inflight counts; no such flag if empty
	inflightN   int
	groups      int // default of -groups; no such flag if 0
	pushes      bool
	receivers   bool
	size        bool
	senders     bool
	floors      bool
	seeded      bool
	noWelcome   bool   // does not wait for a message unless told
	ownServer   bool   // tests no other server
	serverFlags string // of servers that bench starts
}

var scenarios []*scenario

func init() { // not at declaration: the functions refer to the list
	scenarios = []*scenario{
		{
			name: "connect", about: "how fast clients connect, how long a handshake takes, and what it costs the server",
			run: runConnect, conns: 10_000, rateOf: "connects",
		},
		{
			name: "idle", about: "memory of an idle connection in the server and in the kernel, and the CPU of its heartbeat",
			run: runIdle, conns: 10_000, duration: 30 * time.Second, serverFlags: "-ping-interval 10s -pong-timeout 20s",
		},
		{
			name: "fanout", about: "pushes to a system, a group, or everybody",
			run: runFanout, conns: 5_000, rateOf: "pushes", rate: 5, duration: 10 * time.Second,
			inflight: "pushes that not all have got, with -rate 0", inflightN: 4,
			pushes: true, receivers: true, size: true, floors: true,
		},
		{
			name: "unicast", about: "pushes to random clients, each through an HTTP call",
			run: runUnicast, conns: 5_000, rateOf: "pushes", rate: 2_000, duration: 10 * time.Second,
			pushes: true, size: true, senders: true, seeded: true,
		},
		{
			name: "echo", about: "the clients send, and get it back",
			run: runEcho, conns: 1_000, rateOf: "messages", rate: 5_000, duration: 10 * time.Second,
			size: true, noWelcome: true, serverFlags: "-on-message echo",
		},
		{
			name: "churn", about: "clients connect, join a group, leave it and disconnect while pushes go out",
			run: runChurn, conns: 2_000, rateOf: "clients that come and go", rate: 200, duration: 15 * time.Second,
			churns: true, inflight: "clients that come and go at the same time", inflightN: 100, pushRate: 5, pushes: true, size: true, seeded: true,
		},
		{
			name: "storm", about: "everyone is cut off at once and comes back; then a push reaches all",
			run: runStorm, conns: 10_000, pushes: true, size: true,
		},
		{
			name: "floor", about: "the least possible: a loop of bare write(2) calls to as many sockets on this machine",
			run: runFloor, conns: 5_000, rateOf: "pushes", rate: 5, duration: 10 * time.Second,
			inflight: "pushes that not all have got, with -rate 0", inflightN: 4, size: true, noWelcome: true, ownServer: true,
		},
		{
			name: "soak", about: "everything at once, and whether memory and descriptors come back",
			run: runSoak, conns: 3_000, rateOf: "clients that come and go", rate: 50, duration: 40 * time.Second,
			churns: true, inflight: "clients that come and go at the same time", inflightN: 100, pushRate: 5, groups: 10,
			pushes: true, size: true, senders: true, seeded: true,
		},
	}
}

func findScenario(name string) *scenario {
	for _, s := range scenarios {
		if s.name == name {
			return s
		}
	}
	return nil
}

func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// everyone is the placement in which all clients are receivers.
func (c *config) everyone() placement {
	return placement{Receivers: c.conns, Groups: c.groups, Stable: c.conns}
}

// openConnected opens a session of which everyone is connected. connects sets the
// figures of that in a result. There may be a session to close with an error.
func openConnected(ctx context.Context, cfg *config, place placement, watch io.Writer) (s *session, connects func(*report.Result), err error) {
	if s, err = open(ctx, cfg, place); err != nil {
		return s, nil, err
	}
	s.watch(watch)
	if err := s.warmUp(ctx, cfg.conns); err != nil {
		return s, nil, err
	}
	m, err := connectAll(ctx, s, 0)
	return s, m.connects, err
}

// connectAll connects everyone who is not yet, rate a second or as fast as possible,
// and measures it.
func connectAll(ctx context.Context, s *session, rate float64) (*measurement, error) {
	s.monitor.say("connecting")
	m := s.measurement()
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	if err := s.connect(ctx, s.base.conns, s.cfg.conns, rate); err != nil {
		return nil, err
	}
	return m, m.end(ctx, false)
}

// connects sets the figures of connections that were made.
func (m *measurement) connects(r *report.Result) {
	n := float64(m.sum.Connected)
	r.ConnectsPerSecond = n / m.seconds
	if m.server.Known {
		r.ServerCPUPerConnect = ref(m.serverCPU.Seconds() * 1e6 / n)
	}
}
