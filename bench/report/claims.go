package report

import (
	"fmt"
	"strings"
)

// A ref names a figure of a Go benchmark.
type ref struct{ benchmark, unit string }

// headline is how many of the claims stand in the README itself.
const headline = 12

// claims are what is said of Carillon, the most telling ones first, each with the figure
// that shows it, and what that is compared with where the figure is not a ratio itself.
var claims = []struct {
	text   string
	of, to ref
}{
	{"resident memory of an idle client", ref{"Footprint/plain", "RSS-B/conn"}, ref{}},
	{"heap that it keeps", ref{"Heap", "heap-B/conn"}, ref{}},
	{"CPU of a delivery, to a bare write(2)", ref{"Fanout", "cpu-to-bare-write"}, ref{}},
	{"deliveries a second, to bare writes", ref{"Fanout", "rate-to-bare-write"}, ref{}},
	{"p99 of a push to one beside pushes to 10,000, to twice the idle one plus a slice", ref{"Fairness", "push-ratio"}, ref{}},
	{"p99 of deliveries beside clients that do not read, to without them", ref{"StuckPeers", "p99-ratio"}, ref{}},
	{"heartbeat of a million idle clients", ref{"IdleMinute/wheel", "%core"}, ref{"IdleMinute/full_walk", "%core"}},
	{"memory of it", ref{"IdleMinute/wheel", "heap-B/client"}, ref{"IdleMinute/time.AfterFunc", "heap-B/client"}},
	{"ids", ref{"IDs/engine/8_goroutines", "ids/s"}, ref{"IDs/sonyflake_same_bits/8_goroutines", "ids/s"}},
	{"lookup of one of a million clients", ref{"Lookup/2_indexes/Registry", "ns/op"}, ref{"Lookup/1_index/RWMutex+map", "ns/op"}},
	{"one leaves, one joins, in the index of ids", ref{"Replace/1_index/pages", "ns/op"}, ref{"Replace/1_index/RWMutex+map", "ns/op"}},
	{"one leaves, one joins, in two indexes", ref{"Replace/2_indexes/Registry", "ns/op"}, ref{"Replace/2_indexes/RWMutex+map", "ns/op"}},
	{"walk over a system of a million", ref{"Walk/2_indexes/Registry", "Mmembers/s"}, ref{"Walk/2_indexes/RWMutex+map", "Mmembers/s"}},
	{"memory of an entry", ref{"Fill/2_indexes/Registry", "B/entry/index"}, ref{"Fill/2_indexes/RWMutex+map", "B/entry/index"}},
	{"memory of a group of three", ref{"GroupOfThree/Registry", "B/group"}, ref{"GroupOfThree/RWMutex+map", "B/group"}},
	{"most CPU of one call of a poller while a million reconnect at once", ref{"Million/all_reconnect", "most-CPU-ms"}, ref{}},
	{"and while a system of a million is removed", ref{"Million/system_removed", "most-CPU-ms"}, ref{}},
}

// headlines is the table of the README.
func headlines(results []*Result) string {
	return madeAt(results) + ".\n\n" + strings.TrimSuffix(claimsTable(results, headline), "\n")
}

// claimsTable is the first most claims, as far as the benchmarks' results show them; empty
// if they show none.
func claimsTable(benchmarks []*Result, most int) string {
	find := func(f ref) (v float64, command string, ok bool) {
		for _, r := range benchmarks {
			for _, x := range r.Extra {
				if x.Name == f.benchmark && x.Unit == f.unit {
					return x.Value, r.Command, true
				}
			}
		}
		return 0, "", false
	}
	var b strings.Builder
	for _, c := range claims[:most] {
		v, command, ok := find(c.of)
		if !ok {
			continue
		}
		figure := significant(v) + " " + c.of.unit
		if to, _, ok := find(c.to); ok && to > 0 {
			figure += fmt.Sprintf(", **%.2f** of %s", v/to, c.to.benchmark)
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` |\n", cell(c.text), cell(figure), cell(command))
	}
	if b.Len() == 0 {
		return ""
	}
	return "| claim | figure | command |\n|---|---|---|\n" + b.String() + "\n"
}
