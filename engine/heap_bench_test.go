package engine

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// BenchmarkHeap opens 15,000 idle clients, each in a system and a group, under a heap
// profile that samples every allocation, and reports the bytes and objects that one of
// them keeps, by the function that allocated them. The package comment's table is
// this. Run it with -benchtime 1x.
func BenchmarkHeap(b *testing.B) {
	const clients = 15_000
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = rate }()
	for range b.N {
		e := newEngine(b, Options{})
		startSwarm(b, e, "idle", 10).finish() // tables made on first use are not a client's cost
		before := heapBySite(b)
		s := startSwarm(b, e, "idle", clients)
		after := heapBySite(b)
		if got := e.Count(Query{System: "swarm", Group: "g"}); got != clients {
			b.Fatalf("%d clients are open, want %d", got, clients)
		}
		var bytes, objects int64
		sites := slices.SortedFunc(maps.Keys(after), func(x, y string) int {
			return cmp.Compare(after[y].bytes-before[y].bytes, after[x].bytes-before[x].bytes)
		})
		for _, site := range sites {
			d := use{after[site].bytes - before[site].bytes, after[site].objects - before[site].objects}
			bytes, objects = bytes+d.bytes, objects+d.objects
			if d.bytes >= clients { // a byte for each
				b.Logf("%7.1f B %6.3f objects  %s", float64(d.bytes)/clients, float64(d.objects)/clients, site)
			}
		}
		b.ReportMetric(float64(bytes)/clients, "heap-B/conn")
		b.ReportMetric(float64(objects)/clients, "objects/conn")
		b.ReportMetric(0, "ns/op")
		s.finish()
		shutdown(b, e)
	}
}

type use struct{ bytes, objects int64 }

// heapBySite is what is in use, by the innermost function that is not the runtime's.
func heapBySite(b *testing.B) map[string]use {
	for range 3 { // a profile is of the last collection but one
		runtime.GC()
	}
	records := make([]runtime.MemProfileRecord, 1<<16)
	n, ok := runtime.MemProfile(records, false)
	if !ok {
		b.Fatalf("%d records", n)
	}
	sites := map[string]use{}
	for _, r := range records[:n] {
		site := ""
		for frames := runtime.CallersFrames(r.Stack()); ; {
			f, more := frames.Next()
			if site = f.Function; !more || !strings.HasPrefix(site, "runtime.") {
				break
			}
		}
		if i, j := strings.Index(site, "["), strings.LastIndex(site, "]"); i >= 0 {
			site = site[:i] + site[j+1:] // without the type arguments
		}
		u := sites[site]
		sites[site] = use{u.bytes + r.InUseBytes(), u.objects + r.InUseObjects()}
	}
	return sites
}
