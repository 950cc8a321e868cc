package main

import (
	"context"
	"fmt"
	"io"

	"carillon/bench/client"
	"carillon/bench/machine"
	"carillon/bench/report"
	"carillon/bench/stamp"
)

func runStorm(ctx context.Context, cfg *config, watch io.Writer) (*report.Result, error) {
	s, _, err := openConnected(ctx, cfg, cfg.everyone(), watch)
	defer s.close()
	if err != nil {
		return nil, err
	}
	f, err := newFanning(s, "system")
	if err != nil {
		return nil, err
	}
	defer f.pusher.close()
	if err := f.once(ctx); err != nil {
		return nil, fmt.Errorf("before the storm: %w", err)
	}
	if err := s.check(ctx, cfg.conns, false); err != nil {
		return nil, err
	}
	s.monitor.say("storm")
	s.fleet.resetConnects()
	m := s.measurement()
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	replies, err := s.fleet.all(ctx, func(w *workerProcess) command { return w.part(command{Op: "drop"}, 0, cfg.conns) })
	if err == nil {
		err = firstFailure(replies)
	}
	if err != nil {
		return nil, err
	}
	dropped := stamp.Now()
	if err := s.connect(ctx, 0, cfg.conns, 0); err != nil {
		return nil, err
	}
	back := stamp.Now()
	storm := s.usageSince(m)
	if err := f.once(ctx); err != nil {
		return nil, fmt.Errorf("after the storm: %w", err)
	}
	if err := m.end(ctx, true); err != nil {
		return nil, err
	}
	if err := s.check(ctx, cfg.conns, false); err != nil {
		return nil, err
	}
	m.pushes = 1
	r := m.result()
	r.ConnectsPerSecond = float64(cfg.conns) * 1e9 / float64(back-dropped)
	r.Extra = []report.Figure{
		{Name: "all cut off after", Value: float64(dropped-m.start) / 1e3, Unit: "µs"},
		{Name: report.AllBack, Value: float64(back-m.start) / 1e3, Unit: "µs"},
	}
	if storm.Known {
		r.ServerCPUPerConnect = ref(storm.CPU.Seconds() * 1e6 / float64(cfg.conns))
		r.ServerCPUPerDelivery = nil // most of it is not the push's
	}
	s.memory(r, cfg.conns)
	return r, nil
}

// once pushes one message and waits until all have it.
func (f *fanning) once(ctx context.Context) error {
	base := f.s.fleet.counts().Delivered
	if err := f.push(ctx, stamp.Now()); err != nil {
		return err
	}
	f.s.fleet.until(ctx, f.s.cfg.timeout, func(c client.Counts) bool { return c.Delivered-base >= int64(f.s.place.Receivers) })
	return ctx.Err()
}

// usageSince is what the servers have taken since m began.
func (s *session) usageSince(m *measurement) machine.Usage {
	now := machine.Measure(s.pids, false)
	now.CPU -= m.server.CPU
	return now
}
