package main

import (
	"testing"

	"carillon/bench/report"
)

// A run of any length has a series of some hundred samples, which lacks no time, no
// delivery and no peak.
func TestSeriesIsBounded(t *testing.T) {
	for _, ticks := range []int{0, 1, maxSamples - 1, maxSamples, maxSamples + 1, 5 * maxSamples, 172_800} {
		var q samples
		for i := range ticks {
			s := report.Sample{T: float64(i + 1), Conns: int64(i), Deliveries: 100, P99: 10}
			if i == ticks/3 {
				s.Deliveries, s.P99 = 1e6, 5000
			}
			q.add(s)
		}
		got := q.series()
		if len(got) > maxSamples || len(got) < min(ticks, maxSamples/2) {
			t.Errorf("%d ticks: %d samples", ticks, len(got))
		}
		var delivered, before float64
		var worst int64
		for _, s := range got {
			delivered += s.Deliveries * (s.T - before)
			before, worst = s.T, max(worst, s.P99)
		}
		if ticks == 0 {
			continue
		}
		want := 1e6 + 100*float64(ticks-1)
		if before != float64(ticks) || worst != 5000 || delivered < 0.99*want || delivered > 1.01*want {
			t.Errorf("%d ticks: until %v, %v deliveries, want %v, and a peak of %d", ticks, before, delivered, want, worst)
		}
	}
}

func TestLinesFitTheTerminal(t *testing.T) {
	for _, tt := range []struct {
		columns int
		want    string
	}{{0, "1 µs and more"}, {80, "1 µs and more"}, {14, "1 µs and more"}, {13, "1 µs and mor"}, {5, "1 µs"}, {1, ""}} {
		if got := cut("1 µs and more", tt.columns); got != tt.want {
			t.Errorf("%d columns: %q, want %q", tt.columns, got, tt.want)
		}
	}
}
