package main

import (
	"context"
	"io"
	"time"

	"carillon/bench/client"
	"carillon/bench/report"
)

func runEcho(ctx context.Context, cfg *config, watch io.Writer) (*report.Result, error) {
	s, connects, err := openConnected(ctx, cfg, cfg.everyone(), watch)
	defer s.close()
	if err != nil {
		return nil, err
	}
	s.monitor.say("echo")
	m := s.measurement()
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	if m.late, err = s.echo(ctx, cfg.conns, cfg.rate, cfg.duration); err != nil {
		return nil, err
	}
	s.fleet.until(ctx, cfg.timeout, func(c client.Counts) bool { return c.Delivered-m.counts.Delivered >= c.Sent-m.counts.Sent })
	if err := m.end(ctx, true); err != nil {
		return nil, err
	}
	m.pushes = m.sum.Sent
	if err := s.check(ctx, cfg.conns, true); err != nil {
		return nil, err
	}
	r := m.result()
	r.Receivers = 1
	connects(r)
	s.memory(r, cfg.conns)
	return r, nil
}

// echo has the clients below number to send; it returns how late the latest
// message was, in nanoseconds.
func (s *session) echo(ctx context.Context, to int, rate float64, d time.Duration) (late int64, err error) {
	replies, err := s.fleet.all(ctx, func(w *workerProcess) command {
		c := w.part(command{Op: "echo", Size: s.cfg.size, Duration: d}, 0, to)
		c.Rate = rate * float64(c.To) / float64(to)
		return c
	})
	for _, m := range replies {
		late = max(late, m.Late)
	}
	return late, err
}
