package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sony/sonyflake/v2"
)

// idMakers are the engine's ids, sonyflake's own with the same bits and with its
// default ones, and the floor: a counter that is unique in one process only.
var idMakers = []struct {
	name string
	make func(b *testing.B) func() error
}{
	{"engine", func(b *testing.B) func() error {
		s := newTestIDs(b, 1)
		return func() error { _, err := s.next(); return err }
	}},
	{"sonyflake_same_bits", func(b *testing.B) func() error {
		return flakeIDs(b, sonyflake.Settings{BitsSequence: idSequenceBits, BitsMachineID: idMachineBits, TimeUnit: time.Millisecond})
	}},
	{"sonyflake_defaults", func(b *testing.B) func() error { return flakeIDs(b, sonyflake.Settings{}) }},
	{"counter", func(*testing.B) func() error {
		var n atomic.Int64
		return func() error { n.Add(1); return nil }
	}},
}

func flakeIDs(b *testing.B, s sonyflake.Settings) func() error {
	s.MachineID = func() (int, error) { return 1, nil }
	flake, err := sonyflake.New(s)
	if err != nil {
		b.Fatal(err)
	}
	return func() error { _, err := flake.NextID(); return err }
}

// BenchmarkIDs is how many ids a second there can be. One op is one id. Sonyflake
// ends at the numbers that its milliseconds have, and so does the engine.
func BenchmarkIDs(b *testing.B) {
	for _, m := range idMakers {
		for _, goroutines := range []int{1, 8} {
			b.Run(m.name+map[int]string{1: "/1_goroutine", 8: "/8_goroutines"}[goroutines], func(b *testing.B) {
				next := m.make(b)
				b.ResetTimer()
				var wg sync.WaitGroup
				for range goroutines {
					wg.Go(func() {
						for range (b.N + goroutines - 1) / goroutines {
							if err := next(); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ids/s")
			})
		}
	}
}

// BenchmarkIDBurst asks for 500,000 ids a second as they are asked for, not evenly:
// 5,000 at once, each 10 ms. One op is such a burst.
func BenchmarkIDBurst(b *testing.B) {
	const burst, pause = 5_000, 10 * time.Millisecond
	for _, m := range idMakers[:2] {
		b.Run(m.name, func(b *testing.B) {
			next := m.make(b)
			var took []time.Duration
			b.ResetTimer()
			for start := time.Now(); b.Loop(); time.Sleep(time.Until(start.Add(time.Duration(len(took)) * pause))) {
				began := time.Now()
				for range burst {
					if err := next(); err != nil {
						b.Fatal(err)
					}
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(burst*len(took))/b.Elapsed().Seconds(), "ids/s")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs/burst")
			b.ReportMetric(0, "ns/op")
		})
	}
}
