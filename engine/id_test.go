package engine

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newTestIDs(tb testing.TB, node int) idSource {
	tb.Helper()
	s, err := newIDSource(node)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func nextID(tb testing.TB, s idSource) ID {
	tb.Helper()
	id, err := s.next()
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// Two nodes, each asked by several goroutines at once: every id is another, and each
// goroutine's ascend.
func TestIDsAreUnique(t *testing.T) {
	const goroutines, each = 4, 20_000
	nodes := []int{7, MaxNodeID}
	got := make([][]ID, len(nodes)*goroutines)
	sources := []idSource{newTestIDs(t, nodes[0]), newTestIDs(t, nodes[1])}
	start := time.Now()
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			for range each {
				id, err := sources[i%2].next()
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = append(got[i], id)
			}
		})
	}
	wg.Wait()
	end := time.Now()
	for i, ids := range got {
		if !slices.IsSorted(ids) {
			t.Errorf("the ids of goroutine %d do not ascend", i)
		}
		for _, id := range ids {
			if node := int(id & MaxNodeID); node != nodes[i%2] {
				t.Fatalf("id %d is of node %d, want %d", id, node, nodes[i%2])
			}
			if at := id.time(); at.Before(start.Truncate(time.Millisecond)) || at.After(end.Add(idLead)) {
				t.Fatalf("id %d is of %v, made from %v to %v", id, at, start, end)
			}
		}
	}
	all := slices.Concat(got...)
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != len(nodes)*goroutines*each {
		t.Errorf("%d different ids, want %d", n, len(nodes)*goroutines*each)
	}
}

// A process that takes another's place at once, after as many ids as there can be,
// makes later ids.
func TestIDsAfterRestart(t *testing.T) {
	var last ID
	for range 5 {
		s := newTestIDs(t, 1)
		if id := nextID(t, s); id <= last {
			t.Errorf("the first id after a restart is %d, not above %d", id, last)
		}
		for range 20_000 {
			last = nextID(t, s)
		}
	}
}

// In fake time, which stands still but for the waiting: a million ids take the
// milliseconds that they have numbers in, no more, and nobody waits before idLead is
// used up.
func TestIDRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(idEpoch.AddDate(1, 0, 0)))
		s := newTestIDs(t, 1)
		start, leads := time.Now(), int(idLead/time.Millisecond)<<idSequenceBits
		for n := range 1_000_000 {
			nextID(t, s)
			if took := time.Since(start); n < leads && took > 0 {
				t.Fatalf("id %d was waited for", n)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("a million ids took %v", took)
		}
	})
}

// An idStamp is what an idClock gives an id.
type idStamp struct {
	ms     int64
	number int
}

func TestIDClock(t *testing.T) {
	const s = time.Second
	full := int(idLead/time.Millisecond+1) << idSequenceBits // at a clock that stands
	type step struct {
		wall, steady time.Duration
		ids          int // that there are without waiting
		last         idStamp
		waits        bool // one more
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"follows the clock", []step{{5 * s, 0, 2, idStamp{5000, 1}, false}, {6 * s, s, 2, idStamp{6000, 1}, false}}},
		{"a millisecond is full", []step{{5 * s, 0, 1025, idStamp{5001, 0}, false}}},
		{"too many", []step{
			{5 * s, 0, full, idStamp{5010, 1023}, true},
			{5*s + time.Millisecond, time.Millisecond, 1024, idStamp{5011, 1023}, true},
			{6 * s, s, 1, idStamp{6000, 0}, false},
		}},
		{"set back by an hour", []step{
			{4000 * s, 0, 1, idStamp{4_000_000, 0}, false},
			{400 * s, 0, full - 1, idStamp{4_000_010, 1023}, true},
			{401 * s, s, 500_000, idStamp{4_000_499, 287}, false},
			{4001 * s, 3601 * s, 1, idStamp{4_001_000, 0}, false},
		}},
		{"set forward, or asleep", []step{{5 * s, 0, 1, idStamp{5000, 0}, false}, {4000 * s, 0, 1, idStamp{4_000_000, 0}, false}}},
		{"set forward, and back", []step{
			{5 * s, 0, 1, idStamp{5000, 0}, false}, {60 * s, s, 1, idStamp{60_000, 0}, false},
			{7 * s, 2 * s, 1, idStamp{60_000, 1}, false},
		}},
	}
	for _, tt := range tests {
		var c idClock
		for i, st := range tt.steps {
			var last idStamp
			for n := range st.ids {
				ms, number, wait := c.next(st.wall, st.steady)
				if wait > 0 {
					t.Fatalf("%s, step %d: id %d waits for %v", tt.name, i, n, wait)
				}
				last = idStamp{ms, number}
			}
			if last != st.last {
				t.Errorf("%s, step %d: the last id is %v, want %v", tt.name, i, last, st.last)
			}
			if !st.waits {
				continue
			}
			if _, _, wait := c.next(st.wall, st.steady); wait <= 0 || wait > time.Millisecond {
				t.Errorf("%s, step %d: one more waits for %v, want up to 1ms", tt.name, i, wait)
			}
		}
	}
}

// Who was held up between the reading of the clocks and the asking does not sleep off
// what others have asked for meanwhile.
func TestIDClockReadLongAgo(t *testing.T) {
	var c idClock
	c.next(5*time.Second, 0)
	c.next(6*time.Second, time.Second)
	if _, _, wait := c.next(5*time.Second, 0); wait > time.Millisecond {
		t.Errorf("waits for %v, want up to 1ms", wait)
	}
}

// Whatever the system's clock does, no id comes twice, and at a million a second
// nobody waits.
func TestIDClockRandomSteps(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var c idClock
	var last idStamp
	wall, steady := 24*time.Hour, time.Duration(0)
	for range 100_000 {
		d := time.Duration(rnd.Int64N(int64(2 * time.Millisecond)))
		wall, steady = wall+d, steady+d
		if rnd.IntN(1000) == 0 {
			wall += time.Duration(rnd.Int64N(int64(2*time.Hour))) - time.Hour
		}
		for range d.Microseconds() {
			ms, number, wait := c.next(wall, steady)
			if wait > 0 {
				t.Fatalf("waits for %v at %v", wait, wall)
			}
			if ms < last.ms || ms == last.ms && number <= last.number {
				t.Fatalf("id %d %d after %v", ms, number, last)
			}
			last = idStamp{ms, number}
		}
	}
}

func TestParseID(t *testing.T) {
	tests := []struct {
		in   string
		want ID // 0: refused
	}{
		{"1", 1}, {"9223372036854775807", 1<<63 - 1}, {"007", 7},
		{"", 0}, {"0", 0}, {"-1", 0}, {"+1", 0}, {" 1", 0}, {"0x1", 0}, {"1_0", 0}, {"9223372036854775808", 0},
	}
	for _, tt := range tests {
		if id, err := ParseID(tt.in); id != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("ParseID(%q) = %d, %v, want %d", tt.in, id, err, tt.want)
		}
	}
}
