package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"carillon/bench/client"
	"carillon/bench/report"
	"carillon/bench/stamp"
)

func runChurn(ctx context.Context, cfg *config, watch io.Writer) (*report.Result, error) {
	s, ch, err := openChurning(ctx, cfg, watch)
	defer s.close()
	if err != nil {
		return nil, err
	}
	s.monitor.say("coming and going")
	m := s.measurement()
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	mixed := &mixing{s: s, m: m}
	err = together(ctx,
		func(ctx context.Context) error { return ch.run(ctx, cfg.rate, cfg.duration) },
		func(ctx context.Context) error { return mixed.run(ctx, cfg.pushRate, cfg.duration) },
	)
	if err != nil {
		return nil, err
	}
	if err := m.drain(ctx, false); err != nil {
		return nil, err
	}
	r := m.result()
	ch.figures(r)
	s.memory(r, s.place.Stable)
	return r, nil
}

// openChurning opens a session of which all but cfg.inflight clients are
// connected.
func openChurning(ctx context.Context, cfg *config, watch io.Writer) (*session, *churning, error) {
	stable := cfg.conns - cfg.inflight
	s, err := open(ctx, cfg, placement{Receivers: stable, Groups: cfg.groups, Stable: stable})
	if err != nil {
		return s, nil, err
	}
	s.watch(watch)
	if err = s.warmUp(ctx, stable); err == nil {
		s.monitor.say("connecting")
		err = s.connect(ctx, s.base.conns, stable, 0)
	}
	s.fleet.resetConnects() // those that come and go count
	return s, &churning{s: s}, err
}

// drain waits until nothing arrives any more, ends the measurement, and counts what
// is missing.
func (m *measurement) drain(ctx context.Context, own bool) error {
	m.s.fleet.until(ctx, time.Second, func(client.Counts) bool { return false })
	return errors.Join(ctx.Err(), m.end(ctx, true), m.s.check(ctx, m.s.place.Stable, own))
}

// churning is clients that come and go: each connects, joins a group, hears what
// is pushed to it, leaves it and disconnects; everything that it must and must not
// hear is checked.
type churning struct {
	s      *session
	cycles atomic.Int64
	late   atomic.Int64
}

// run makes them come and go for some time, rate a second.
func (ch *churning) run(ctx context.Context, rate float64, d time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	turns := make(chan int64)
	var wg sync.WaitGroup
	for n := ch.s.place.Stable; n < ch.s.cfg.conns; n++ {
		wg.Go(func() {
			c := &churner{ch: ch, n: n, rng: rand.New(rand.NewPCG(ch.s.cfg.seed, uint64(n)))}
			c.api = &pipe{e: ch.s.endpoints[ch.s.server(n)], timeout: ch.s.cfg.timeout}
			defer c.api.close()
			for due := range turns {
				if late := stamp.Now() - due; late > ch.late.Load() {
					ch.late.Store(late)
				}
				if err := c.cycle(ctx); err != nil {
					cancel(fmt.Errorf("client %d: %w", n, err))
					return
				}
				ch.cycles.Add(1)
			}
		})
	}
	start := stamp.Now()
	for k := 0; ; k++ {
		due := stamp.Now()
		if rate > 0 {
			due = start + int64(float64(k)*1e9/rate)
		}
		if due >= start+int64(d) || !client.SleepUntil(ctx, due) {
			break
		}
		select {
		case turns <- due:
		case <-ctx.Done():
		}
	}
	close(turns)
	wg.Wait()
	return context.Cause(ctx)
}

func (ch *churning) figures(r *report.Result) {
	r.SenderLate = max(r.SenderLate, float64(ch.late.Load())/1e6)
	r.Extra = append(r.Extra,
		report.Figure{Name: "came and went", Value: float64(ch.cycles.Load()), Unit: "clients"},
		report.Figure{Name: "  a second", Value: float64(ch.cycles.Load()) / r.Seconds},
	)
}

// A churner is one of the clients that come and go.
type churner struct {
	ch  *churning
	n   int
	rng *rand.Rand
	api *pipe
}

// cycle is one life of the client.
func (c *churner) cycle(ctx context.Context) error {
	s := c.ch.s
	one := func(cmd command) (message, error) { return s.fleet.one(ctx, c.n, cmd) }
	if _, err := one(command{Op: "connect", Late: true}); err != nil {
		return err
	}
	streams := [stamp.Kinds]*stream{stamp.All: &s.totals.all, stamp.System: &s.totals.systems[0], stamp.Group: &s.totals.groups[0]}
	begin := func(k stamp.Kind) error {
		_, err := one(command{Op: "begin", Kind: k, Seq: streams[k].begun.Load()})
		return err
	}
	if err := errors.Join(begin(stamp.All), begin(stamp.System)); err != nil {
		return err
	}
	var must [stamp.Kinds]uint32
	binds := !s.cfg.pushURLGiven && s.cfg.push == "http" // other servers have no such calls
	if binds {
		reply, err := one(command{Op: "ids"})
		if err != nil {
			return err
		}
		if reply.IDs[0] == "" {
			return s.noID(c.n, reply.Greeting)
		}
		fields := map[string]string{
			"system_id": c.api.e.names.system(0), "group_name": c.api.e.names.group(0), "client_id": reply.IDs[0],
		}
		if _, err := one(command{Op: "bind", Group: 0}); err != nil {
			return err
		}
		if err := c.api.call("/bind_to_group", fields); err != nil {
			return err
		}
		if err := begin(stamp.Group); err != nil {
			return err
		}
		c.pause(ctx)
		must[stamp.Group] = streams[stamp.Group].done.Load()
		if err := c.api.call("/unbind_from_group", fields); err != nil {
			return err
		}
		if _, err := one(command{Op: "unbound", Seq: streams[stamp.Group].begun.Load()}); err != nil {
			return err
		}
	}
	c.pause(ctx)
	must[stamp.All], must[stamp.System] = streams[stamp.All].done.Load(), streams[stamp.System].done.Load()
	if _, err := one(command{Op: "await", Streams: must}); err != nil {
		return err
	}
	_, err := one(command{Op: "drop", Graceful: c.rng.IntN(2) == 0})
	return err
}

// pause stays for a while.
func (c *churner) pause(ctx context.Context) {
	client.SleepUntil(ctx, stamp.Now()+int64(time.Duration(20+c.rng.IntN(160))*time.Millisecond))
}

// mixing pushes to the system, the groups and everybody in turn.
type mixing struct {
	s *session
	m *measurement
}

func (x *mixing) run(ctx context.Context, rate float64, d time.Duration) error {
	s := x.s
	ps, err := newPusher(s.endpoints, s.cfg.timeout+time.Minute)
	if err != nil {
		return err
	}
	defer ps.close()
	start, free := stamp.Now(), int64(0) // when the last push was answered
	q := schedule{s: s, start: start, end: start + int64(d), rate: rate}
	for k := 0; ; k++ {
		due, ok := q.next(ctx)
		if !ok {
			return context.Cause(ctx)
		}
		x.m.late = max(x.m.late, stamp.Now()-max(due, free))
		t, st := pushTarget{kind: stamp.All}, &s.totals.all
		switch k % 4 {
		case 0:
			t.kind, st = stamp.System, &s.totals.systems[0]
		case 1, 2: // half of the pushes
			t.kind, t.index = stamp.Group, int32(k/2%s.place.Groups)
			st = &s.totals.groups[t.index]
		}
		ok, err = st.push(ctx, ps, s.everywhere(), t, uint32(t.index), due, s.cfg.size)
		free = stamp.Now()
		switch {
		case err != nil:
			return err
		case ok:
			x.m.pushes++
		default:
			x.m.refused++
		}
	}
}

// together runs functions at the same time; the first error ends them all.
func together(ctx context.Context, fns ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, fn := range fns {
		wg.Go(func() {
			if err := fn(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
