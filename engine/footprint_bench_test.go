package engine

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkFootprint opens 10,000 idle clients, each in a system and a group, and
// reports what one of them costs the server in heap and in resident memory, over
// what the empty server takes, and in CPU to connect: plain,
// with permessage-deflate, and with TLS. The clients live in another
// process. Run it with -benchtime 1x: the number of clients is fixed.
func BenchmarkFootprint(b *testing.B) {
	const clients = 10_000
	measure := func(b *testing.B, o Options, mode string) {
		for range b.N {
			e := newEngine(b, o)
			startSwarm(b, e, mode, 10).finish() // tables made on first use are not a client's cost
			heap, rss := settledMemory(b)
			cpu := processCPU(b)
			s := startSwarm(b, e, mode, clients)
			cpu = processCPU(b) - cpu
			time.Sleep(2 * tick)
			heapFull, rssFull := settledMemory(b)
			if got := e.Count(Query{System: "swarm", Group: "g"}); got != clients {
				b.Fatalf("%d clients are open, want %d: the figures would be too low", got, clients)
			}
			b.ReportMetric(float64(heapFull-heap)/clients, "heap-B/conn")
			b.ReportMetric(float64(rssFull-rss)/clients, "RSS-B/conn")
			b.ReportMetric(float64(cpu.Microseconds())/clients, "cpu-µs/connect")
			b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
			s.finish()
			shutdown(b, e)
		}
	}
	b.Run("plain", func(b *testing.B) { measure(b, Options{}, "idle") })
	b.Run("compress", func(b *testing.B) { measure(b, Options{Compress: true}, "idle-compress") })
	b.Run("tls", func(b *testing.B) {
		server, _ := testTLS(b)
		measure(b, Options{TLS: server}, "idle-tls")
	})
}

// settledMemory is the live heap and the resident set in bytes, after garbage is
// collected and given back: once is not enough, since stacks shrink by halves.
func settledMemory(tb testing.TB) (heap, rss int64) {
	tb.Helper()
	for range 4 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Skip("resident memory is read from /proc, which only Linux has: ", err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return int64(m.HeapAlloc), kb << 10
		}
	}
	tb.Fatal("no VmRSS in /proc/self/status")
	return 0, 0
}
