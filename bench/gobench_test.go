package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestBenchmarkFigures(t *testing.T) {
	const out = `goos: linux
cpu: AMD EPYC
BenchmarkFootprint/plain-2         	       1	4694334601 ns/op	      1004 RSS-B/conn	       664.7 heap-B/conn
BenchmarkLookup/1_index/sync.Map-16	 9342 	 123.5 ns/op	       0 B/op
BenchmarkAlone 	       5	0 ns/op	        1.07 ratio
--- BENCH: BenchmarkAlone
PASS
`
	want := "[{Footprint/plain 4.694334601e+09 ns/op} {Footprint/plain 1004 RSS-B/conn} {Footprint/plain 664.7 heap-B/conn} " +
		"{Lookup/1_index/sync.Map 123.5 ns/op} {Lookup/1_index/sync.Map 0 B/op} {Alone 1.07 ratio}]"
	if got := fmt.Sprint(benchmarkFigures(strings.ReplaceAll(out, " \t", "\t"))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestGoBenchmark(t *testing.T) {
	r, err := goBenchmark(t.Context(), "go test -run NONE -bench UTF8 -benchtime 1x carillon/engine/ws", io.Discard)
	if err != nil || len(r.Extra) == 0 || !strings.HasPrefix(r.Extra[0].Name, "UTF8/") || r.Command == "" || r.Date.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	for line, want := range map[string]string{
		"go test -run NONE -bench NoSuch carillon/engine/ws": "no benchmark ran",
		"go test carillon/nosuch":                            "exit status",
	} {
		if _, err := goBenchmark(t.Context(), line, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}
