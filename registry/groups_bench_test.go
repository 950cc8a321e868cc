package registry

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// groupNames returns n names of groups.
func groupNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "room-" + strconv.Itoa(i)
	}
	return names
}

// A million clients in one group of one system, which another goroutine walks
// over all the time.
func BenchmarkOneGroup(b *testing.B) {
	group := groupNames(1)
	benchGroups(b, benchSize, func(int) []string { return group }, func(x grouped, _ *rand.Rand) int {
		return x.walk(group[0])
	})
}

// A million clients in a million groups, three in each, which another goroutine
// walks over in random order.
func BenchmarkMillionGroups(b *testing.B) {
	names := groupNames(benchSize)
	names = append(names, names[:2]...)
	benchGroups(b, 3, func(i int) []string { return names[i : i+3] }, func(x grouped, rnd *rand.Rand) int {
		return x.walk(names[rnd.IntN(benchSize)])
	})
}

// benchGroups measures clients that leave and others that join in their place, one
// op each, while another goroutine reads all the time and counts the members it
// sees. Client i is in groups(i), each of which has size members.
//
// B/entry is the memory of the structure for each place that a client has in it:
// by id, in the system, in its groups. B/op includes the record, 64 B. longest-ms
// is the longest op, with what the scheduler and the collector added to it.
func benchGroups(b *testing.B, size int, groups func(i int) []string, read func(grouped, *rand.Rand) int) {
	for _, bb := range allGrouped {
		b.Run(bb.name, func(b *testing.B) {
			records := newRecords(benchSize)
			before := settledHeap()
			x := bb.make()
			x.load(records, groups)
			used := settledHeap() - before

			var stop atomic.Bool
			var seen int
			var reading time.Duration
			var reader sync.WaitGroup
			reader.Go(func() {
				start := time.Now()
				for rnd := rand.New(rand.NewPCG(2, 2)); !stop.Load(); {
					seen += read(x, rnd)
				}
				reading = time.Since(start)
			})
			rnd := rand.New(rand.NewPCG(3, 3))
			var longest time.Duration
			b.ReportAllocs()
			for next := uint64(benchSize); b.Loop(); next++ {
				i, c := rnd.IntN(benchSize), newRecord(next)
				start := time.Now()
				x.leave(records[i], groups(i))
				x.join(c, groups(i))
				longest = max(longest, time.Since(start))
				records[i] = c
			}
			b.StopTimer()
			stop.Store(true)
			reader.Wait()
			for _, i := range []int{0, benchSize / 2, benchSize - 1} {
				if n := x.walk(groups(i)[0]); n != size || x.get(records[i].id) != records[i] {
					b.Fatalf("group %q has %d members, want %d; or client %d is not there", groups(i)[0], n, size, i)
				}
			}
			b.ReportMetric(float64(used)/float64(benchSize*(2+len(groups(0)))), "B/entry")
			b.ReportMetric(float64(longest.Microseconds())/1e3, "longest-ms")
			b.ReportMetric(float64(seen)/reading.Seconds()/1e6, "Mmembers/s")
		})
	}
}

// One op is 1,000 clients that join 300 groups each: 100,000 groups of three. What
// the members keep themselves, 16 B for each group they are in, is not counted.
func BenchmarkGroupOfThree(b *testing.B) {
	const groups, clients = 100_000, 1000
	names := groupNames(groups)
	in := make([][]string, clients)
	for i, name := range names {
		for k := range 3 {
			c := (i + 333*k) % clients
			in[c] = append(in[c], name)
		}
	}
	for _, bb := range allGrouped {
		b.Run(bb.name, func(b *testing.B) {
			var used int64
			for b.Loop() {
				b.StopTimer()
				records := newRecords(clients)
				before := settledHeap()
				b.StartTimer()
				x := bb.make()
				x.load(records, func(i int) []string { return in[i] })
				b.StopTimer()
				used = settledHeap() - before
				if bb.name == "Registry" {
					used -= 16 * 3 * groups
				}
				for i := range 100 {
					if n := x.walk(names[i*groups/100]); n != 3 {
						b.Fatalf("group %d has %d members, want 3", i*groups/100, n)
					}
				}
				runtime.KeepAlive(records)
				b.StartTimer()
			}
			b.ReportMetric(float64(used)/groups, "B/group")
		})
	}
}
