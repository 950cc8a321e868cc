package engine

import (
	"bytes"
	"runtime"
	"syscall"
	"testing"
	"time"

	"carillon/engine/ws"
)

// A floor is a way to write a frame to a socket: what no fan-out gets below.
type floor struct {
	name  string
	write func(fd int, b []byte) (int, error)
}

var floors = []floor{{"bare-write", syscall.Write}}

// BenchmarkFanout pushes 128 bytes of data to 5,000 clients that another process
// reads for. In the same run, on the same sockets, it measures the floors: loops of
// bare writes of frames of the same length, on as many goroutines as there are
// workers. One op is one delivered message; CPU is this process's, user and system.
// cpu-to-X is a delivery's CPU, and rate-to-X the deliveries per second, each in
// relation to floor X's.
func BenchmarkFanout(b *testing.B) {
	const clients = 5_000
	e := newEngine(b, Options{MaxQueuedBytes: 1 << 20})
	startSwarm(b, e, "discard", clients)
	data := `"` + string(bytes.Repeat([]byte("x"), 126)) + `"`
	fanout := func() int {
		r := push(b, e, ToSystem("swarm"), data)
		if r.Matched != clients || r.Dropped > 0 {
			b.Fatalf("report %+v", r)
		}
		return r.Matched
	}
	sent := e.Stats().BytesOut
	fanout()
	size := int(e.Stats().BytesOut-sent) / clients
	frame := ws.AppendFrame(nil, ws.OpText, make([]byte, size-4))
	if len(frame) != size {
		b.Fatalf("a frame of %d bytes, the engine's has %d", len(frame), size)
	}
	fds := make([][]int, len(e.loops))
	for c := range e.Clients(Query{}) {
		fds[c.loop.index] = append(fds[c.loop.index], c.nc.Hash())
	}

	type cost struct {
		delivered      int
		cpu, wall      time.Duration
		bytes, mallocs uint64
	}
	measure := func(sum *cost, f func() int) {
		time.Sleep(20 * time.Millisecond) // the clients read
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		cpu, start := processCPU(b), time.Now()
		sum.delivered += f()
		sum.wall += time.Since(start)
		sum.cpu += processCPU(b) - cpu
		runtime.ReadMemStats(&after)
		sum.bytes += after.TotalAlloc - before.TotalAlloc
		sum.mallocs += after.Mallocs - before.Mallocs
	}
	var ours cost
	bare := make([]cost, len(floors))
	b.ResetTimer()
	for n := 0; n < b.N; n += clients {
		// In turns, so that what the machine does besides hits all alike.
		measure(&ours, fanout)
		for i, f := range floors {
			measure(&bare[i], func() int { return bareWrites(fds, frame, f.write) })
		}
	}
	b.StopTimer()
	cpu := func(c cost) float64 { return float64(c.cpu.Nanoseconds()) / float64(c.delivered) }
	rate := func(c cost) float64 { return float64(c.delivered) / c.wall.Seconds() }
	b.ReportMetric(cpu(ours), "cpu-ns/delivery")
	b.ReportMetric(rate(ours), "deliveries/s")
	for i, f := range floors {
		b.ReportMetric(cpu(bare[i]), "cpu-ns/"+f.name)
		b.ReportMetric(rate(bare[i]), f.name+"s/s")
		b.ReportMetric(cpu(ours)/cpu(bare[i]), "cpu-to-"+f.name)
		b.ReportMetric(rate(ours)/rate(bare[i]), "rate-to-"+f.name)
	}
	b.ReportMetric(float64(ours.bytes)/float64(ours.delivered), "B/delivery")
	b.ReportMetric(float64(ours.mallocs)/float64(ours.delivered), "allocs/delivery")
	b.ReportMetric(0, "ns/op")
}

// bareWrites writes frame to every socket of fds, each part of them on a goroutine.
func bareWrites(fds [][]int, frame []byte, write func(fd int, b []byte) (int, error)) (written int) {
	done := make(chan int)
	for _, part := range fds {
		go func() {
			n := 0
			for _, fd := range part {
				if m, err := write(fd, frame); err == nil && m == len(frame) {
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
