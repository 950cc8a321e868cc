package registry

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The benchmarks measure at a million entries, each beside what a Go programmer
// would take otherwise, in the same run. The absolute figures are those of the
// machine's memory; what counts is the ratio.
//
//	go test -run '^$' -bench . ./registry
const (
	benchSize   = 1_000_000
	benchOwners = 2
)

// filled returns an index of a million records, and the records.
func filled(make func() indexed) (indexed, []*record) {
	x, records := make(), newRecords(benchSize)
	if l, ok := x.(loader); ok {
		l.load(records)
	} else {
		for _, c := range records {
			x.put(c)
		}
	}
	runtime.GC()
	return x, records
}

// checkSize fails b if x does not hold a million records.
func checkSize(b *testing.B, x indexed) {
	b.Helper()
	if n := x.walk(); n != benchSize {
		b.Fatalf("the index holds %d records, want %d", n, benchSize)
	}
}

// One op is one lookup of a random client. The floor is what any index outside the
// clients themselves has to fetch from memory, where a cache line of it leads to the
// client and the place of that line is known: such lines, and nothing to search.
func BenchmarkLookup(b *testing.B) {
	ids := make([]uint64, benchSize)
	for i, n := range rand.New(rand.NewPCG(1, 1)).Perm(benchSize) {
		ids[i] = benchID(uint64(n))
	}
	b.Run("floor", func(b *testing.B) {
		lines := make([][8]*record, benchSize/4) // as full as those of pages
		places := make([]**record, benchSize)
		records := newRecords(benchSize)
		order := rand.New(rand.NewPCG(1, 1)).Perm(benchSize) // that of ids
		for i, n := range rand.New(rand.NewPCG(1, 2)).Perm(benchSize) {
			places[i] = &lines[n/4][n%4]
			*places[i] = records[order[i]]
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if c := *places[i%benchSize]; c.id != ids[i%benchSize] {
				b.Fatalf("%d is in the place of %d", c.id, ids[i%benchSize])
			}
		}
	})
	for _, bb := range benchIndexes {
		if bb.indexes == 2 && bb.name != "2 indexes/Registry" {
			continue // the second index plays no part
		}
		b.Run(bb.name, func(b *testing.B) {
			x, _ := filled(bb.make)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				id := ids[i%benchSize]
				if c := x.get(id); c == nil || c.id != id {
					b.Fatalf("lookup of %d found %v", id, c)
				}
			}
			checkSize(b, x)
		})
	}
}

// One op is a random client that leaves and a new one that joins, while another
// goroutine looks clients up all the time. B/op includes the record, 64 B.
func BenchmarkReplace(b *testing.B) {
	for _, bb := range benchIndexes {
		b.Run(bb.name, func(b *testing.B) {
			x, records := filled(bb.make)
			var stop atomic.Bool
			var reads, found int
			var reader sync.WaitGroup
			reader.Go(func() {
				rnd := rand.New(rand.NewPCG(2, 2))
				for ; !stop.Load(); reads++ {
					if x.get(benchID(rnd.Uint64N(benchSize))) != nil {
						found++
					}
				}
			})
			rnd := rand.New(rand.NewPCG(3, 3))
			b.ReportAllocs()
			for next := uint64(benchSize); b.Loop(); next++ {
				i, c := rnd.IntN(benchSize), newRecord(next)
				x.del(records[i])
				x.put(c)
				records[i] = c
			}
			b.StopTimer()
			stop.Store(true)
			reader.Wait()
			if found == 0 {
				b.Fatal("the reader found nobody")
			}
			checkSize(b, x)
			b.ReportMetric(float64(reads)/b.Elapsed().Seconds()/1e6, "Mreads/s")
		})
	}
}

// One op is a walk over all million members, which reads a word of each record; of
// the registry over one system, and over all, by one owner after the other.
// The floor is the same for a plain slice of pointers in random order.
func BenchmarkWalk(b *testing.B) {
	run := func(name string, walk func() int) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if n := walk(); n != benchSize {
					b.Fatalf("walked over %d members, want %d", n, benchSize)
				}
			}
			b.ReportMetric(benchSize*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mmembers/s")
		})
	}
	records := newRecords(benchSize)
	rand.Shuffle(benchSize, func(i, j int) { records[i], records[j] = records[j], records[i] })
	run("floor", func() (n int) {
		for _, c := range records {
			if c.id != 0 {
				n++
			}
		}
		return n
	})
	for _, bb := range benchIndexes {
		x, _ := filled(bb.make)
		run(bb.name, x.walk)
		if x, ok := x.(registered); ok {
			run(bb.name+", all", func() int { return x.walkSet(x.r.All()) })
			run(bb.name+", Members of all", func() (n int) {
				for range x.r.All().Members(Cursor{}) {
					n++
				}
				return n
			})
		}
	}
}

// settledHeap returns the bytes of live objects.
func settledHeap() int64 {
	var s runtime.MemStats
	for range 3 { // the first may leave what sync.Pool and finalizers hold
		runtime.GC()
	}
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// One op is a million clients that join an empty index. longest-ms is the worst
// one of them, with what the scheduler and the collector added to it.
func BenchmarkFill(b *testing.B) {
	for _, bb := range benchIndexes {
		b.Run(bb.name, func(b *testing.B) {
			var used int64
			var longest time.Duration
			for b.Loop() {
				b.StopTimer()
				records := newRecords(benchSize)
				before := settledHeap()
				b.StartTimer()
				x := bb.make()
				last := time.Now()
				for _, c := range records {
					x.put(c)
					now := time.Now()
					longest = max(longest, now.Sub(last))
					last = now
				}
				b.StopTimer()
				used = settledHeap() - before
				checkSize(b, x)
				runtime.KeepAlive(records)
				b.StartTimer()
			}
			b.ReportMetric(float64(used)/benchSize/float64(bb.indexes), "B/entry/index")
			b.ReportMetric(float64(longest.Microseconds())/1e3, "longest-ms")
		})
	}
}

// One op doubles the largest directory of a system of a million members, which is
// the longest that any lock is held for. The directories of a group are the same.
func BenchmarkDouble(b *testing.B) {
	x, _ := filled(func() indexed { return registered{New[*record](benchOwners)} })
	d := x.(registered).r.System("system").l.members.root.Load().branch
	for b.Loop() {
		if got := d.resized(d.depth + 1); len(got.entries) != 2*len(d.entries) {
			b.Fatalf("%d entries, want %d", len(got.entries), 2*len(d.entries))
		}
	}
	b.ReportMetric(float64(len(d.entries)), "pointers")
}
