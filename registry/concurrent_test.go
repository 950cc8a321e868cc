package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// busy is how long a concurrent test goes on.
var busy = func() time.Duration {
	if full() {
		return 1500 * time.Millisecond
	}
	return 300 * time.Millisecond
}()

// together runs writers until done after the given time, and readers until the
// writers have ended.
func together(d time.Duration, writers, readers []func(more func() bool)) {
	var stop, ended atomic.Bool
	var w, r sync.WaitGroup
	for _, f := range writers {
		w.Go(func() { f(func() bool { return !stop.Load() }) })
	}
	for _, f := range readers {
		r.Go(func() { f(func() bool { return !ended.Load() }) })
	}
	time.Sleep(d)
	stop.Store(true)
	w.Wait()
	ended.Store(true)
	r.Wait()
}

// idKinds are ways to choose ids: spread over all shards as those of a server are,
// and so that they fill few pages, which split and merge, or go on in others.
var idKinds = []struct {
	name string
	id   func(n uint64) uint64
}{
	{"spread", func(n uint64) uint64 { return n }},
	{"in three shards", func(n uint64) uint64 { h := mix(n); return unmix(h%3<<56 | h>>8) }},
	{"in pages behind pages", func(n uint64) uint64 { h := mix(n); return unmix(h%2<<56 | h>>1%2<<44 | h>>20) }},
}

// Members who stay are seen exactly once by every walk, however the leaves and
// directories change under it.
func TestWalksWhileOthersChange(t *testing.T) {
	for _, ids := range idKinds {
		t.Run(ids.name, func(t *testing.T) { walkWhileOthersChange(t, ids.id) })
	}
}

func walkWhileOthersChange(t *testing.T, idOf func(uint64) uint64) {
	const owners, stay = 3, 500
	r := New[int](owners)
	for id := range uint64(stay) {
		if err := r.Join(new(Member[int]), idOf(id), int(id)%owners, "s", "g"); err != nil {
			t.Fatal(err)
		}
	}
	// Waves, so that the lists grow twentyfold and shrink again all the time.
	wave := func(first uint64) func(more func() bool) {
		return func(more func() bool) {
			for more() {
				members := make([]Member[int], 5000)
				for i := range members {
					if err := r.Join(&members[i], idOf(first+uint64(i)), i%owners, "s"); err != nil {
						t.Error(err)
						return
					}
					if _, err := r.Bind(&members[i], "g"); err != nil {
						t.Error(err)
						return
					}
				}
				for i := range members {
					if i%2 == 0 {
						if _, err := r.Unbind(&members[i], "g"); err != nil {
							t.Error(err)
							return
						}
					}
					if !r.Leave(&members[i]) {
						t.Error("Leave = false")
						return
					}
				}
			}
		}
	}
	var walks atomic.Int64
	reader := func(set func() Set[int], read func(Set[int]) []uint64) func(more func() bool) {
		return func(more func() bool) {
			for more() {
				seen := make(map[uint64]int)
				for _, id := range read(set()) {
					seen[id]++
				}
				for id := range uint64(stay) {
					if n := seen[idOf(id)]; n != 1 {
						t.Errorf("member %d, who stays, was seen %d times", id, n)
						return
					}
				}
				walks.Add(1)
			}
		}
	}
	walk := func(slice int) func(Set[int]) []uint64 {
		return func(s Set[int]) []uint64 { return walkIDs(t, s, owners, slice) }
	}
	together(busy*2/3, []func(func() bool){wave(1 << 20), wave(1 << 30)}, []func(func() bool){
		reader(r.All, ids[int]),
		reader(r.All, walk(100)),
		reader(r.All, walk(5)),
		reader(func() Set[int] { return r.System("s") }, walk(3)),
		reader(func() Set[int] { return r.Group("s", "g") }, ids[int]),
	})
	if walks.Load() < 10 {
		t.Errorf("only %d walks", walks.Load())
	}
	if r.Len() != stay || r.Group("s", "g").Len() != stay {
		t.Errorf("%d members, %d in the group, want %d", r.Len(), r.Group("s", "g").Len(), stay)
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
}

// A lookup finds a member that stays, however the page it is in changes, is split
// and is merged, and never one that has left.
func TestLookupsWhileOthersChange(t *testing.T) {
	const stay = 200
	r := New[int](3)
	// Of a few shards, so that pages fill and empty all the time.
	next := uint64(0)
	var mu sync.Mutex
	newID := func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		for next++; shardOf(mix(next)) >= 3; next++ {
		}
		return next
	}
	var staying [stay]Member[int]
	for i := range staying {
		if err := r.Join(&staying[i], newID(), i%3, "s"); err != nil {
			t.Fatal(err)
		}
	}
	var left [64]atomic.Pointer[Member[int]]
	var changes atomic.Int64
	wave := func(more func() bool) {
		for more() {
			members := make([]Member[int], 600)
			for i := range members {
				if err := r.Join(&members[i], newID(), i%3, "s"); err != nil {
					t.Error(err)
					return
				}
			}
			for i := range members {
				if !r.Leave(&members[i]) {
					t.Error("Leave = false")
					return
				}
				left[i%len(left)].Store(&members[i])
				changes.Add(1)
			}
		}
	}
	var lookups atomic.Int64
	look := func(more func() bool) {
		for more() {
			for i := range staying {
				if m := r.Lookup(staying[i].ID()); m != &staying[i] {
					t.Errorf("Lookup of a member that stays = %p, want %p", m, &staying[i])
					return
				}
				if m := left[i%len(left)].Load(); m != nil && r.Lookup(m.ID()) != nil {
					t.Error("Lookup found a member that had left")
					return
				}
			}
			lookups.Add(stay)
		}
	}
	together(busy, []func(func() bool){wave, wave}, []func(func() bool){look, look})
	if changes.Load() < 1000 || lookups.Load() < 1000 {
		t.Errorf("only %d changes and %d lookups", changes.Load(), lookups.Load())
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
}

// A client that is seen in one index is seen in all of them, with everything its
// record held before it joined.
func TestClientIsSeenWhole(t *testing.T) {
	type record struct {
		Member[*record]
		secret uint64
	}
	const owners = 4
	r := New[*record](owners)
	groups := []string{"a", "b", "c"}
	writer := func(first uint64) func(more func() bool) {
		return func(more func() bool) {
			rnd := rand.New(rand.NewPCG(8, first))
			here := make([]*record, 200)
			for more() {
				i := rnd.IntN(len(here))
				if here[i] != nil {
					r.Leave(&here[i].Member)
				}
				id := first + uint64(i)
				c := &record{secret: ^id}
				c.Value = c
				// Several systems, which disappear and come back.
				if err := r.Join(&c.Member, id, i%owners, fmt.Sprint("s", i%50), groups...); err != nil {
					t.Error(err)
					return
				}
				here[i] = c
			}
			for _, c := range here {
				if c != nil {
					r.Leave(&c.Member)
				}
			}
		}
	}
	var found atomic.Int64
	reader := func(seed uint64) func(more func() bool) {
		return func(more func() bool) {
			rnd := rand.New(rand.NewPCG(9, seed))
			for more() {
				system := fmt.Sprint("s", rnd.IntN(50))
				set := r.System(system)
				switch i := rnd.IntN(5); i {
				case 0, 1, 2:
					set = r.Group(system, groups[i])
				case 3:
					set = r.All()
				}
				for m := range set.Members(Cursor{}) {
					id, key := m.ID(), listKey(mix(m.ID()), uint8(m.Owner()), r.ownerBits)
					l := r.System(m.System()).l // once: the next moment it may be gone
					whole := r.Lookup(id) == m && l != nil && l.members.has(key, m) && slices.Equal(m.Groups(), groups)
					for _, g := range groups {
						l := r.Group(m.System(), g).l
						whole = whole && m.InGroup(g) && l != nil && l.members.has(key, m)
					}
					if !whole && m.Live() { // live before and after: live all the time
						t.Errorf("member %d was seen in part", id)
						return
					}
					if m.Value.secret != ^id {
						t.Errorf("member %d was seen before its record", id)
						return
					}
					found.Add(1)
				}
			}
		}
	}
	together(busy, []func(func() bool){writer(1000), writer(2000)}, []func(func() bool){reader(1), reader(2)})
	if found.Load() < 1000 {
		t.Errorf("only %d members were found", found.Load())
	}
	if err := r.checkEmpty(); err != nil {
		t.Error(err)
	}
}

// A member that is found in a group it was just bound to is in the group for
// itself as well.
func TestBoundMemberKnowsItsGroup(t *testing.T) {
	r := New[int](1)
	var missing atomic.Int64
	bind := func(more func() bool) {
		for id := uint64(0); more(); id++ {
			m := new(Member[int])
			if err := r.Join(m, id, 0, "s"); err != nil {
				t.Error(err)
				return
			}
			if _, err := r.Bind(m, "g"); err != nil {
				t.Error(err)
				return
			}
			if id%8 == 7 { // keep the group small, so that it is read often
				for m := range r.Group("s", "g").Members(Cursor{}) {
					r.Leave(m)
				}
			}
		}
	}
	read := func(more func() bool) {
		for more() {
			for m := range r.Group("s", "g").Members(Cursor{}) {
				if !m.InGroup("g") && m.Live() {
					missing.Add(1)
				}
			}
		}
	}
	together(busy/3, []func(func() bool){bind}, []func(func() bool){read, read})
	if n := missing.Load(); n != 0 {
		t.Errorf("%d times a member in the group was not in it for itself", n)
	}
}

// Calls for one member at the same time are one after the other: one Join and
// one Leave succeed, and nothing is left.
func TestCallsForOneMember(t *testing.T) {
	r := New[int](2)
	for i := range 2000 {
		m := new(Member[int])
		var joins, leaves atomic.Int64
		var wg sync.WaitGroup
		for id := range uint64(2) {
			wg.Go(func() {
				if r.Join(m, uint64(i)<<1|id, i%2, "s", "g") == nil {
					joins.Add(1)
				}
			})
			wg.Go(func() {
				_, _ = r.Bind(m, "h")
				_, _ = r.Unbind(m, "g")
				if r.Leave(m) {
					leaves.Add(1)
				}
			})
		}
		wg.Wait()
		if r.Leave(m) {
			leaves.Add(1)
		}
		if joins.Load() != 1 || leaves.Load() != 1 {
			t.Fatalf("%d calls to Join and %d to Leave succeeded, want 1 and 1", joins.Load(), leaves.Load())
		}
	}
	if err := r.checkEmpty(); err != nil {
		t.Error(err)
	}
}

// When everybody has left, nothing remains: no system, no group, no directory.
func TestNothingRemains(t *testing.T) {
	const n, owners = 20_000, 7
	r := New[int](owners)
	members := make([]Member[int], n)
	for i := range members {
		if err := r.Join(&members[i], uint64(i), i%owners, "s", "g", fmt.Sprint("g", i%1000)); err != nil {
			t.Fatal(err)
		}
	}
	if r.Groups() != 1001 || r.ids[0].depth() == 0 || r.System("s").l.members.depth() == 0 {
		t.Errorf("%d groups; the tables have no directories", r.Groups())
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part; i < n; i += 4 {
				r.Leave(&members[i])
			}
		})
	}
	wg.Wait()
	if err := r.checkEmpty(); err != nil {
		t.Error(err)
	}
}
