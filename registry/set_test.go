package registry

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Members come in the documented order, and a cursor anywhere leads on to those
// after it, also when its member has left.
func TestMembersOrder(t *testing.T) {
	const owners = 6
	r := New[int](owners)
	members := make([]Member[int], 500)
	for i := range members {
		if err := r.Join(&members[i], uint64(i), i%owners, "s", "g"); err != nil {
			t.Fatal(err)
		}
	}
	byHash := func(i, j uint64) int {
		if mix(i) < mix(j) {
			return -1
		}
		return 1
	}
	byOwner := func(i, j uint64) int {
		if i%owners != j%owners {
			return int(i%owners) - int(j%owners)
		}
		return byHash(i, j)
	}
	for _, tt := range []struct {
		name  string
		set   Set[int]
		order func(i, j uint64) int
	}{
		{"all", r.All(), byHash},
		{"system", r.System("s"), byOwner},
		{"group", r.Group("s", "g"), byOwner},
	} {
		order := ids(tt.set)
		if len(order) != len(members) || !slices.IsSortedFunc(order, tt.order) {
			t.Errorf("%s: %d members, want %d in order", tt.name, len(order), len(members))
		}
		for i, id := range order {
			left := i + 1
			for m := range tt.set.Members(members[id].Cursor()) {
				if left == len(order) || m.ID() != order[left] {
					t.Fatalf("%s: member %d comes at place %d after %d", tt.name, m.ID(), left, id)
				}
				if left++; left > i+40 {
					break
				}
			}
			if left != min(i+41, len(order)) {
				t.Fatalf("%s: the sequence after place %d ends at %d", tt.name, i, left)
			}
		}
	}
	middle := ids(r.System("s"))[250]
	rest := ids(r.System("s"))[251:]
	r.Leave(&members[middle])
	var got []uint64
	for m := range r.System("s").Members(members[middle].Cursor()) {
		got = append(got, m.ID())
	}
	if !slices.Equal(got, rest) {
		t.Errorf("after a member that left come %d members, want %d", len(got), len(rest))
	}
}

// With 256 owners a list loses 8 bits of the hash. Members that differ in no
// others have one key, and are still told apart by pages and by walks.
func TestMembersWithEqualKeys(t *testing.T) {
	r := New[int](256)
	var want []uint64
	for i := range uint64(256) {
		id := unmix(0x1234567890ab<<16 | i)
		if err := r.Join(new(Member[int]), id, 9, "s"); err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	slices.Sort(want)
	set := r.System("s")
	if key := set.l.members.all()[0].key; set.l.members.all()[255].key != key {
		t.Fatal("the keys are not equal")
	}
	for page := 1; page < 300; page += 13 {
		got, _ := paged(t, set, page, nil)
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: got %d members, want %d in order", page, len(got), len(want))
		}
		if got := walkIDs(t, set, 256, page); !slices.Equal(got, want) {
			t.Errorf("walk by %d: got %d members, want %d in order", page, len(got), len(want))
		}
	}
}

// paged reads a set in pages, each after the cursor in text that ended the last,
// and calls between, if not nil, in between. It returns the ids and the pages.
func paged(t *testing.T, s Set[int], size int, between func()) (got []uint64, n int) {
	t.Helper()
	var text string
	for {
		after, err := ParseCursor(text)
		if err != nil {
			t.Fatal(err)
		}
		here := 0
		for m := range s.Members(after) {
			got = append(got, m.ID())
			text = m.Cursor().String()
			if here++; here == size {
				break
			}
		}
		n++
		if here < size {
			return got, n
		}
		if between != nil {
			between()
		}
	}
}

// Paging repeats nobody, and misses nobody who stays while others come and go.
func TestPagingWhileOthersChange(t *testing.T) {
	for _, ids := range idKinds {
		t.Run(ids.name, func(t *testing.T) { pageWhileOthersChange(t, ids.id) })
	}
}

func pageWhileOthersChange(t *testing.T, idOf func(uint64) uint64) {
	const owners, stay = 5, 700
	r := New[int](owners)
	rnd := rand.New(rand.NewPCG(6, 7))
	join := func(id uint64) *Member[int] {
		m := new(Member[int])
		if err := r.Join(m, idOf(id), int(id)%owners, "s", "g"); err != nil {
			t.Fatal(err)
		}
		return m
	}
	for id := range uint64(stay) {
		join(id)
	}
	var others []*Member[int]
	next := uint64(stay)
	up := true
	between := func() {
		for range 400 {
			if up {
				others = append(others, join(next))
				next++
			} else if i := rnd.IntN(len(others)); r.Leave(others[i]) {
				others = slices.Delete(others, i, i+1)
			}
			if len(others) == 0 || len(others) > 5000 {
				up = !up
			}
		}
	}
	for name, set := range map[string]Set[int]{"all": r.All(), "system": r.System("s"), "group": r.Group("s", "g")} {
		got, n := paged(t, set, 50, between)
		if n < stay/50 {
			t.Errorf("%s: %d pages", name, n)
		}
		seen := make(map[uint64]bool)
		for _, id := range got {
			if seen[id] {
				t.Errorf("%s: member %d came twice", name, id)
			}
			seen[id] = true
		}
		for id := range uint64(stay) {
			if !seen[idOf(id)] {
				t.Errorf("%s: member %d, who stayed, did not come", name, id)
			}
		}
	}
}

// A walk sees each member once, by slices of any size, and leaves nothing in what
// it does not fill.
func TestWalkInSlices(t *testing.T) {
	for _, ids := range idKinds {
		const owners, n = 2, 1500
		r := New[int](owners)
		members := make([]Member[int], 2*n)
		var want []uint64
		for i := range members {
			id := ids.id(uint64(i))
			if err := r.Join(&members[i], id, i/3%owners, "s"); err != nil {
				t.Fatal(err)
			}
			if i%2 == 1 {
				members[i].state.Store(gone) // as in the midst of Leave
				continue
			}
			want = append(want, id)
		}
		slices.Sort(want)
		for name, set := range map[string]Set[int]{"all": r.All(), "system": r.System("s")} {
			for _, size := range []int{1, 5, 64, 1000} {
				got := walkIDs(t, set, owners, size)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%s, %s by %d: %d members, want %d, or others", ids.name, name, size, len(got), len(want))
				}
				dst := make([]*Member[int], size)
				w := set.Walk(1)
				if k := w.Next(dst); slices.ContainsFunc(dst[k:], func(m *Member[int]) bool { return m != nil }) {
					t.Errorf("%s, %s by %d: something is left behind the %d members", ids.name, name, size, k)
				}
			}
		}
	}
}

// Members that are joining or have left are in the indexes, but are not seen.
func TestOnlyLiveMembersAreSeen(t *testing.T) {
	r := New[int](1)
	m := new(Member[int])
	if err := r.Join(m, 1, 0, "s", "g"); err != nil {
		t.Fatal(err)
	}
	for _, state := range []uint32{joining, gone, live} {
		m.state.Store(state) // as a reader may find it in the midst of Join and Leave
		want := 0
		if state == live {
			want = 1
		}
		if got := r.Lookup(1); (got != nil) != (want == 1) {
			t.Errorf("state %d: Lookup found %v", state, got)
		}
		for name, s := range map[string]Set[int]{"all": r.All(), "system": r.System("s"), "group": r.Group("s", "g")} {
			if got, walked := len(ids(s)), len(walkIDs(t, s, 1, 8)); got != want || walked != want {
				t.Errorf("state %d: %s has %d members, and %d for a walk; want %d", state, name, got, walked, want)
			}
		}
	}
}

func TestEmptySets(t *testing.T) {
	r := New[int](2)
	m := new(Member[int])
	if err := r.Join(m, 1, 1, "s", "g"); err != nil {
		t.Fatal(err)
	}
	old := r.Group("s", "g")
	r.Leave(m)
	for name, s := range map[string]Set[int]{
		"zero": {}, "all": r.All(), "no system": r.System("x"), "no group": r.Group("s", "x"), "left": old,
	} {
		w := s.Walk(1)
		if n := w.Next(make([]*Member[int], 1)); s.Len() != 0 || n != 0 || ids(s) != nil {
			t.Errorf("%s: set is not empty", name)
		}
	}
	var w Walk[int]
	if n := w.Next(make([]*Member[int], 1)); n != 0 {
		t.Errorf("the zero Walk gives %d members", n)
	}
	// A cursor of an owner that this registry does not have is after all.
	if err := r.Join(new(Member[int]), 2, 1, "s"); err != nil {
		t.Fatal(err)
	}
	for range r.System("s").Members(Cursor{id: 3, owner: 200, valid: true}) {
		t.Error("a member after the last owner")
	}
}

func TestParseCursor(t *testing.T) {
	for _, c := range []Cursor{{}, {0, 0, true}, {1, 255, true}, {math.MaxUint64, 3, true}} {
		if got, err := ParseCursor(c.String()); got != c || err != nil {
			t.Errorf("ParseCursor(%q) = %+v, %v; want %+v", c, got, err, c)
		}
	}
	for _, s := range []string{".", "1", "1.", ".1", "256.1", "-1.1", "1.-1", "01.1", "1.+1", "1.1.1", " 1.1", "1.18446744073709551616"} {
		if c, err := ParseCursor(s); !errors.Is(err, ErrCursor) || c != (Cursor{}) {
			t.Errorf("ParseCursor(%q) = %+v, %v; want ErrCursor", s, c, err)
		}
	}
	if s := fmt.Sprint(Cursor{817263540918272, 3, true}); s != "3.817263540918272" {
		t.Errorf("String() = %q", s)
	}
}
