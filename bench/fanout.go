package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"carillon/bench/client"
	"carillon/bench/report"
	"carillon/bench/stamp"
)

func runFanout(ctx context.Context, cfg *config, watch io.Writer) (*report.Result, error) {
	place := placement{Receivers: cfg.receivers, Groups: 1, OtherSystem: cfg.target == "system", Stable: cfg.conns}
	s, connects, err := openConnected(ctx, cfg, place, watch)
	defer s.close()
	if err != nil {
		return nil, err
	}
	var floor *session
	var floorConnects *measurement
	if cfg.floor {
		if floor, err = openFloor(cfg); err == nil {
			defer floor.close()
			floor.watch(nil)
			floorConnects, err = connectAll(ctx, floor, 0)
		}
		if err != nil {
			return nil, fmt.Errorf("-floor: %w", err)
		}
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	if floor == nil {
		return fanAlone(ctx, s, cfg.target, connects)
	}
	f, err := newFanning(s, cfg.target)
	if err != nil {
		return nil, err
	}
	defer f.pusher.close()
	r, err := inTurns(ctx, f, floor, cfg.duration)
	if err == nil {
		connects(r)
		floorConnects.connects(r.Floor)
	}
	return r, err
}

// rounds is how often a server and the floor take turns, so that what the machine
// does besides hits both alike.
const rounds = 4

func inTurns(ctx context.Context, f *fanning, floor *session, d time.Duration) (*report.Result, error) {
	var g *fanning
	for range rounds {
		if err := f.run(ctx, d/rounds); err != nil {
			return nil, err
		}
		if g == nil {
			// The same bytes on the wire: the server's envelope included.
			c := f.m.sum
			floor.cfg.size = int(c.Bytes / max(c.Delivered, 1))
			var err error
			if g, err = newFanning(floor, "all"); err != nil {
				return nil, err
			}
			defer g.pusher.close()
		}
		if err := g.run(ctx, d/rounds); err != nil {
			return nil, fmt.Errorf("floor: %w", err)
		}
	}
	r, err := f.finish(ctx)
	if err != nil {
		return nil, err
	}
	r.Floor, err = g.finish(ctx)
	return r, err
}

func runFloor(ctx context.Context, cfg *config, watch io.Writer) (*report.Result, error) {
	s, err := openFloor(cfg)
	defer s.close()
	if err != nil {
		return nil, err
	}
	s.watch(watch)
	m, err := connectAll(ctx, s, 0)
	if err != nil {
		return nil, err
	}
	return fanAlone(ctx, s, "all", m.connects)
}

// fanAlone pushes for the time that the command line says, without taking turns.
func fanAlone(ctx context.Context, s *session, target string, connects func(*report.Result)) (*report.Result, error) {
	f, err := newFanning(s, target)
	if err != nil {
		return nil, err
	}
	defer f.pusher.close()
	if err := f.run(ctx, s.cfg.duration); err != nil {
		return nil, err
	}
	r, err := f.finish(ctx)
	if err == nil {
		connects(r)
		s.memory(r, s.cfg.conns)
	}
	return r, err
}

// A fanning pushes to many, again and again.
type fanning struct {
	s      *session
	m      *measurement
	pusher *pusher
	target pushTarget
	stream *stream
	free   int64 // when the last push was answered
}

func newFanning(s *session, target string) (*fanning, error) {
	f := &fanning{s: s, m: s.measurement()}
	switch target {
	case "all":
		f.target.kind, f.stream = stamp.All, &s.totals.all
	case "system":
		f.target.kind, f.stream = stamp.System, &s.totals.systems[0]
	case "group":
		f.target.kind, f.stream = stamp.Group, &s.totals.groups[0]
	}
	var err error
	f.pusher, err = newPusher(s.endpoints, s.cfg.timeout+time.Minute)
	return f, err
}

// push pushes one message that is due at the given time.
func (f *fanning) push(ctx context.Context, due int64) error {
	f.m.late = max(f.m.late, stamp.Now()-max(due, f.free))
	ok, err := f.stream.push(ctx, f.pusher, f.s.everywhere(), f.target, uint32(f.target.index), due, f.s.cfg.size)
	f.free = stamp.Now()
	switch {
	case ok:
		f.m.pushes++
	case err == nil:
		f.m.refused++
	}
	return err
}

// run pushes for some time and waits until everything has arrived.
func (f *fanning) run(ctx context.Context, d time.Duration) error {
	s, receivers := f.s, int64(f.s.place.Receivers)
	s.monitor.say("pushing")
	// Each worker speaks up when its clients have got one more push.
	if _, err := s.fleet.all(ctx, func(w *workerProcess) command {
		c := w.part(command{Op: "rounds"}, 0, s.place.Receivers)
		c.Deliveries = int64(c.To)
		return c
	}); err != nil {
		return err
	}
	if err := f.m.begin(ctx); err != nil {
		return err
	}
	start, base, began := f.m.start, f.m.counts.Delivered, f.m.pushes
	arrived := func(pushes int64) bool {
		return s.fleet.until(ctx, s.cfg.timeout, func(c client.Counts) bool { return c.Delivered-base >= pushes*receivers })
	}
	q := schedule{s: s, start: start, end: start + int64(d), rate: s.cfg.rate}
	next := func() (int64, bool) { return q.next(ctx) }
	if q.rate == 0 {
		next = func() (int64, bool) {
			ok := arrived(f.m.pushes - began - int64(s.cfg.inflight) + 1)
			now := stamp.Now()
			return now, ok && now < q.end
		}
	}
	for due, ok := next(); ok; due, ok = next() {
		if err := f.push(ctx, due); err != nil {
			return err
		}
	}
	arrived(f.m.pushes - began)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return f.m.end(ctx, true)
}

func (f *fanning) finish(ctx context.Context) (*report.Result, error) {
	if err := f.s.check(ctx, f.s.cfg.conns, false); err != nil {
		return nil, err
	}
	return f.m.result(), nil
}
