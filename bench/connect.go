package main

import (
	"context"
	"io"

	"carillon/bench/client"
	"carillon/bench/report"
	"carillon/bench/stamp"
)

func runConnect(ctx context.Context, cfg *config, watch io.Writer) (*report.Result, error) {
	s, err := open(ctx, cfg, cfg.everyone())
	defer s.close()
	if err != nil {
		return nil, err
	}
	s.watch(watch)
	m, err := connectAll(ctx, s, cfg.rate)
	if err != nil {
		return nil, err
	}
	r := m.result()
	m.connects(r)
	s.fleet.mu.Lock()
	r.Distribution, r.Latency = report.Distribute(s.fleet.connect), r.Connect
	s.fleet.mu.Unlock()
	return r, nil
}

func runIdle(ctx context.Context, cfg *config, watch io.Writer) (*report.Result, error) {
	s, connects, err := openConnected(ctx, cfg, cfg.everyone(), watch)
	defer s.close()
	if err != nil {
		return nil, err
	}
	s.monitor.say("idle")
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	m := s.measurement()
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	client.SleepUntil(ctx, stamp.Now()+int64(cfg.duration))
	if err := m.end(ctx, false); err != nil {
		return nil, err
	}
	r := m.result()
	connects(r)
	s.memory(r, cfg.conns)
	r.Extra = append(r.Extra, report.Figure{Name: "pings answered", Value: float64(m.sum.Pings), Unit: ""})
	if m.server.Known {
		perConn := m.serverCPU.Seconds() * 1e6 / m.seconds / float64(cfg.conns)
		r.Extra = append(r.Extra, report.Figure{Name: "CPU of 1,000 idle a second", Value: 1000 * perConn, Unit: "µs"})
		if m.sum.Pings > 0 {
			r.ServerCPUPerPing = ref(m.serverCPU.Seconds() * 1e6 / float64(m.sum.Pings))
		}
	}
	return r, nil
}
