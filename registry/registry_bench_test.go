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

// The benchmarks measure at a million entries, each beside what a Go programmer
// would take otherwise, in the same run:
//
//	go test -run '^$' -bench . -benchtime 2s ./registry
//
// A record here is what a server would have one of per connection.
const (
	benchSize   = 1_000_000
	benchOwners = 2
)

type record struct {
	id uint64
	Member[*record]
	_ [16]byte // one cache line in all, so that all structures have the same to fetch
}

func newRecords(first uint64, n int) []*record {
	records := make([]*record, n)
	for i := range records {
		records[i] = &record{id: benchID(first + uint64(i))}
		records[i].Value = records[i]
	}
	return records
}

// benchID returns the n-th id in the manner of a sonyflake: time, sequence and
// machine, with some tens of ids in each unit of time.
func benchID(n uint64) uint64 { return n/40<<22 | n%40<<12 | 5 }

// An indexed is a structure under measurement: one index, from ids to records.
type indexed interface {
	put(*record)
	del(*record)
	get(id uint64) *record
	each(func(*record)) // every record once
}

// tables is the id index of a registry by itself.
type tables struct {
	locks  [shards]lock
	tables [shards]table[record]
}

func (x *tables) put(c *record) {
	hash := mix(c.id)
	mu := &x.locks[shardOf(hash)]
	mu.Lock()
	x.tables[shardOf(hash)].insert(shardKey(hash), c, nil)
	mu.Unlock()
}

func (x *tables) del(c *record) {
	hash := mix(c.id)
	mu := &x.locks[shardOf(hash)]
	mu.Lock()
	x.tables[shardOf(hash)].remove(shardKey(hash), c)
	mu.Unlock()
}

func (x *tables) get(id uint64) *record {
	hash := mix(id)
	return x.tables[shardOf(hash)].get(shardKey(hash), 0)
}

func (x *tables) each(f func(*record)) {
	for i := range x.tables {
		for key, more := uint64(0), true; more; more = key != 0 {
			var slots []slot[record]
			slots, key = x.tables[i].from(key)
			for _, s := range slots {
				f(s.e)
			}
		}
	}
}

// lockedMaps is a Go map in shards, each under a lock that readers share.
type lockedMaps struct {
	shards [shards]struct {
		sync.RWMutex
		m map[uint64]*record
		_ [32]byte
	}
}

func newLockedMaps() *lockedMaps {
	x := new(lockedMaps)
	for i := range x.shards {
		x.shards[i].m = make(map[uint64]*record)
	}
	return x
}

func (x *lockedMaps) put(c *record) {
	s := &x.shards[shardOf(mix(c.id))]
	s.Lock()
	s.m[c.id] = c
	s.Unlock()
}

func (x *lockedMaps) del(c *record) {
	s := &x.shards[shardOf(mix(c.id))]
	s.Lock()
	delete(s.m, c.id)
	s.Unlock()
}

func (x *lockedMaps) get(id uint64) *record {
	s := &x.shards[shardOf(mix(id))]
	s.RLock()
	c := s.m[id]
	s.RUnlock()
	return c
}

func (x *lockedMaps) each(f func(*record)) {
	for i := range x.shards {
		s := &x.shards[i]
		s.RLock()
		for _, c := range s.m {
			f(c)
		}
		s.RUnlock()
	}
}

type syncMap struct{ m sync.Map }

func (x *syncMap) put(c *record) { x.m.Store(c.id, c) }
func (x *syncMap) del(c *record) { x.m.Delete(c.id) }
func (x *syncMap) get(id uint64) *record {
	c, _ := x.m.Load(id)
	r, _ := c.(*record)
	return r
}
func (x *syncMap) each(f func(*record)) {
	x.m.Range(func(_, c any) bool { f(c.(*record)); return true })
}

// registered is a registry with a single system: two indexes.
type registered struct{ r *Registry[*record] }

func (x registered) put(c *record) {
	if err := x.r.Join(&c.Member, c.id, int(c.id>>12)%benchOwners, "system"); err != nil {
		panic(err)
	}
}

func (x registered) del(c *record) {
	if !x.r.Leave(&c.Member) {
		panic("not there")
	}
}

func (x registered) get(id uint64) *record {
	if m := x.r.Lookup(id); m != nil {
		return m.Value
	}
	return nil
}

func (x registered) each(f func(*record)) {
	dst := make([]*Member[*record], 256)
	for owner := range benchOwners {
		w := x.r.System("system").Walk(owner)
		for n := w.Next(dst); n > 0; n = w.Next(dst) {
			for _, m := range dst[:n] {
				f(m.Value)
			}
		}
	}
}

// both is two indexes of one kind: the clients by id, and those of a system.
type both struct{ ids, system indexed }

func (x both) put(c *record)         { x.ids.put(c); x.system.put(c) }
func (x both) del(c *record)         { x.system.del(c); x.ids.del(c) }
func (x both) get(id uint64) *record { return x.ids.get(id) }
func (x both) each(f func(*record))  { x.system.each(f) }

var benchIndexes = []struct {
	name    string
	indexes int
	make    func() indexed
}{
	{"1 index/tables", 1, func() indexed { return new(tables) }},
	{"1 index/RWMutex+map", 1, func() indexed { return newLockedMaps() }},
	{"1 index/sync.Map", 1, func() indexed { return new(syncMap) }},
	{"2 indexes/Registry", 2, func() indexed { return registered{New[*record](benchOwners)} }},
	{"2 indexes/RWMutex+map", 2, func() indexed { return both{newLockedMaps(), newLockedMaps()} }},
	{"2 indexes/sync.Map", 2, func() indexed { return both{new(syncMap), new(syncMap)} }},
}

// filled returns an index of a million records, which it also returns.
func filled(b *testing.B, make func() indexed) (indexed, []*record) {
	b.Helper()
	x, records := make(), newRecords(0, benchSize)
	for _, c := range records {
		x.put(c)
	}
	runtime.GC()
	return x, records
}

// checkSize fails b if x does not hold a million records.
func checkSize(b *testing.B, x indexed) {
	b.Helper()
	n := 0
	x.each(func(*record) { n++ })
	if n != benchSize {
		b.Fatalf("the index holds %d records, want %d", n, benchSize)
	}
}

// One op is one lookup of a random client.
func BenchmarkLookup(b *testing.B) {
	for _, bb := range benchIndexes {
		if bb.name == "2 indexes/RWMutex+map" || bb.name == "2 indexes/sync.Map" {
			continue // the second index plays no part
		}
		b.Run(bb.name, func(b *testing.B) {
			x, _ := filled(b, bb.make)
			order := rand.New(rand.NewPCG(1, 1)).Perm(benchSize)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				id := benchID(uint64(order[i%benchSize]))
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
			x, records := filled(b, bb.make)
			var stop atomic.Bool
			var reads, found int
			var wg sync.WaitGroup
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(2, 2))
				for !stop.Load() {
					if x.get(benchID(rnd.Uint64N(benchSize))) != nil {
						found++
					}
					reads++
				}
			})
			rnd := rand.New(rand.NewPCG(3, 3))
			next := uint64(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				i := rnd.IntN(benchSize)
				c := &record{id: benchID(next)}
				c.Value = c
				next++
				x.del(records[i])
				x.put(c)
				records[i] = c
			}
			b.StopTimer()
			stop.Store(true)
			wg.Wait()
			if found == 0 {
				b.Fatal("the reader found nobody")
			}
			checkSize(b, x)
			b.ReportMetric(float64(reads)/b.Elapsed().Seconds()/1e6, "Mreads/s")
		})
	}
}

// One op is a walk over all million members.
func BenchmarkWalk(b *testing.B) {
	for _, bb := range benchIndexes {
		b.Run(bb.name, func(b *testing.B) {
			x, _ := filled(b, bb.make)
			for b.Loop() {
				n := 0
				x.each(func(*record) { n++ })
				if n != benchSize {
					b.Fatalf("walked %d members, want %d", n, benchSize)
				}
			}
			b.ReportMetric(benchSize/(b.Elapsed().Seconds()/float64(b.N))/1e6, "Mmembers/s")
		})
	}
	b.Run("Members of all", func(b *testing.B) {
		x, _ := filled(b, func() indexed { return registered{New[*record](benchOwners)} })
		for b.Loop() {
			n := 0
			for range x.(registered).r.All().Members(Cursor{}) {
				n++
			}
			if n != benchSize {
				b.Fatalf("walked %d members, want %d", n, benchSize)
			}
		}
		b.ReportMetric(benchSize/(b.Elapsed().Seconds()/float64(b.N))/1e6, "Mmembers/s")
	})
}

// settledHeap returns the bytes of live objects.
func settledHeap() int64 {
	var s runtime.MemStats
	for range 3 { // the first may find finalizers and pools to clear
		runtime.GC()
	}
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// One op is a million clients that join an empty index. The longest is the worst
// single one of them, with whatever the scheduler and the collector added to it.
func BenchmarkFill(b *testing.B) {
	for _, bb := range benchIndexes {
		b.Run(bb.name, func(b *testing.B) {
			var used int64
			var longest time.Duration
			for b.Loop() {
				b.StopTimer()
				records := newRecords(0, benchSize)
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

// One op is 100,000 groups of three members each. What the members themselves
// keep, a list of their groups, is counted apart.
func BenchmarkGroupOfThree(b *testing.B) {
	const groups = 100_000
	names := make([]string, groups)
	for i := range names {
		names[i] = "room-" + strconv.Itoa(i)
	}
	records := newRecords(0, 1000)
	measure := func(name string, fill func() (keep any), count func(keep any) int, ofMembers int64) {
		b.Run(name, func(b *testing.B) {
			var used int64
			for b.Loop() {
				b.StopTimer()
				before := settledHeap()
				b.StartTimer()
				keep := fill()
				b.StopTimer()
				used = settledHeap() - before
				if got := count(keep); got != groups {
					b.Fatalf("%d groups, want %d", got, groups)
				}
				runtime.KeepAlive(keep)
				b.StartTimer()
			}
			b.ReportMetric(float64(used-ofMembers)/groups, "B/group")
			b.ReportMetric(float64(ofMembers)/groups, "B/group-in-members")
		})
	}
	three := func(i int) [3]*record {
		return [3]*record{records[i%1000], records[(i+333)%1000], records[(i+666)%1000]}
	}

	// The lists alone, entered as Bind enters them.
	b.Run("Registry", func(b *testing.B) {
		var used int64
		const ofMembers = groups * 3 * 16
		for b.Loop() {
			b.StopTimer()
			r := New[*record](benchOwners)
			members := make([]Member[*record], 1000)
			for i := range members {
				if err := r.Join(&members[i], uint64(i), i%benchOwners, "system"); err != nil {
					b.Fatal(err)
				}
			}
			before := settledHeap()
			b.StartTimer()
			for i, name := range names {
				for k := range 3 {
					if added, err := r.Bind(&members[(i+333*k)%1000], name); !added || err != nil {
						b.Fatal(added, err)
					}
				}
			}
			b.StopTimer()
			used = settledHeap() - before
			if r.Groups() != groups || r.Group("system", names[7]).Len() != 3 {
				b.Fatalf("%d groups, want %d", r.Groups(), groups)
			}
			b.StartTimer()
		}
		b.ReportMetric(float64(used-ofMembers)/groups, "B/group")
		b.ReportMetric(float64(ofMembers)/groups, "B/group-in-members")
	})
	measure("RWMutex+map", func() any {
		var mu sync.RWMutex
		m := make(map[string]map[uint64]*record)
		for i, name := range names {
			mu.Lock()
			set := make(map[uint64]*record)
			for _, c := range three(i) {
				set[c.id] = c
			}
			m[name] = set
			mu.Unlock()
		}
		return m
	}, func(keep any) int { return len(keep.(map[string]map[uint64]*record)) }, 0)
	measure("sync.Map", func() any {
		m := new(sync.Map)
		for i, name := range names {
			set := new(sync.Map)
			for _, c := range three(i) {
				set.Store(c.id, c)
			}
			m.Store(name, set)
		}
		return m
	}, func(keep any) (n int) {
		keep.(*sync.Map).Range(func(any, any) bool { n++; return true })
		return n
	}, 0)
}
