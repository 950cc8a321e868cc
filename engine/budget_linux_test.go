package engine

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

func init() { roles["audience"] = audience }

type audienceSpec struct {
	Addr           string
	Readers, Stuck int
	Window         int // readers say when they have all got this many pushes more
}

type audienceReport struct {
	Readers   int // that got every push up to the last, once and in order
	Stuck     int // for which what they got is an unbroken run from the first
	Complaint string
}

// audience is clients of which some read and some do not. It speaks up when all are
// connected, for each Window, and at the end, when it has been told the number of
// pushes and the server has closed everybody.
func audience(b []byte, p *parent) error {
	var spec audienceSpec
	if err := json.Unmarshal(b, &spec); err != nil {
		return err
	}
	stuckDialer := &net.Dialer{Control: smallBuffers}
	readers, err := openWires(spec.Readers, new(net.Dialer), spec.Addr)
	if err != nil {
		return err
	}
	stuck, err := openWires(spec.Stuck, stuckDialer, spec.Addr)
	if err != nil {
		return err
	}
	if err := p.say(len(readers) + len(stuck)); err != nil {
		return err
	}
	var complaint atomic.Pointer[string]
	var windows [1000]atomic.Int32 // how many readers have got all of each
	complete := make(chan int, len(windows))
	listen := func(w *wire, each func(n int)) (got int, unbroken bool) {
		unbroken = true
		w.each(func(payload []byte) bool {
			if n := number(payload); n != got {
				text := fmt.Sprintf("client %v got push %d instead of %d", w.id, n, got)
				complaint.Store(&text)
				unbroken = false
				return false
			}
			each(got)
			got++
			return true
		})
		return got, unbroken
	}
	var reading sync.WaitGroup
	var unbroken atomic.Int32
	var mu sync.Mutex
	counts := map[int]int{} // readers by what they got
	for _, w := range readers {
		reading.Go(func() {
			got, _ := listen(w, func(n int) {
				if i := n / spec.Window; n%spec.Window == spec.Window-1 && int(windows[i].Add(1)) == len(readers) {
					complete <- i
				}
			})
			mu.Lock()
			defer mu.Unlock()
			counts[got]++
		})
	}
	go func() {
		for i := range complete {
			p.say(i)
		}
	}()
	var total int
	if err := p.hear(&total); err != nil {
		return err
	}
	for _, w := range stuck {
		reading.Go(func() {
			if _, ok := listen(w, func(int) {}); ok {
				unbroken.Add(1)
			}
		})
	}
	reading.Wait()
	report := audienceReport{Readers: counts[total], Stuck: int(unbroken.Load())}
	if c := complaint.Load(); c != nil {
		report.Complaint = *c
	}
	return p.say(report)
}

// A fifth of 5,000 clients do not read, and pushes come as fast as the others read
// them. The server's memory stays within its limit, of which what waits for clients is
// allowed a quarter, as in cmd/server. Those who do not read are
// closed, with the reason, and nobody else is.
func TestDeafFifth(t *testing.T) {
	const (
		window, pushes = 1, 10
		memory         = 64 << 20
		size           = 128 << 10
	)
	var (
		readers, deaf   = 4_000 / fewer, 1_000 / fewer
		queuedTotal     = memory / 4 / fewer
		stillAffordable = queuedTotal / (pushes - 1) / size // clients that are not cut off
	)
	for _, tt := range []struct {
		name string
		spec serverSpec
		size int // of a push
		why  CloseReason
		stay int // of the deaf, at most
	}{
		{"each over its own budget", serverSpec{MemoryLimit: 4 * memory, MaxQueuedBytes: 64 << 10, MaxQueuedTotal: memory}, 16 << 10, CloseSlowConsumer, 0},
		{"all over that of all", serverSpec{MemoryLimit: memory, MaxQueuedBytes: queuedTotal, MaxQueuedTotal: int64(queuedTotal)}, size, CloseMemory, stillAffordable + 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, tt.spec)
			a := startChild(t, "audience", audienceSpec{s.addr, readers, deaf, window})
			var n int
			if a.hear(&n); n != readers+deaf {
				t.Fatalf("%d connected", n)
			}
			base := statusBytes(t, s.cmd.Process.Pid, "VmRSS")
			for n := range pushes {
				if r := s.push(n, tt.size); r.Matched != r.Written+r.Queued+r.Dropped || r.Matched < readers {
					t.Fatalf("push %d: %+v", n, r)
				}
				if n%window == window-1 && n/window > 0 { // two windows are on their way at most
					var done int
					if a.hear(&done); done != n/window-1 {
						t.Fatalf("window %d is complete instead of %d", done, n/window-1)
					}
				}
			}
			a.hear(new(int))
			state := s.state()
			peak := statusBytes(t, s.cmd.Process.Pid, "VmHWM")
			// The limit is Go's, which does not count the pages of the program itself.
			budget := tt.spec.MemoryLimit + statusBytes(t, s.cmd.Process.Pid, "RssFile")
			t.Logf("resident: %d MiB with all connected, %d MiB at most; the budget is %d MiB; closed: %v",
				base>>20, peak>>20, budget>>20, state.Closed)
			if peak > budget && !race { // the race detector has memory of its own
				t.Errorf("%d bytes were resident, over the budget of %d", peak, budget)
			}
			for why, n := range state.Closed {
				if why != tt.why && n > 0 || why == tt.why && (n > uint64(deaf) || n < uint64(deaf-tt.stay)) {
					t.Errorf("%d clients were closed for %v", n, why)
				}
			}
			a.tell(pushes)
			s.end()
			var report audienceReport
			if a.hear(&report); report != (audienceReport{readers, deaf, ""}) {
				t.Errorf("%+v, want %d readers with everything and %d others with an unbroken run", report, readers, deaf)
			}
		})
	}
}
