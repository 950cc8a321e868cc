package main

import (
	"context"
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

func runUnicast(ctx context.Context, cfg *config, watch io.Writer) (*report.Result, error) {
	s, connects, err := openConnected(ctx, cfg, cfg.everyone(), watch)
	defer s.close()
	if err != nil {
		return nil, err
	}
	u, err := newUnicasting(ctx, s, cfg.conns)
	if err != nil {
		return nil, err
	}
	defer u.close()
	s.monitor.say("pushing to single clients")
	m := s.measurement()
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	if err := u.run(ctx, cfg.rate, cfg.duration); err != nil {
		return nil, err
	}
	m.pushes, m.refused, m.late = u.pushes.Load(), u.refused.Load(), u.late.Load()
	s.fleet.until(ctx, cfg.timeout, func(c client.Counts) bool { return c.Delivered-m.counts.Delivered >= m.pushes })
	if err := m.end(ctx, true); err != nil {
		return nil, err
	}
	if err := s.check(ctx, cfg.conns, false); err != nil {
		return nil, err
	}
	r := m.result()
	r.Receivers = 1
	connects(r)
	s.memory(r, cfg.conns)
	return r, nil
}

// unicasting pushes to single clients, over connections that each serve a part of
// the clients: messages to one client are sent in order.
type unicasting struct {
	s       *session
	ids     []string
	pushers []*pusher

	pushes, refused, late atomic.Int64
}

func newUnicasting(ctx context.Context, s *session, clients int) (*unicasting, error) {
	ids, err := s.ids(ctx, clients)
	if err != nil {
		return nil, err
	}
	u := &unicasting{s: s, ids: ids}
	for range s.cfg.senders {
		p, err := newPusher(s.endpoints, s.cfg.timeout)
		if err != nil {
			u.close()
			return nil, err
		}
		u.pushers = append(u.pushers, p)
	}
	return u, nil
}

func (u *unicasting) close() {
	for _, p := range u.pushers {
		p.close()
	}
}

// A job is a push to one client.
type job struct {
	client int
	due    int64
}

// queued is how many jobs may wait for one sender: then the schedule falls behind,
// which shows in the latencies.
const queued = 1024

// run pushes for some time; with rate 0 each sender pushes as soon as its last push
// is answered.
func (u *unicasting) run(ctx context.Context, rate float64, d time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := stamp.Now()
	end := start + int64(d)
	senders := len(u.pushers)
	queues := make([]chan job, senders)
	var wg sync.WaitGroup
	for k := range senders {
		queues[k] = make(chan job, queued)
		wg.Go(func() {
			if err := u.send(ctx, u.pushers[k], queues[k]); err != nil {
				cancel(err)
			}
		})
	}
	rng := rand.New(rand.NewPCG(u.s.cfg.seed, 1))
	if rate == 0 {
		for k := range senders {
			own := rand.New(rand.NewPCG(u.s.cfg.seed, uint64(k)))
			wg.Go(func() {
				defer close(queues[k])
				share := (len(u.ids) - k + senders - 1) / senders
				for share > 0 && stamp.Now() < end {
					select {
					case queues[k] <- job{client: k + senders*own.IntN(share)}:
					case <-ctx.Done():
						return
					}
				}
			})
		}
	} else {
		q := schedule{s: u.s, start: start, end: end, rate: rate}
		for due, ok := q.next(ctx); ok; due, ok = q.next(ctx) {
			i := rng.IntN(len(u.ids))
			select {
			case queues[i%senders] <- job{i, due}:
			case <-ctx.Done():
			}
		}
		for _, q := range queues {
			close(q)
		}
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (u *unicasting) send(ctx context.Context, p *pusher, jobs <-chan job) error {
	free := int64(0) // when the last push was answered
	for j := range jobs {
		if ctx.Err() != nil {
			return nil
		}
		now := stamp.Now()
		if j.due == 0 {
			j.due = now
		}
		if late := now - max(j.due, free); late > u.late.Load() { // a lost race loses a maximum that is hardly larger
			u.late.Store(late)
		}
		t := pushTarget{kind: stamp.Client, client: u.ids[j.client]}
		ok, err := u.s.totals.clients[j.client].push(ctx, p, []int{u.s.server(j.client)}, t, uint32(j.client), j.due, u.s.cfg.size)
		free = stamp.Now()
		switch {
		case err != nil:
			return fmt.Errorf("client %d: %w", j.client, err)
		case ok:
			u.pushes.Add(1)
		default:
			u.refused.Add(1)
		}
	}
	return nil
}
