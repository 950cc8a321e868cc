package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"carillon/bench/client"
	"carillon/bench/machine"
	"carillon/bench/report"
	"carillon/bench/stamp"
)

// A session is one server, or several of a kind, and the clients of it.
type session struct {
	cfg       *config
	label     string
	started   *servers // nil if they run by themselves
	pids      []int
	endpoints []*endpoint
	fleet     *fleet
	place     placement
	totals    totals
	base      base
	monitor   *monitor
	unsent    atomic.Int64 // Result.Unsent
}

// A base is the memory that figures of one connection are over.
type base struct {
	conns   int           // that were there already
	server  machine.Usage // of the server
	kernel  int64
	clients int64 // RSS of the workers
}

// maxWarm is how many clients connect before the base is taken at most. What a
// server makes for its first clients, tables and goroutines, is not a client's.
const maxWarm = 300

// server is the index of the server that a client is connected to.
func (s *session) server(client int) int { return client % len(s.fleet.workers) % len(s.endpoints) }

// everywhere are the indices of all servers.
func (s *session) everywhere() []int { return span(0, len(s.endpoints)) }

// open starts what there is to start and the clients' processes; nobody connects.
func open(ctx context.Context, cfg *config, place placement) (*session, error) {
	s := &session{cfg: cfg, label: cfg.label}
	urls := cfg.urls
	var err error
	if cfg.servers > 0 {
		flags := append(strings.Fields(cfg.scenario.serverFlags), strings.Fields(cfg.serverFlags)...)
		if s.started, err = startServers(ctx, cfg.servers, flags); err != nil {
			return nil, err
		}
		urls = nil
		for _, p := range s.started.processes {
			urls = append(urls, strings.Replace(defaultURL, defaultPlace, p.place, 1))
		}
		s.pids = s.started.pids()
	} else if s.pids, err = findServers(cfg); err != nil {
		return nil, err
	}
	return s, s.start(urls, place)
}

// openFloor is open for the bare write loop, with as many clients as cfg has
// receivers.
func openFloor(cfg *config) (*session, error) {
	c := *cfg
	c.conns = cfg.receivers
	c.push, c.pushBody, c.pushType, c.headers, c.hello, c.idKey, c.ready = "http", "{data}", "text/plain", nil, nil, "", 0
	c.pushURLs, c.pushURLGiven, c.procs = nil, false, max((c.conns+connsPerProcess-1)/connsPerProcess, 1)
	s := &session{cfg: &c, label: "floor"}
	var err error
	if s.started, err = startFloor(); err != nil {
		return nil, err
	}
	s.pids = s.started.pids()
	return s, s.start([]string{s.started.processes[0].place + "/"}, c.everyone())
}

// findServers checks that somebody listens, and finds out who.
func findServers(cfg *config) (pids []int, err error) {
	pids = cfg.pids
	for _, pid := range pids {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return nil, usage(fmt.Errorf("-pid %d: want the ID of a process, there is none with it", pid))
		}
	}
	known := 0 // URLs of which we know who listens
	for _, raw := range cfg.urls {
		u, err := parseWebSocketURL(raw)
		if err != nil {
			return nil, err
		}
		conn, err := net.DialTimeout("tcp", u.addr, cfg.timeout)
		if err != nil {
			hint := ""
			if !cfg.urlSet {
				hint = " (start it with `go run ./cmd/server`, or have bench start one with -servers 1)"
			}
			return nil, fmt.Errorf("no server at %s: %w%s", u.addr, err, hint)
		}
		_ = conn.Close()
		if len(cfg.pids) == 0 {
			pid := listenerPID(u.addr)
			if pid > 0 {
				known++
			}
			if pid > 0 && !slices.Contains(pids, pid) { // one process may listen at several
				pids = append(pids, pid)
			}
		}
	}
	if len(cfg.pids) == 0 && known < len(cfg.urls) {
		pids = nil // figures of some would be taken for all
	}
	return pids, nil
}

func (s *session) start(urls []string, place placement) error {
	cfg := s.cfg
	run := names{Run: strconv.FormatUint(uint64(rand.Uint32()), 36)}
	var err error
	if s.endpoints, err = cfg.endpointsOf(urls, run); err != nil {
		s.close()
		return err
	}
	s.place = place
	s.totals = totals{systems: make([]stream, 2), groups: make([]stream, place.Groups+1), clients: make([]stream, cfg.conns)}
	s.fleet, err = startFleet(workerConfig{
		Workers: cfg.procs, Conns: cfg.conns, Headers: cfg.headers, Hello: cfg.hello, IDKey: cfg.idKey, Ready: cfg.ready,
		Sources: cfg.sources, InsecureTLS: cfg.insecureTLS, InFlight: max(cfg.connecting/cfg.procs, 1), Timeout: cfg.timeout, Names: run, Place: place,
	}, urls)
	if err != nil {
		s.close()
		return err
	}
	if _, err := s.fleet.all(context.Background(), func(*workerProcess) command { return command{Op: "settle"} }); err != nil {
		s.close()
		return err
	}
	s.takeBase(0)
	return nil
}

func (s *session) takeBase(conns int) {
	s.base = base{conns: conns, server: machine.Measure(s.pids, true), kernel: machine.KernelMemory()}
	_, s.base.clients = s.fleet.usage()
}

// warmUp connects some of the clients that are to be there, and takes the base.
func (s *session) warmUp(ctx context.Context, conns int) error {
	s.monitor.say("warming up")
	n := min(maxWarm, conns/10)
	if err := s.connect(ctx, 0, n, 0); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.takeBase(n)
	s.fleet.resetConnects()
	return nil
}

func (s *session) close() {
	if s == nil {
		return
	}
	if s.monitor != nil {
		s.monitor.stop()
	}
	if s.fleet != nil {
		s.fleet.close()
	}
	if s.started != nil {
		s.started.stop()
	}
}

// connect connects the clients below number to that come after number from.
func (s *session) connect(ctx context.Context, from, to int, rate float64) error {
	replies, err := s.fleet.all(ctx, func(w *workerProcess) command {
		return w.part(command{Op: "connect", Rate: rate / float64(len(s.fleet.workers)), Streams: s.streams()}, from, to)
	})
	if err != nil {
		return err
	}
	return firstFailure(replies)
}

// streams is where the streams that all clients of system 0 and group 0 hear
// stand.
func (s *session) streams() (b [stamp.Kinds]uint32) {
	t := &s.totals
	b[stamp.All], b[stamp.System], b[stamp.Group] = t.all.done.Load(), t.systems[0].done.Load(), t.groups[0].done.Load()
	return b
}

func firstFailure(replies []message) error {
	failed, first := 0, ""
	for _, m := range replies {
		failed += m.Failed
		if first == "" {
			first = m.Error
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d connections failed: %s", failed, first)
	case first != "":
		return errors.New(first)
	}
	return nil
}

// ids fetches the clients' ids.
func (s *session) ids(ctx context.Context, to int) ([]string, error) {
	replies, err := s.fleet.all(ctx, func(w *workerProcess) command { return w.part(command{Op: "ids"}, 0, to) })
	if err != nil {
		return nil, err
	}
	ids := make([]string, to)
	for i := range ids {
		n := len(s.fleet.workers)
		if ids[i] = replies[i%n].IDs[i/n]; ids[i] == "" {
			return nil, s.noID(i, replies[i%n].Greeting)
		}
	}
	return ids, nil
}

// noID says that a client has no id, and what the server sent instead.
func (s *session) noID(client int, greeting string) error {
	if greeting == "" {
		greeting = "nothing"
	}
	return fmt.Errorf("-id-key %s: client %d has got no message with that key: want the key of the client's id in what the server sends first, which was %s", s.cfg.idKey, client, greeting)
}

// quiet is how long nothing may come before the clients are checked: what comes
// twice may do so after everybody has got everything once.
const quiet = 500 * time.Millisecond

// check counts what the clients below number to lack.
func (s *session) check(ctx context.Context, to int, own bool) error {
	s.fleet.until(ctx, quiet, func(client.Counts) bool { return false })
	n := len(s.fleet.workers)
	_, err := s.fleet.all(ctx, func(w *workerProcess) command {
		t := client.Totals{All: s.totals.all.done.Load(), Systems: done(s.totals.systems), Groups: done(s.totals.groups), Own: own}
		for i := w.cfg.Worker; i < len(s.totals.clients); i += n {
			t.Clients = append(t.Clients, s.totals.clients[i].done.Load())
		}
		return w.part(command{Op: "check", Totals: t}, 0, to)
	})
	return err
}

// settle has the clients' processes give back memory, and waits for a moment.
func (s *session) settle(ctx context.Context) error {
	_, err := s.fleet.all(ctx, func(*workerProcess) command { return command{Op: "settle"} })
	client.SleepUntil(ctx, stamp.Now()+int64(settle))
	return errors.Join(err, ctx.Err())
}

func ref[T any](v T) *T { return &v }

// each is what one of n connections takes when memory has grown by so many bytes; nil
// if it has not grown, as then something else has shrunk that is more than all of them.
func each(grown int64, n float64) *float64 {
	if grown <= 0 || n <= 0 {
		return nil
	}
	return ref(float64(grown) / n)
}

// enough is how many connections make the memory of one a figure: what a server and its
// clients do besides comes and goes by some hundred KB.
const enough = 1000

// memory adds the memory of each of the connections that there are now, but for those
// of the base.
func (s *session) memory(r *report.Result, conns int) {
	n := float64(conns - s.base.conns)
	r.BaseConns = s.base.conns
	_, _ = s.fleet.all(context.Background(), func(*workerProcess) command { return command{Op: "settle"} }) // without it, the clients' garbage counts
	if now := machine.Measure(s.pids, true); now.Known && s.base.server.Known {
		r.ServerRSS = &now.RSS
		r.RSSPerConn = each(now.RSS-s.base.server.RSS, n)
		if s.base.server.PSS > 0 {
			r.PSSPerConn = each(now.PSS-s.base.server.PSS, n)
		}
		switch {
		case r.RSSPerConn == nil:
			r.Warnings = append(r.Warnings, fmt.Sprintf("%.0f clients are too few to see the memory of one, more are needed, such as -conns 10000: other memory of the server has shrunk by more than they take", n))
		case n < enough:
			r.Warnings = append(r.Warnings, fmt.Sprintf("the memory of a connection is over %.0f clients, too few to tell it from other memory of the server: more are needed, such as -conns 10000", n))
		}
	}
	if size, known := machine.SocketObjects(); known {
		r.KernelPerSocket, r.KernelPerSocketSource = ref(float64(size)), "its objects' sizes in /proc/slabinfo"
	} else {
		r.KernelPerSocket, r.KernelPerSocketSource = ref(3800.0), "an estimate: its objects' sizes in Linux 6"
	}
	if s.base.kernel > 0 && len(s.pids) > 0 {
		r.KernelGrowthPerSocket = each(machine.KernelMemory()-s.base.kernel, 2*n) // both ends are here
	}
	if _, rss := s.fleet.usage(); rss > 0 && s.base.clients > 0 {
		r.ClientBytesPerConn = each(rss-s.base.clients, n)
	}
}
