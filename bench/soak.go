package main

import (
	"context"
	"io"
	"time"

	"carillon/bench/machine"
	"carillon/bench/report"
)

// Rates of what a soak does besides clients that come and go, a second.
const (
	soakUnicasts = 200
	soakEchoes   = 100
)

// runSoak does everything at once: pushes to the system, to groups, to everybody
// and to single clients; the clients' own messages; clients that come and go.
func runSoak(ctx context.Context, cfg *config, watch io.Writer) (*report.Result, error) {
	s, ch, err := openChurning(ctx, cfg, watch)
	defer s.close()
	if err != nil {
		return nil, err
	}
	u, err := newUnicasting(ctx, s, s.place.Stable)
	if err != nil {
		return nil, err
	}
	defer u.close()
	// The first seconds fill pools and caches; the drift counts from then on.
	m := s.measurement()
	mixed := &mixing{s: s, m: m}
	everything := func(d time.Duration) error {
		return together(ctx,
			func(ctx context.Context) error { return ch.run(ctx, cfg.rate, d) },
			func(ctx context.Context) error { return mixed.run(ctx, cfg.pushRate, d) },
			func(ctx context.Context) error { return u.run(ctx, soakUnicasts, d) },
			func(ctx context.Context) error {
				_, err := s.echo(ctx, s.place.Stable, soakEchoes, d)
				return err
			},
		)
	}
	s.monitor.say("warming up")
	if err := everything(min(5*time.Second, cfg.duration/4)); err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	before := machine.Measure(s.pids, true)
	ch.cycles.Store(0)
	ch.late.Store(0)
	u.pushes.Store(0)
	s.unsent.Store(0)
	u.late.Store(0)
	m.pushes, m.refused, m.late = 0, 0, 0
	s.fleet.resetHistograms()
	s.fleet.resetConnects()
	s.monitor.say("everything at once")
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	if err := everything(cfg.duration); err != nil {
		return nil, err
	}
	if err := m.drain(ctx, true); err != nil {
		return nil, err
	}
	after := machine.Measure(s.pids, true)
	m.late = max(m.late, u.late.Load())
	m.pushes += u.pushes.Load()
	r := m.result()
	ch.figures(r)
	if before.Known && after.Known {
		r.RSSBeforeAfter = []int64{before.RSS, after.RSS}
		r.DescriptorsBeforeAfter = []int{before.Descriptors, after.Descriptors}
		r.Extra = append(r.Extra,
			report.Figure{Name: "RSS before", Value: float64(before.RSS), Unit: "bytes"},
			report.Figure{Name: "RSS after", Value: float64(after.RSS), Unit: "bytes"},
			report.Figure{Name: "descriptors before", Value: float64(before.Descriptors)},
			report.Figure{Name: "descriptors after", Value: float64(after.Descriptors)},
		)
	}
	r.Extra = append(r.Extra,
		report.Figure{Name: "pushed to single clients", Value: float64(u.pushes.Load())},
		report.Figure{Name: "clients' own messages", Value: float64(m.sum.Sent)},
	)
	return r, nil
}
