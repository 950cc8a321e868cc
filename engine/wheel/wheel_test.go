package wheel

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type record struct {
	links Links[record]
	fired []uint32
}

func newWheel(now uint32) *Wheel[record] {
	return New(now, func(r *record) *Links[record] { return &r.links })
}

func TestComesDueOnItsTick(t *testing.T) {
	tests := []struct {
		name             string
		start, due, want uint32
	}{
		{"next tick", 10, 11, 11},
		{"later", 10, 64, 64},
		{"in the past", 10, 3, 11},
		{"now", 10, 10, 11},
		{"last slot", 10, 10 + Slots - 1, 10 + Slots - 1},
		{"beyond the wheel", 10, 10 + 3*Slots, 10 + Slots - 1},
		{"across the wrap", 1<<32 - 5, 3, 3},
	}
	for _, tt := range tests {
		w, r := newWheel(tt.start), &record{}
		w.Schedule(r, tt.due)
		for now := tt.start + 1; now != tt.start+4*Slots; now++ {
			w.Advance(now, func(r *record) uint32 { r.fired = append(r.fired, now); return 0 })
		}
		if got := fmt.Sprint(r.fired); got != fmt.Sprint([]uint32{tt.want}) {
			t.Errorf("%s: at tick %d, due %d: fired at %s, want [%d]", tt.name, tt.start, tt.due, got, tt.want)
		}
		if w.Len() != 0 {
			t.Errorf("%s: %d records left", tt.name, w.Len())
		}
	}
}

func TestCallbackReschedules(t *testing.T) {
	w, r := newWheel(0), &record{}
	w.Schedule(r, 5)
	for now := uint32(1); now <= 30; now++ {
		w.Advance(now, func(r *record) uint32 { r.fired = append(r.fired, now); return now + 10 })
	}
	if got, want := fmt.Sprint(r.fired), "[5 15 25]"; got != want {
		t.Errorf("fired at %s, want %s", got, want)
	}
}

// What a callback schedules itself outlives the tick that it returns.
func TestScheduleInsideCallbackStands(t *testing.T) {
	w, r := newWheel(0), &record{}
	w.Schedule(r, 1)
	w.Advance(1, func(r *record) uint32 { w.Schedule(r, 3); return 100 })
	for now := uint32(2); now <= 10; now++ {
		w.Advance(now, func(r *record) uint32 { r.fired = append(r.fired, now); return 0 })
	}
	if got, want := fmt.Sprint(r.fired), "[3]"; got != want {
		t.Errorf("fired at %s, want %s", got, want)
	}
}

func TestRetiredNeverFires(t *testing.T) {
	w, r := newWheel(0), &record{}
	w.Schedule(r, 2)
	w.Retire(r)
	w.Schedule(r, 3)
	w.Advance(2*Slots, func(*record) uint32 { t.Error("a retired record came due"); return 0 })

	again := &record{}
	w.Schedule(again, 2*Slots+1)
	w.Advance(2*Slots+1, func(r *record) uint32 { w.Retire(r); return 2*Slots + 2 })
	if w.Len() != 0 {
		t.Error("a record retired by its own callback went back in")
	}
}

// A process that was stopped for an hour finds every record due, once.
func TestLongPause(t *testing.T) {
	w := newWheel(0)
	rs := make([]record, 3*batch)
	for i := range rs {
		w.Schedule(&rs[i], uint32(1+i%100))
	}
	w.Advance(3600, func(r *record) uint32 { r.fired = append(r.fired, 1); return 0 })
	for i := range rs {
		if len(rs[i].fired) != 1 {
			t.Fatalf("record %d fired %d times, want once", i, len(rs[i].fired))
		}
	}
	w.Schedule(&rs[0], 3601)
	w.Advance(3601, func(r *record) uint32 { r.fired = append(r.fired, 2); return 0 })
	if len(rs[0].fired) != 2 {
		t.Error("the wheel lost its place in the long pause")
	}
}

// Of very many that come due at once, a batch at a time leaves the wheel, and what
// others schedule in between is not lost.
func TestManyDueAtOnce(t *testing.T) {
	const n = 1000*batch + 1
	w := newWheel(0)
	rs := make([]record, n)
	for i := range rs {
		w.Schedule(&rs[i], 5)
	}
	again, visits := 0, 0
	w.Advance(5, func(r *record) uint32 {
		if out := n - (w.Len() - again); out > visits+batch {
			t.Fatalf("%d records were out of the wheel at the visit of number %d", out, visits)
		}
		if visits++; visits%batch == 0 {
			again = visits / 2 // of each full batch, half return
		}
		r.fired = append(r.fired, 5)
		return uint32(visits%2) * 7
	})
	if visits != n || w.Len() != n/2+1 {
		t.Errorf("%d visits, %d records wait, want %d and %d", visits, w.Len(), n, n/2+1)
	}
	w.Advance(7, func(r *record) uint32 { r.fired = append(r.fired, 7); return 0 })
	for i := range rs {
		if f := rs[i].fired; len(f) == 0 || f[0] != 5 || len(f) > 2 || len(f) == 2 && f[1] != 7 {
			t.Fatalf("record %d fired at %v", i, f)
		}
	}
}

// The wheel against a map of due ticks, under random operations.
func TestModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	w := newWheel(0)
	rs := make([]record, 200)
	model := map[*record]uint32{}
	dead := map[*record]bool{}
	for now := uint32(1); now < 5000; now++ {
		for range 5 {
			r := &rs[rnd.IntN(len(rs))]
			switch rnd.IntN(10) {
			case 0:
				w.Retire(r)
				delete(model, r)
				dead[r] = true
			default:
				due := now + rnd.Uint32N(Slots-2)
				w.Schedule(r, due)
				if !dead[r] {
					model[r] = max(due, now)
				}
			}
		}
		w.Advance(now, func(r *record) uint32 {
			if model[r] != now {
				t.Fatalf("tick %d: came due, the model says %d", now, model[r])
			}
			delete(model, r)
			return 0
		})
		for _, due := range model {
			if due <= now {
				t.Fatalf("tick %d: a record due at %d did not come", now, due)
			}
		}
		if w.Len() != len(model) {
			t.Fatalf("tick %d: %d records wait, the model has %d", now, w.Len(), len(model))
		}
		if now%1000 == 0 {
			rs, dead = make([]record, 200), map[*record]bool{}
			w, model = newWheel(now), map[*record]uint32{}
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	w := newWheel(0)
	rs := make([]record, 1000)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for now := uint32(1); ; now++ {
			select {
			case <-stop:
				return
			default:
				w.Advance(now, func(*record) uint32 { return now + 3 })
			}
		}
	})
	var writers sync.WaitGroup
	for g := range 4 {
		writers.Go(func() {
			for i := range 20_000 {
				r := &rs[(i*7+g)%len(rs)]
				w.Schedule(r, uint32(i))
				if i > 19_000 {
					w.Retire(r)
				}
			}
		})
	}
	writers.Wait()
	for i := range rs {
		w.Retire(&rs[i])
	}
	close(stop)
	wg.Wait()
	if w.Len() != 0 {
		t.Errorf("%d records wait after all were retired", w.Len())
	}
}

// Driven by a ticker, as the engine does it, under a fake clock.
func TestTicker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := newWheel(0), &record{}
		start := time.Now()
		w.Schedule(r, 54)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var fired time.Duration
		for fired == 0 {
			<-tick.C
			now := uint32(time.Since(start) / time.Second)
			w.Advance(now, func(*record) uint32 { fired = time.Since(start); return 0 })
		}
		if fired != 54*time.Second {
			t.Errorf("fired after %v, want 54s", fired)
		}
	})
}

func ExampleWheel() {
	type conn struct {
		name  string
		links Links[conn]
	}
	w := New(0, func(c *conn) *Links[conn] { return &c.links })
	w.Schedule(&conn{name: "a"}, 2)
	for now := uint32(1); now <= 3; now++ {
		w.Advance(now, func(c *conn) uint32 { fmt.Println("tick", now, "conn", c.name); return 0 })
	}
	// Output: tick 2 conn a
}
