package engine

import (
	"bytes"
	"runtime"
	"syscall"
	"testing"
	"time"

	"carillon/engine/ws"
)

// BenchmarkFanout pushes 128 bytes of data to 5,000 clients that another process
// reads for. In the same run, on the same sockets, it measures the floor: a loop
// of bare write(2) calls with a frame of the same length on each of as many
// goroutines as there are workers. One op is one delivered message; CPU is this
// process's, user and system.
func BenchmarkFanout(b *testing.B) {
	const clients = 5_000
	e := newEngine(b, Options{MaxQueuedBytes: 1 << 20})
	startSwarm(b, e, "discard", clients)
	data := append(append([]byte{'"'}, bytes.Repeat([]byte("x"), 126)...), '"')

	var cpu [2]time.Duration
	var delivered [2]int
	var allocs, mallocs uint64
	measure := func(i int, f func() int) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := processCPU(b)
		delivered[i] += f()
		cpu[i] += processCPU(b) - start
		if runtime.ReadMemStats(&after); i == 0 {
			allocs += after.TotalAlloc - before.TotalAlloc
			mallocs += after.Mallocs - before.Mallocs
		}
	}
	frame := ws.AppendFrame(nil, ws.OpText, make([]byte, 128+190))
	fds := make([][]int, len(e.loops))
	for c := range e.Clients(Query{}) {
		fds[c.loop.index] = append(fds[c.loop.index], c.nc.Hash())
	}
	b.ResetTimer()
	for n := 0; n < b.N; n += clients {
		// In turns, so that what the machine does besides hits both alike.
		measure(0, func() int {
			r := push(b, e, ToSystem("swarm"), string(data))
			if r.Matched != clients || r.Dropped > 0 {
				b.Fatalf("report %+v", r)
			}
			return r.Matched
		})
		time.Sleep(20 * time.Millisecond) // the clients read
		measure(1, func() int { return bareWrites(fds, frame) })
		time.Sleep(20 * time.Millisecond)
	}
	b.StopTimer()
	per := func(i int) float64 { return float64(cpu[i].Nanoseconds()) / float64(delivered[i]) }
	b.ReportMetric(per(0), "cpu-ns/delivery")
	b.ReportMetric(per(1), "cpu-ns/bare-write")
	b.ReportMetric(per(0)/per(1), "ratio-to-floor")
	b.ReportMetric(float64(allocs)/float64(delivered[0]), "B/delivery")
	b.ReportMetric(float64(mallocs)/float64(delivered[0]), "allocs/delivery")
	b.ReportMetric(0, "ns/op")
}

func bareWrites(fds [][]int, frame []byte) (written int) {
	done := make(chan int)
	for _, part := range fds {
		go func() {
			n := 0
			for _, fd := range part {
				if m, err := syscall.Write(fd, frame); err == nil && m == len(frame) {
					n++
				}
			}
			done <- n
		}()
	}
	for range fds {
		written += <-done
	}
	return written
}

func processCPU(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
