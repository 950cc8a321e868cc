package registry

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// check returns what is wrong with the structure of any table of r.
func (r *Registry[V]) check() error {
	for i := range shards {
		if err := r.ids[i].check(i); err != nil {
			return fmt.Errorf("ids %d: %w", i, err)
		}
		for _, x := range []*index[V]{&r.systems, &r.groups} {
			if err := x.tables[i].check(); err != nil {
				return fmt.Errorf("lists %d: %w", i, err)
			}
			for _, s := range x.tables[i].all() {
				if err := s.e.members.check(); err != nil {
					return fmt.Errorf("list %q: %w", s.e.name, err)
				}
			}
		}
	}
	return nil
}

// checkEmpty returns what is left in r of members that are all gone.
func (r *Registry[V]) checkEmpty() error {
	if r.Len() != 0 || r.Systems() != 0 || r.Groups() != 0 {
		return fmt.Errorf("%d members, %d systems, %d groups", r.Len(), r.Systems(), r.Groups())
	}
	for i := range shards {
		if !r.ids[i].empty() || !r.systems.tables[i].empty() || !r.groups.tables[i].empty() {
			return fmt.Errorf("tables %d are not empty", i)
		}
	}
	return nil
}

func ids[V any](s Set[V]) []uint64 {
	var ids []uint64
	for m := range s.Members(Cursor{}) {
		ids = append(ids, m.ID())
	}
	return ids
}

// walkIDs returns what the walks of all owners find, checking the owner.
func walkIDs[V any](t *testing.T, s Set[V], owners, slice int) []uint64 {
	t.Helper()
	var ids []uint64
	dst := make([]*Member[V], slice)
	for owner := range owners {
		w := s.Walk(owner)
		for n := w.Next(dst); n > 0; n = w.Next(dst) {
			for _, m := range dst[:n] {
				if m.Owner() != owner {
					t.Errorf("the walk of owner %d found a member of owner %d", owner, m.Owner())
				}
				ids = append(ids, m.ID())
			}
		}
	}
	return ids
}

// A client is what the model of a registry knows of one member.
type client struct {
	member Member[int]
	owner  int
	system string
	groups []string
}

// TestRegistryAgainstModel does random changes to a registry and to a map, and
// compares everything that can be read.
func TestRegistryAgainstModel(t *testing.T) {
	for _, owners := range []int{1, 2, 6, 256} {
		t.Run(fmt.Sprint(owners, " owners"), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(5, uint64(owners)))
			r := New[int](owners)
			model := make(map[uint64]*client)
			var old snapshots
			for batch, goal := range []int{300, 40, 200, 0} {
				for step := 0; len(model) != goal; step++ {
					changeRegistry(t, rnd, r, model, len(model) < goal)
					if step%40 == 0 {
						old.take(r)
					}
				}
				compareRegistry(t, r, model)
				if t.Failed() {
					t.Fatalf("in batch %d", batch)
				}
			}
			if err := cmp.Or(r.checkEmpty(), old.check()); err != nil {
				t.Error(err)
			}
		})
	}
}

// snapshots are what readers have of a registry while it changes, each part beside
// a copy from that time. A Set is a live view, so the parts are what it reads: the
// slots of leaves, and the chains of members' groups.
type snapshots struct {
	slots, slotsThen [][]slot[Member[int]]
	chains           []*membership[int]
	chainsThen       [][]string
}

func (o *snapshots) take(r *Registry[int]) {
	var sets []Set[int]
	for i := range 3 {
		system := fmt.Sprint("s", i)
		sets = append(sets, r.System(system), r.Group(system, "g0"))
	}
	for _, s := range sets {
		if s.l == nil {
			continue
		}
		for key, more := uint64(0), true; more; more = key != 0 {
			var slots []slot[Member[int]]
			slots, key = s.l.members.from(key)
			o.slots, o.slotsThen = append(o.slots, slots), append(o.slotsThen, slices.Clone(slots))
		}
	}
	for m := range r.All().Members(Cursor{}) {
		o.chains, o.chainsThen = append(o.chains, m.chain()), append(o.chainsThen, m.chain().names())
	}
}

func (o *snapshots) check() error {
	for i, then := range o.slotsThen {
		if !slices.Equal(o.slots[i], then) {
			return fmt.Errorf("slots of a leaf changed after a reader had them: %v, were %v", o.slots[i], then)
		}
	}
	for i, then := range o.chainsThen {
		if now := o.chains[i].names(); !slices.Equal(now, then) {
			return fmt.Errorf("groups of a member changed after a reader had them: %q, were %q", now, then)
		}
	}
	return nil
}

func changeRegistry(t *testing.T, rnd *rand.Rand, r *Registry[int], model map[uint64]*client, up bool) {
	t.Helper()
	group := func() string { return fmt.Sprint("g", rnd.IntN(12)) }
	id := rnd.Uint64N(1000)
	c := model[id]
	switch {
	case c == nil && !up: // leaving is for those who are there
		id = slices.Sorted(maps.Keys(model))[rnd.IntN(len(model))]
		if !r.Leave(&model[id].member) || r.Leave(&model[id].member) {
			t.Error("Leave of a live member is not true once")
		}
		delete(model, id)
	case c == nil:
		c = &client{owner: rnd.IntN(r.owners), system: fmt.Sprint("s", rnd.IntN(3))}
		var groups []string
		for range rnd.IntN(4) {
			groups = append(groups, group())
			if last := groups[len(groups)-1]; !slices.Contains(c.groups, last) {
				c.groups = append(c.groups, last)
			}
		}
		if err := r.Join(&c.member, id, c.owner, c.system, groups...); err != nil {
			t.Errorf("Join: %v", err)
		}
		model[id] = c
	case rnd.IntN(2) == 0:
		name := group()
		had := slices.Contains(c.groups, name)
		if added, err := r.Bind(&c.member, name); added == had || err != nil {
			t.Errorf("Bind of a member of %q to %q = %v, %v", c.groups, name, added, err)
		}
		if !had {
			c.groups = append(c.groups, name)
		}
	default:
		name := group()
		i := slices.Index(c.groups, name)
		if removed, err := r.Unbind(&c.member, name); removed != (i >= 0) || err != nil {
			t.Errorf("Unbind of a member of %q from %q = %v, %v", c.groups, name, removed, err)
		}
		if i >= 0 {
			c.groups = slices.Delete(c.groups, i, i+1)
		}
	}
}

func compareRegistry(t *testing.T, r *Registry[int], model map[uint64]*client) {
	t.Helper()
	sets := map[[2]string][]uint64{{}: nil} // by system and group; "" is any
	for id, c := range model {
		sets[[2]string{}] = append(sets[[2]string{}], id)
		sets[[2]string{c.system}] = append(sets[[2]string{c.system}], id)
		for _, g := range c.groups {
			sets[[2]string{c.system, g}] = append(sets[[2]string{c.system, g}], id)
			if !c.member.InGroup(g) {
				t.Errorf("member %d is not in group %q", id, g)
			}
		}
		m := &c.member
		if r.Lookup(id) != m || m.ID() != id || m.System() != c.system || m.Owner() != c.owner || !slices.Equal(m.Groups(), c.groups) {
			t.Errorf("Lookup(%d) = %p with id %d, system %q, owner %d, groups %q; want %p, %+v",
				id, r.Lookup(id), m.ID(), m.System(), m.Owner(), m.Groups(), m, c)
		}
	}
	systems, groups := 0, 0
	for name, want := range sets {
		set := r.All()
		switch {
		case name[1] != "":
			set = r.Group(name[0], name[1])
			groups++
		case name[0] != "":
			set = r.System(name[0])
			systems++
		}
		slices.Sort(want)
		got, walked := ids(set), walkIDs(t, set, r.owners, 7)
		slices.Sort(got)
		slices.Sort(walked)
		if !slices.Equal(got, want) || !slices.Equal(walked, want) || set.Len() != len(want) {
			t.Errorf("set %q has %d members, of which Members gives %d and Walk %d; want %d",
				name, set.Len(), len(got), len(walked), len(want))
		}
	}
	if r.Len() != len(model) || r.Systems() != systems || r.Groups() != groups {
		t.Errorf("%d members, %d systems, %d groups; want %d, %d, %d",
			r.Len(), r.Systems(), r.Groups(), len(model), systems, groups)
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
}

func TestJoinErrors(t *testing.T) {
	r, other := New[string](4), New[string](4)
	var a, b Member[string]
	if r.Leave(&a) {
		t.Error("Leave before Join = true")
	}
	if _, err := r.Bind(&a, "g"); !errors.Is(err, ErrNotLive) {
		t.Errorf("Bind before Join: %v, want ErrNotLive", err)
	}
	if a.ID() != 0 || a.Owner() != 0 || a.System() != "" || a.Groups() != nil || a.Live() || a.Cursor() != (Cursor{}) {
		t.Error("a member that has not joined is not zero")
	}
	if err := r.Join(&a, 7, 3, "s", "g", "g"); err != nil {
		t.Fatal(err)
	}
	if err := r.Join(&a, 8, 3, "s"); !errors.Is(err, ErrReused) {
		t.Errorf("second Join: %v, want ErrReused", err)
	}
	if err := r.Join(&b, 7, 0, "s"); !errors.Is(err, ErrDuplicateID) {
		t.Errorf("Join with a taken id: %v, want ErrDuplicateID", err)
	}
	if err := r.Join(&b, 8, 0, "s", "g"); err != nil {
		t.Errorf("Join with another id: %v", err)
	}
	if got := a.Groups(); !slices.Equal(got, []string{"g"}) {
		t.Errorf("groups %q, want g once", got)
	}
	if _, err := other.Unbind(&a, "g"); other.Leave(&a) || !errors.Is(err, ErrNotLive) {
		t.Errorf("another registry took the member out, or Unbind gave %v", err)
	}
	if !r.Leave(&a) || r.Leave(&a) {
		t.Error("Leave is not true once")
	}
	if a.ID() != 7 || a.System() != "s" || !slices.Equal(a.Groups(), []string{"g"}) || a.InGroup("g") || a.Live() {
		t.Errorf("after Leave: id %d, system %q, groups %q", a.ID(), a.System(), a.Groups())
	}
	if err := r.Join(&a, 9, 3, "s"); !errors.Is(err, ErrReused) {
		t.Errorf("Join after Leave: %v, want ErrReused", err)
	}
	if got := r.Group("s", "g").Len(); got != 1 {
		t.Errorf("group has %d members, want 1", got)
	}
}

// No member is in more groups than the limit, however many bind it at once.
func TestLimitGroups(t *testing.T) {
	r := New[string](1)
	r.LimitGroups(3)
	var over, m Member[string]
	if err := r.Join(&over, 1, 0, "s", "a", "b", "c", "d"); !errors.Is(err, ErrGroups) || r.Len()+r.Systems()+r.Groups() != 0 {
		t.Errorf("Join with 4 groups: %v, want ErrGroups and an empty registry", err)
	}
	if err := r.Join(&over, 1, 0, "s", "a", "b", "c", "a", "b"); err != nil {
		t.Errorf("Join with 3 groups, two of them named twice: %v", err)
	}
	if err := r.Join(&m, 2, 0, "s", "a"); err != nil {
		t.Fatal(err)
	}
	var binding sync.WaitGroup
	var added atomic.Int32
	for i := range 64 {
		binding.Go(func() {
			switch did, err := r.Bind(&m, string(rune('k'+i))); {
			case did:
				added.Add(1)
			case !errors.Is(err, ErrGroups):
				t.Errorf("Bind: %v, want ErrGroups", err)
			}
		})
	}
	binding.Wait()
	if n := len(m.Groups()); n != 3 || added.Load() != 2 {
		t.Errorf("%d groups, %d of them bound", n, added.Load())
	}
	if did, err := r.Bind(&m, "a"); did || err != nil {
		t.Errorf("Bind to a group that it is in: %v, %v", did, err)
	}
	if _, err := r.Unbind(&m, "a"); err != nil {
		t.Fatal(err)
	}
	if did, err := r.Bind(&m, "z"); !did || err != nil {
		t.Errorf("Bind after Unbind: %v, %v", did, err)
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
}

// Has is what a walk finds.
func TestSetHas(t *testing.T) {
	r, other := New[string](2), New[string](2)
	var a, b, joins Member[string]
	for id, m := range map[uint64]*Member[string]{1: &a, 2: &b} {
		if err := r.Join(m, id, int(id)%2, "s", fmt.Sprint("g", id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Join(&joins, 3, 0, "s", "g1"); err != nil {
		t.Fatal(err)
	}
	group := r.Group("s", "g1")
	for name, tt := range map[string]struct {
		set  Set[string]
		a, b bool
	}{
		"all": {r.All(), true, true}, "system": {r.System("s"), true, true}, "group": {group, true, false},
		"another group": {r.Group("s", "g2"), false, true}, "no system": {r.System("t"), false, false}, "zero": {Set[string]{}, false, false},
		"another registry's system": {other.System("s"), false, false},
	} {
		if tt.set.Has(&a) != tt.a || tt.set.Has(&b) != tt.b {
			t.Errorf("%s: has a %v, b %v", name, tt.set.Has(&a), tt.set.Has(&b))
		}
	}
	// A group that comes again is another.
	if _, err := r.Unbind(&a, "g1"); err != nil || group.Has(&a) {
		t.Errorf("after Unbind: has %v, %v", group.Has(&a), err)
	}
	if _, err := r.Bind(&a, "g1"); err != nil || group.Has(&a) || !r.Group("s", "g1").Has(&a) {
		t.Errorf("bound again: the old set has it: %v, the new one: %v, %v", group.Has(&a), r.Group("s", "g1").Has(&a), err)
	}
	set := r.Group("s", "g1")
	r.Leave(&a)
	if set.Has(&a) || r.All().Has(&a) || r.System("s").Has(&a) {
		t.Error("a set has a member that left")
	}
}

// What there are millions of stays in its size class.
func TestSizes(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("sizes are those of 64 bits")
	}
	if n := unsafe.Sizeof(Member[*int]{}); n > 48 {
		t.Errorf("a member with a pointer takes %d bytes, want at most 48", n)
	}
	if n := unsafe.Sizeof(list[*int]{}); n > 48 {
		t.Errorf("a system or group takes %d bytes, want at most 48", n)
	}
	if n := unsafe.Sizeof(membership[*int]{}); n != 16 {
		t.Errorf("a membership takes %d bytes, want 16", n)
	}
}

func TestPanics(t *testing.T) {
	r := New[int](4)
	for name, f := range map[string]func(){
		"no owners":       func() { New[int](0) },
		"too many owners": func() { New[int](257) },
		"owner of a Join": func() { _ = r.Join(new(Member[int]), 1, 4, "s") },
		"owner of a Walk": func() { r.All().Walk(-1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	if r.Len() != 0 {
		t.Error("a Join that panicked left something behind")
	}
}

// Readers take no lock: they come through while every lock is held.
func TestReadersTakeNoLock(t *testing.T) {
	r := New[int](3)
	members := make([]Member[int], 1000)
	for i := range members {
		if err := r.Join(&members[i], uint64(i), i%3, "s", "g"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range shards {
		r.memberLocks[i].Lock()
		defer r.memberLocks[i].Unlock()
		r.listLocks[i].Lock()
		defer r.listLocks[i].Unlock()
	}
	done := make(chan int)
	go func() {
		n := r.Len() + r.Systems() + r.Groups()
		for _, s := range []Set[int]{r.All(), r.System("s"), r.Group("s", "g")} {
			n += s.Len() + len(ids(s)) + len(walkIDs(t, s, 3, 64))
		}
		for i := range members {
			m := r.Lookup(uint64(i))
			if m.InGroup("g") && m.System() == "s" && len(m.Groups()) == 1 && m.Live() {
				n++
			}
		}
		done <- n
	}()
	select {
	case n := <-done:
		if want := 1002 + 9*1000 + 1000; n != want {
			t.Errorf("read %d, want %d", n, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a reader waits for a lock")
	}
}
