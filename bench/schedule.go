package main

import (
	"context"
	"math"

	"carillon/bench/client"
	"carillon/bench/stamp"
)

// A schedule says when messages are due, whatever becomes of those before.
type schedule struct {
	s          *session
	start, end int64
	rate       float64 // a second; 0 for none at all
	n          int64   // were due
}

// next waits until the next message is due; false at the end. When the schedule has
// fallen behind by more than the timeout, what is left of it is given up, and counted.
func (q *schedule) next(ctx context.Context) (due int64, ok bool) {
	if q.rate == 0 {
		return 0, false
	}
	due = q.start + int64(float64(q.n)*1e9/q.rate)
	if due >= q.end || !client.SleepUntil(ctx, due) {
		return due, false
	}
	if stamp.Now()-due > int64(q.s.cfg.timeout) {
		q.s.unsent.Add(int64(math.Ceil(float64(q.end-due)*q.rate/1e9 - 1e-6)))
		return due, false
	}
	q.n++
	return due, true
}
