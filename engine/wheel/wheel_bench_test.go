package wheel

import (
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// The benchmarks measure a million clients, beside what a Go programmer would take
// otherwise, in the same run.
//
//	go test -run '^$' -bench . -benchtime 1x ./engine/wheel
const (
	benchClients = 1_000_000
	benchMinute  = 60 // ticks
	benchSilence = 54 // ticks, after which a client is pinged: the engine's default
)

// A benchClient is as large as an engine's client, and keeps what the heartbeat
// needs where that does.
type benchClient struct {
	_     [88]byte
	links Links[benchClient]
	_     [4]byte
	seen  atomic.Uint32 // tick of its last bytes
	_     [48]byte
	timer *time.Timer // where there is no wheel
	_     [48]byte
}

// newBenchClients are clients that were last heard at random within an interval
// before tick 0.
func newBenchClients() []*benchClient {
	rnd := rand.New(rand.NewPCG(1, 1))
	cs := make([]*benchClient, benchClients)
	for i := range cs {
		cs[i] = &benchClient{}
		cs[i].seen.Store(-rnd.Uint32N(benchSilence))
	}
	rnd.Shuffle(len(cs), func(i, j int) { cs[i], cs[j] = cs[j], cs[i] })
	return cs
}

func (c *benchClient) due() uint32 { return c.seen.Load() + benchSilence }

// hear is every client sending something once a minute: at tick now, a sixtieth of
// them, which has no order in memory.
func hear(cs []*benchClient, now uint32, heard func(*benchClient)) {
	part := int(now % benchMinute)
	for _, c := range cs[len(cs)*part/benchMinute : len(cs)*(part+1)/benchMinute] {
		c.seen.Store(now)
		heard(c)
	}
}

var pings atomic.Int64

func nothing(*benchClient) {}

// beat looks at c, which counts as pinged, and as heard at once, if it was silent
// for the interval. It returns the tick at which to look again.
func (c *benchClient) beat(now uint32) uint32 {
	if now-c.seen.Load() >= benchSilence {
		pings.Add(1)
		c.seen.Store(now)
	}
	return c.due()
}

func newBenchWheel(cs []*benchClient) *Wheel[benchClient] {
	w := New(0, func(c *benchClient) *Links[benchClient] { return &c.links })
	for _, c := range cs {
		w.Schedule(c, c.due())
	}
	return w
}

// BenchmarkTick is the ticks beside the ordinary: none of a million clients is due,
// and all of them are. In the latter another goroutine schedules, as a poller does
// for a client that connects, and times how long that takes: on this wheel, and,
// which shows what the machine adds, on one that stands still.
func BenchmarkTick(b *testing.B) {
	const far = Slots - 1
	cs := newBenchClients()
	fill := func() *Wheel[benchClient] {
		w := newBenchWheel(nil)
		for _, c := range cs {
			w.Schedule(c, far)
		}
		return w
	}
	early := func(*benchClient) uint32 { panic("a client came due early") }
	b.Run("nothing_due", func(b *testing.B) {
		var spent time.Duration
		for range b.N {
			w := fill()
			start := time.Now()
			for now := uint32(1); now < far; now++ {
				w.Advance(now, early)
			}
			spent += time.Since(start)
			w.Advance(far, func(*benchClient) uint32 { return 0 })
		}
		b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*(far-1)), "ns/tick")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("all_due", func(b *testing.B) {
		defer debug.SetGCPercent(debug.SetGCPercent(-1)) // its pauses are not the lock's
		var spent time.Duration
		var waits, alone []time.Duration
		for range b.N {
			w := fill()
			w.Advance(far-1, early)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				other, c, d := newBenchWheel(nil), &benchClient{}, &benchClient{}
				for {
					select {
					case <-stop:
						return
					default:
						waits = append(waits, timed(func() { w.Schedule(c, far+10) }))
						alone = append(alone, timed(func() { other.Schedule(d, far+10) }))
						for start := time.Now(); time.Since(start) < 10*time.Microsecond; {
						}
					}
				}
			}()
			n := 0
			spent += timed(func() { w.Advance(far, func(c *benchClient) uint32 { n++; return c.beat(far) }) })
			close(stop)
			<-stopped
			if n != benchClients {
				b.Fatalf("%d clients came due, want %d", n, benchClients)
			}
			w.Advance(3*Slots, func(*benchClient) uint32 { return 0 })
		}
		b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*benchClients), "ns/client")
		for name, d := range map[string][]time.Duration{"wait": waits, "alone": alone} {
			slices.Sort(d)
			b.ReportMetric(float64(d[len(d)*99/100].Nanoseconds())/1e3, "p99-"+name+"-µs")
			b.ReportMetric(float64(d[len(d)*999/1000].Nanoseconds())/1e3, "p99.9-"+name+"-µs")
		}
		b.ReportMetric(0, "ns/op")
	})
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// BenchmarkIdleMinute is the CPU of a minute's heartbeat for a million clients, each
// of which is heard once in it. Pings are counted, not sent. heap-B/client is what
// the heartbeat keeps of a client besides the tick when it was last heard.
//
// The wheel and the walk get their ticks one after the other, and the hearing is not
// timed. Timers need real time: theirs runs ten times as fast, and what the hearing
// alone costs in such a minute is subtracted. CPU is the process's, user and system.
func BenchmarkIdleMinute(b *testing.B) {
	report := func(b *testing.B, cpu time.Duration, heap float64) {
		if pings.Load() == 0 {
			b.Fatal("nobody was pinged")
		}
		b.ReportMetric(float64(cpu.Microseconds())/1e3/float64(b.N), "cpu-ms/minute")
		b.ReportMetric(cpu.Seconds()/float64(b.N)/benchMinute*100, "%core")
		b.ReportMetric(float64(pings.Load())/float64(b.N), "pings/minute")
		b.ReportMetric(heap, "heap-B/client")
		b.ReportMetric(0, "ns/op")
	}
	ticking := func(b *testing.B, cs []*benchClient, heap float64, advance func(now uint32)) {
		pings.Store(0)
		cpu, now := time.Duration(0), uint32(0)
		for range b.N {
			for range benchMinute {
				now++
				hear(cs, now, nothing)
				start := processCPU(b)
				advance(now)
				cpu += processCPU(b) - start
			}
		}
		report(b, cpu, heap)
	}
	b.Run("wheel", func(b *testing.B) {
		cs := newBenchClients()
		before := settledHeap()
		w := newBenchWheel(cs)
		heap := float64(settledHeap()-before)/benchClients + float64(unsafe.Sizeof(Links[benchClient]{}))
		ticking(b, cs, heap, func(now uint32) {
			w.Advance(now, func(c *benchClient) uint32 { return c.beat(now) })
		})
		if n := w.Len(); n != benchClients {
			b.Fatalf("%d clients in the wheel, want %d", n, benchClients)
		}
	})
	b.Run("full_walk", func(b *testing.B) {
		cs := newBenchClients()
		ticking(b, cs, 0, func(now uint32) {
			for _, c := range cs {
				c.beat(now)
			}
		})
	})

	const fastTick = 100 * time.Millisecond // stands for a second
	// minutes are b.N fast ones of clients that are heard, and their CPU.
	minutes := func(b *testing.B, cs []*benchClient, start time.Time, heard func(*benchClient)) time.Duration {
		cpu := processCPU(b)
		for now := uint32(1); now <= uint32(b.N*benchMinute); now++ {
			time.Sleep(time.Until(start.Add(time.Duration(now) * fastTick)))
			hear(cs, now, heard)
		}
		return processCPU(b) - cpu
	}
	timers := func(b *testing.B, heard func(*benchClient)) {
		cs := newBenchClients()
		runtime.GC() // of the clients of the one before: not in the floor
		floor := minutes(b, cs, time.Now(), nothing)
		for _, c := range cs {
			c.seen.Store(-rand.Uint32N(benchSilence))
		}
		before := settledHeap()
		var start time.Time
		for _, c := range cs {
			c.timer = time.AfterFunc(time.Hour, func() {
				now := uint32(time.Since(start) / fastTick)
				c.timer.Reset(time.Until(start.Add(time.Duration(c.beat(now)) * fastTick)))
			})
		}
		heap := float64(settledHeap()-before)/benchClients + float64(unsafe.Sizeof((*time.Timer)(nil)))
		start = time.Now().Add(5 * time.Second) // until when all timers are set
		for _, c := range cs {
			c.timer.Reset(time.Until(start.Add(time.Duration(c.due()) * fastTick)))
		}
		pings.Store(0)
		if time.Now().After(start) {
			b.Fatal("the timers were not set in time: some are due already")
		}
		time.Sleep(time.Until(start))
		cpu := minutes(b, cs, start, heard) - floor
		report(b, cpu, heap)
		for _, c := range cs {
			c.timer.Stop()
		}
	}
	b.Run("time.AfterFunc", func(b *testing.B) { timers(b, nothing) })
	b.Run("time.AfterFunc_reset_when_heard", func(b *testing.B) {
		timers(b, func(c *benchClient) { c.timer.Reset(benchSilence * fastTick) })
	})
}

func settledHeap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func processCPU(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
