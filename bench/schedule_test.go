package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"carillon/bench/stamp"
)

func TestSchedule(t *testing.T) {
	s := &session{cfg: &config{timeout: time.Minute}}
	all := func(q *schedule) (due []int64) {
		for at, ok := q.next(t.Context()); ok; at, ok = q.next(t.Context()) {
			due = append(due, at-q.start)
		}
		return due
	}
	now := stamp.Now()
	// Late, but not by the timeout: everything is due when it was.
	q := &schedule{s: s, start: now - int64(time.Second), end: now, rate: 4}
	if got := all(q); !slices.Equal(got, []int64{0, 250e6, 500e6, 750e6}) {
		t.Errorf("due at %v", got)
	}
	q = &schedule{s: s, start: now, end: now + int64(time.Hour)}
	if got := all(q); got != nil {
		t.Errorf("at rate 0: due at %v", got)
	}
	if n := s.unsent.Load(); n != 0 {
		t.Errorf("%d given up", n)
	}
	q = &schedule{s: s, start: now - int64(2*time.Minute), end: now, rate: 0.5}
	if got := all(q); got != nil || s.unsent.Load() != 60 {
		t.Errorf("far behind: due at %v, %d given up, want 60", got, s.unsent.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := (&schedule{s: s, start: now, end: now + int64(time.Hour), rate: 1}).next(ctx); ok {
		t.Error("it does not end with its context")
	}
}
