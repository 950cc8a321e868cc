package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var million = flag.Int("million", 20_000/fewer, "how many clients TestMillion has")

// A multitude is a system of very many clients, in memory, and a smaller system of
// regulars beside it, who ping all the time and are pushed to: the time that their
// calls take shows what the crowd's mass events do to everybody else.
type multitude struct {
	t           *testing.T
	e           *Engine
	s           *memSockets
	n, regulars int
	closed      [numCloseReasons]atomic.Int64 // OnClose of the crowd's
}

// TestMillion drives the engine with in-memory connections through what a million
// clients do: connect, bind, get pushes, answer a heartbeat, and all the events that
// meet all of them at once. It checks counts, and with -v prints how long the calls
// took that a poller makes. The call that used most CPU is what our own locks and
// copies may hold up others for; collecting for what it allocates is in it, but not
// with GOGC=off. The rest of the longest went to whoever else had the core.
func TestMillion(t *testing.T) {
	c := newMultitude(t, *million)
	settle()
	empty := heapNow()

	c.phase("all connect", func() { c.connect() })
	if got := c.e.Count(Query{System: "crowd"}); got != c.n || c.s.welcomed.Load() != int64(c.n+c.regulars) {
		t.Fatalf("%d of %d are in the system, %d welcomed", got, c.n, c.s.welcomed.Load())
	}
	if want := 1 + (c.n+2)/3; c.e.Stats().Groups != want {
		t.Errorf("%d groups, want %d", c.e.Stats().Groups, want)
	}
	each := (heapNow() - empty) / int64(c.n)
	if each > 1000 {
		t.Errorf("%d bytes of live heap a client", each)
	}

	c.phase("each is bound", func() { c.bind() })
	if want := 1 + (c.n+2)/3 + min(1000, c.n); c.e.Stats().Groups != want {
		t.Errorf("%d groups, want %d", c.e.Stats().Groups, want)
	}

	c.phase("pushes to all", func() {
		c.push(ToAll(), "1", c.n+c.regulars)
		c.push(ToSystem("crowd"), "2", c.n)
		c.push(ToGroup("crowd", "big"), "3", c.n)
	})
	for n := range c.n {
		if seen := c.s.peers[n].Load(); seen&peerGot1 == 0 || seen&peerGot2 == 0 {
			t.Fatalf("client %d has not got every push", n)
		}
	}

	var most int64
	c.phase("two minutes", func() { most = c.turn(120) })
	for n := range c.n {
		if pings := c.s.peers[n].Load() / peerPing; pings != 4 && pings != 5 {
			t.Fatalf("client %d was pinged %d times in 120 s of silence, want 4 or 5", n, pings)
		}
	}
	if fair := int64(c.n) / 12; most > 2*fair {
		t.Errorf("%d clients were pinged in one second; evenly spread it were %d", most, fair)
	}

	deaf := max(c.n/1000, 10)
	c.phase("some fall silent", func() {
		for n := range deaf {
			c.s.peers[n].Or(peerDeaf)
		}
		c.turn(120 + 1 + int(c.e.closeTicks))
		c.await(c.n - deaf)
	})
	c.closedFor(CloseHeartbeat, deaf)

	c.phase("system removed", func() {
		c.besides(func() { c.remove() })
		c.await(0)
	})
	c.closedFor(CloseBackend, c.n-deaf)
	c.emptyBut(c.regulars)

	c.phase("all reconnect", func() { c.besides(func() { c.connect() }) })
	if got := c.e.Count(Query{System: "crowd", Group: "big"}); got != c.n {
		t.Errorf("%d of %d have come back", got, c.n)
	}
	c.phase("all break off", func() {
		c.besides(func() { c.breakOff() })
		c.await(0)
	})
	c.closedFor(CloseReset, c.n)
	c.emptyBut(c.regulars)
	settle()
	left := heapNow() - empty
	if left/int64(c.n) > 100 {
		t.Errorf("%d bytes of heap a client are left", left/int64(c.n))
	}

	c.phase("all connect again", func() { c.connect() })
	c.phase("shutdown", func() { c.shutdown() })
	c.closedFor(CloseShutdown, c.n)
	c.emptyBut(0)

	if wrong := c.s.wrong.Load(); wrong > 0 {
		t.Errorf("%d writes were not what their client should get", wrong)
	}
	c.figures("memory", fmt.Sprintf("%d heap-B/client\t%d KiB-left\t%d MiB-resident-at-most\t%d most-pings/s",
		each, left>>10, statusBytes(t, os.Getpid(), "VmHWM")>>20, most))
}

func newMultitude(t *testing.T, n int) *multitude {
	c := &multitude{t: t, n: n, regulars: max(n/1000, 2*small)}
	var err error
	c.e, err = New(Options{Addr: "127.0.0.1:0", DrainRate: 50_000, OnClose: func(k *Client, why CloseReason) {
		if k.System() == "crowd" {
			c.closed[why].Add(1)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.s = newMemSockets(c.e, n+c.regulars)
	c.e.keepTime = func() {}
	if err := c.e.Start(); err != nil {
		t.Fatal(err)
	}
	c.s.start()
	t.Cleanup(c.s.stop)
	t.Cleanup(c.shutdown)
	c.s.each(c.s.pollers, func(p *memPoller) {
		p.connect(n, n+c.regulars, func(b []byte, _ int) []byte { return append(b, "system_id=regulars"...) })
		for k := n; k < n+c.regulars; k++ {
			if k%len(c.s.pollers) == p.index {
				p.regulars = append(p.regulars, k)
			}
		}
	})
	return c
}

// connect has all of the crowd come at once: into one group all of them, and into
// another each three.
func (c *multitude) connect() {
	c.s.each(c.s.pollers, func(p *memPoller) {
		p.connect(0, c.n, func(b []byte, n int) []byte {
			return strconv.AppendInt(append(b, "system_id=crowd&group_name=big&group_name=three-"...), int64(n/3), 10)
		})
	})
}

// bind binds each client of the crowd to one of 1,000 more groups.
func (c *multitude) bind() {
	const binders = 4
	var done sync.WaitGroup
	for i := range binders {
		done.Go(func() {
			for k := range c.e.Clients(Query{System: "crowd"}) {
				n := c.s.number(k)
				if n%binders != i {
					continue
				}
				if added, err := c.e.Bind("crowd", k.ID(), "bound-"+strconv.Itoa(n%1000)); !added || err != nil {
					c.t.Errorf("client %d: added is %v, %v", n, added, err)
					return
				}
			}
		})
	}
	done.Wait()
}

func (c *multitude) push(to Target, data string, want int) {
	r, err := c.e.Push(context.Background(), to, Message{Data: []byte(data)})
	if err != nil || r.Matched != want || r.Written != want {
		c.t.Errorf("push %s: %+v, %v; want %d written", data, r, err, want)
	}
}

// turn lets seconds pass, and every ping of each be answered in it. It returns
// the most pings of one of them.
func (c *multitude) turn(seconds int) (most int64) {
	for range seconds {
		before := c.s.pings.Load()
		c.e.turn(c.e.tickNow() + 1)
		for _, l := range c.e.loops {
			for range 2 { // the second one fits in when the turn of the first is over
				l.turned <- struct{}{}
			}
		}
		c.s.each(c.s.pollers, func(*memPoller) {})
		most = max(most, c.s.pings.Load()-before)
	}
	return most
}

// remove closes the crowd page by page.
func (c *multitude) remove() {
	const page = 1000
	for after, n := (Cursor{}), page; n == page; {
		n = 0
		for k := range c.e.Clients(Query{System: "crowd", After: after}) {
			k.Close("removed")
			after = k.Cursor()
			if n++; n == page {
				break
			}
		}
	}
}

// breakOff has the sockets of the crowd end all at once, without a close frame.
func (c *multitude) breakOff() {
	c.s.each([]*memPoller{c.s.closer}, func(p *memPoller) {
		for n := range c.n {
			c.s.peers[n].Or(peerEnded)
			p.closed(n)
		}
	})
}

// besides runs f while the regulars and the crowd are pushed to.
func (c *multitude) besides(f func()) {
	over := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
			}
			c.push(ToSystem("regulars"), "3", c.regulars)
			if r, err := c.e.Push(context.Background(), ToSystem("crowd"), Message{Data: []byte("3")}); err != nil || r.Queued > 0 {
				c.t.Errorf("%+v, %v", r, err)
			}
		}
	})
	f()
	close(over)
	done.Wait()
}

// hang ends what a million clients may take, so that a failure shows.
const hang = 5 * time.Minute

func (c *multitude) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if err := c.e.Shutdown(ctx); err != nil && !errors.Is(err, ErrShutdown) {
		c.t.Errorf("Shutdown: %v", err)
	}
}

// await waits until so many of the crowd's sockets are left.
func (c *multitude) await(n int) {
	c.t.Helper()
	for end := time.Now().Add(hang); c.e.conns.Load() != int64(n+c.regulars); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("%d sockets are left, want %d and the regulars", c.e.conns.Load(), n)
		}
	}
}

// closedFor checks what OnClose was called for since the last time.
func (c *multitude) closedFor(why CloseReason, n int) {
	c.t.Helper()
	for end := time.Now().Add(hang); c.closed[why].Load() < int64(n) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	for i := range c.closed {
		if got := c.closed[i].Swap(0); got != 0 && CloseReason(i) != why || CloseReason(i) == why && got != int64(n) {
			c.t.Errorf("OnClose was called %d times for %v, want %d for %v", got, CloseReason(i), n, why)
		}
	}
}

// emptyBut checks that nobody is there but so many regulars.
func (c *multitude) emptyBut(n int) {
	c.t.Helper()
	systems, timers := min(n, 1), 0
	for _, l := range c.e.loops {
		timers += l.wheel.Len()
	}
	if s := c.e.Stats(); s.Connections != n || s.Systems != systems || s.Groups != 0 || timers != n || s.QueuedBytes != 0 {
		c.t.Errorf("%d clients, %d systems, %d groups, %d in the wheels, %d bytes queued: want %d regulars and nothing else",
			s.Connections, s.Systems, s.Groups, timers, s.QueuedBytes, n)
	}
}

// phase runs f and prints what it took. The CPU time is the process's and
// contains one collection at the phase's end; Go estimates the waits for locks, of all
// goroutines together.
func (c *multitude) phase(name string, f func()) {
	c.s.each(c.s.all(), func(p *memPoller) { p.watch = callWatch{} })
	before, begin := c.costs(), time.Now()
	f()
	took := time.Since(begin)
	var watch callWatch
	for _, p := range c.s.all() {
		c.s.each([]*memPoller{p}, func(p *memPoller) { watch.add(&p.watch) })
	}
	after := c.costs()
	runtime.GC()
	end := c.costs()
	c.figures(name, fmt.Sprintf("%.2f s\t%d calls\t%s mean-µs\t%s p99.9-µs\t%s longest-ms\t%d over-10-ms\t%s most-CPU-ms",
		took.Seconds(), watch.calls, in(time.Microsecond, watch.wall/time.Duration(max(1, watch.calls))),
		in(time.Microsecond, watch.quantile(.999)), in(time.Millisecond, watch.longest), watch.long, in(time.Millisecond, watch.cpu)),
		fmt.Sprintf("%s locks-ms\t%d GCs\t%s longest-pause-ms\t%.1f CPU-s\t%.1f GC-CPU-s", in(time.Millisecond, after.locks-before.locks),
			after.gc.NumGC-before.gc.NumGC, in(time.Millisecond, longestPause(before.gc, after.gc)), (end.cpu-before.cpu).Seconds(), end.gcCPU-before.gcCPU))
	for _, l := range watch.busy {
		c.t.Logf("%s: %s", name, l)
	}
}

// figures prints a line in the format of benchmarks (golang.org/design/14313-benchmark-format).
func (c *multitude) figures(name string, figures ...string) {
	if testing.Verbose() {
		fmt.Printf("BenchmarkMillion/%s\t1\t%s\n", strings.ReplaceAll(name, " ", "_"), strings.Join(figures, "\t"))
	}
}

// in is d in the given unit, to three digits or so.
func in(unit, d time.Duration) string {
	return strconv.FormatFloat(float64(rounded(d))/float64(unit), 'f', -1, 64)
}

// costs are what the process has spent so far.
type costs struct {
	cpu, locks time.Duration
	gcCPU      float64 // seconds, as of the last collection
	gc         debug.GCStats
}

func (c *multitude) costs() (n costs) {
	s := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(s)
	n.locks, n.gcCPU = time.Duration(s[0].Value.Float64()*float64(time.Second)), s[1].Value.Float64()
	n.cpu = processCPU(c.t)
	debug.ReadGCStats(&n.gc)
	return n
}

func longestPause(before, after debug.GCStats) (longest time.Duration) {
	for i := range min(int(after.NumGC-before.NumGC), len(after.Pause)) {
		longest = max(longest, after.Pause[i])
	}
	return longest
}

// settle collects garbage, that of pools and of finalizers, too.
func settle() {
	for range 3 {
		runtime.GC()
	}
}

func heapNow() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
