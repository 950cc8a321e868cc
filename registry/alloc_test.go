//go:build !race

package registry

import "testing"

// Readers do not allocate. (Under the race detector anything may.)
func TestReadersDoNotAllocate(t *testing.T) {
	const n, owners = 5000, 4
	r := New[int](owners)
	for id := range uint64(n) {
		if err := r.Join(new(Member[int]), id, int(id)%owners, "system", "group"); err != nil {
			t.Fatal(err)
		}
	}
	dst := make([]*Member[int], 64)
	walk := func(s Set[int]) (found int) {
		for owner := range owners {
			w := s.Walk(owner)
			for k := w.Next(dst); k > 0; k = w.Next(dst) {
				found += k
			}
		}
		return found
	}
	for _, tt := range []struct {
		name string
		read func() int // returns n
	}{
		{"Lookup", func() int { return int(r.Lookup(n-1).ID()) + 1 }},
		{"Walk of all", func() int { return walk(r.All()) }},
		{"Walk of a system", func() int { return walk(r.System("system")) }},
		{"Walk of a group", func() int { return walk(r.Group("system", "group")) }},
		{"Members", func() (found int) {
			for m := range r.Group("system", "group").Members(Cursor{}) {
				if m.InGroup("group") {
					found++
				}
			}
			return found
		}},
	} {
		var got int
		if allocs := testing.AllocsPerRun(20, func() { got = tt.read() }); allocs != 0 || got != n {
			t.Errorf("%s: %v allocations, want 0; read %d, want %d", tt.name, allocs, got, n)
		}
	}
}
