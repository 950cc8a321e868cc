package registry

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// An item is an entry of the tables under test.
type item struct{ id uint64 }

func lessItem(a, b *item) bool { return a.id < b.id }

// check returns what is wrong with the structure of t, if anything is.
func (t *table[E]) check() error {
	root := t.root.Load()
	if root == nil {
		return nil
	}
	if root.branch != nil {
		return root.branch.check(0, 0)
	}
	if root.count == 0 {
		return fmt.Errorf("the only leaf is empty")
	}
	return root.check(0, 0)
}

// check returns what is wrong with b as the branch of the range that begins at
// key.
func (b *branch[E]) check(key uint64, start uint8) error {
	if b.start != start || b.depth == start {
		return fmt.Errorf("branch at depth %d starts at %d and ends at %d", start, b.start, b.depth)
	}
	if r := &b.root; r.branch != b || r.depth != start || r.count != 0 {
		return fmt.Errorf("branch at depth %d has the root %+v", start, r)
	}
	depthOf := func(l *leaf[E]) uint8 { return l.depth }
	return b.directory.check(key, depthOf, func(key uint64, l *leaf[E]) error {
		if l.branch != nil {
			if l.depth != start+maxBits {
				return fmt.Errorf("a branch at depth %d in one that starts at %d", l.depth, start)
			}
			return l.branch.check(key, l.depth)
		}
		if l.depth == start {
			return fmt.Errorf("a leaf of depth %d in a branch that starts there", start)
		}
		if err := l.check(key, l.depth); err != nil {
			return err
		}
		buddy := b.at(key ^ 1<<(64-l.depth))
		if buddy.branch == nil && buddy.depth == l.depth && max(l.count, buddy.count) <= fewSlots {
			return fmt.Errorf("buddies of depth %d with %d and %d slots were not merged", l.depth, l.count, buddy.count)
		}
		return nil
	})
}

// check returns what is wrong with d as the directory of the range that begins at
// key, or what node says of one of its nodes and the first key of it.
func (d *directory[N]) check(key uint64, depthOf func(*N) uint8, node func(key uint64, n *N) error) error {
	if bits := d.depth - d.start; bits > maxBits || len(d.entries) != 1<<bits {
		return fmt.Errorf("directory from %d to %d with %d entries", d.start, d.depth, len(d.entries))
	}
	full := 0
	for i := 0; i < len(d.entries); {
		n := d.entries[i].Load()
		depth := depthOf(n)
		if depth < d.start || depth > d.depth {
			return fmt.Errorf("depth %d in a directory from %d to %d", depth, d.start, d.depth)
		}
		span := 1 << (d.depth - depth)
		for j := i; j < i+span; j++ {
			if d.entries[j].Load() != n {
				return fmt.Errorf("entry %d differs from %d: the node has depth %d of %d", j, i, depth, d.depth)
			}
		}
		if depth == d.depth {
			full++
		}
		if err := node(key|uint64(i)<<(64-d.depth), n); err != nil {
			return err
		}
		i += span
	}
	if full != d.full || full == 0 {
		return fmt.Errorf("%d full nodes, counted as %d", full, d.full)
	}
	return nil
}

// check returns what is wrong with l as the leaf of the range that begins at key.
func (l *leaf[E]) check(key uint64, depth uint8) error {
	s := l.slots()
	if l.branch != nil || l.depth != depth || len(s) != int(l.count) {
		return fmt.Errorf("leaf %+v at depth %d has %d slots", l, depth, len(s))
	}
	for i, x := range s {
		if (x.key^key)>>(64-depth) != 0 {
			return fmt.Errorf("key %x in the leaf of %x, depth %d", x.key, key, depth)
		}
		if i > 0 && s[i-1].key > x.key {
			return fmt.Errorf("key %x after %x", x.key, s[i-1].key)
		}
	}
	if len(s) > maxSlots && bits.LeadingZeros64(s[0].key^s[len(s)-1].key) < maxDepth {
		return fmt.Errorf("leaf of %d slots could be split", len(s))
	}
	return nil
}

// all returns the slots of t in the order of a walk.
func (t *table[E]) all() []slot[E] {
	var all []slot[E]
	for key := uint64(0); ; {
		slots, next := t.from(key)
		all = append(all, slots...)
		if next == 0 {
			return all
		}
		key = next
	}
}

// depth returns the depth of the directories of t on the way to key 0, 0 if there
// is none.
func (t *table[E]) depth() (depth uint8) {
	for l := t.root.Load(); l != nil && l.branch != nil; l = l.branch.at(0) {
		depth = l.branch.depth
	}
	return depth
}

// A tableModel does to a sorted slice what is done to a table.
type tableModel struct {
	table  table[item]
	sorted []slot[item]
	next   uint64
	// held are leaves as a reader may hold them, with their slots at the time.
	held map[*leaf[item]][]slot[item]
}

func compareSlots(a, b slot[item]) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.e.id, b.e.id))
}

func (m *tableModel) insert(key uint64) {
	m.next++
	x := slot[item]{key, &item{id: bits.Reverse64(m.next)}} // ids come in no order
	i, _ := slices.BinarySearchFunc(m.sorted, x, compareSlots)
	m.sorted = slices.Insert(m.sorted, i, x)
	m.hold(key)
	m.table.insert(key, x.e, lessItem)
}

func (m *tableModel) remove(i int) bool {
	x := m.sorted[i]
	m.sorted = slices.Delete(m.sorted, i, i+1)
	m.hold(x.key)
	return m.table.remove(x.key, x.e) && !m.table.remove(x.key, x.e) && !m.table.has(x.key, x.e)
}

func (m *tableModel) hold(key uint64) {
	if l := m.table.leafAt(key); l != nil && m.next%8 == 0 {
		if m.held == nil {
			m.held = make(map[*leaf[item]][]slot[item])
		}
		m.held[l] = slices.Clone(l.slots())
	}
}

func (m *tableModel) check() error {
	if got := m.table.all(); !slices.Equal(got, m.sorted) {
		return fmt.Errorf("walk has %d slots, want %d, or others", len(got), len(m.sorted))
	}
	return m.table.check()
}

func (m *tableModel) checkHeld() error {
	for l, want := range m.held {
		if !slices.Equal(l.slots(), want) {
			return fmt.Errorf("a leaf of %d slots changed after it was published", len(want))
		}
	}
	return nil
}

func TestTableAgainstModel(t *testing.T) {
	tests := []struct {
		name string
		size int
		key  func(*rand.Rand) uint64
	}{
		{"even", 5000, (*rand.Rand).Uint64},
		{"one key", 200, func(*rand.Rand) uint64 { return 42 }},
		{"ends", 200, func(r *rand.Rand) uint64 { return -r.Uint64N(2) }}, // 0 and MaxUint64
		{"few keys", 1000, func(r *rand.Rand) uint64 { return mix(r.Uint64N(20)) }},
		{"6 owners in 3 bits", 3000, func(r *rand.Rand) uint64 { return listKey(r.Uint64(), uint8(r.IntN(6)), 3) }},
		{"1 owner of 256", 1000, func(r *rand.Rand) uint64 { return listKey(r.Uint64(), 77, 8) }},
		{"alike in maxBits bits", 3000, func(r *rand.Rand) uint64 { return r.Uint64() >> maxBits }},
		{"full directories", 3000, func(r *rand.Rand) uint64 { return mix(r.Uint64N(8))>>52<<52 | r.Uint64()>>maxBits }},
		{"alike in maxDepth bits", 300, func(r *rand.Rand) uint64 { return r.Uint64() >> maxDepth }},
		{"clusters", 600, func(r *rand.Rand) uint64 { return mix(r.Uint64N(3))&^0xffff<<8 | r.Uint64()>>48 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var m tableModel
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("with %d entries: %v", len(m.sorted), err)
				}
			}
			// Up and down twice, with changes in both directions all along.
			for _, goal := range []int{tt.size, tt.size / 10, tt.size / 2, 0} {
				for step := 0; len(m.sorted) != goal; step++ {
					up := len(m.sorted) < goal
					if r.IntN(4) == 0 && len(m.sorted) > 0 {
						up = !up
					}
					if up {
						m.insert(tt.key(r))
					} else if !m.remove(r.IntN(len(m.sorted))) {
						t.Fatal("remove did not find an entry, or not only once")
					}
					if step%257 == 0 {
						must(m.check())
					}
				}
				must(m.check())
			}
			if !m.table.empty() {
				t.Error("the emptied table has a root")
			}
			must(m.checkHeld())
		})
	}
}

// The directory follows the number of entries up and down.
func TestTableDepth(t *testing.T) {
	const n = 1 << 15
	var tab table[item]
	items := make([]item, n)
	for i := range items {
		items[i].id = uint64(i)
		tab.insert(mix(uint64(i)), &items[i], nil)
		if i == maxSlots-1 && tab.depth() != 0 {
			t.Errorf("depth %d with %d entries, want no directory", tab.depth(), i+1)
		}
	}
	if d := tab.depth(); d < 10 || d > 13 {
		t.Errorf("depth %d with %d entries, want 10 to 13", d, n)
	}
	for i := range items {
		if !tab.remove(mix(uint64(i)), &items[i]) {
			t.Fatalf("item %d not found", i)
		}
		switch left := n - 1 - i; {
		case left == n/16 && tab.depth() > 10:
			t.Errorf("depth %d with %d entries left", tab.depth(), left)
		case left == mergeSlots/2 && tab.depth() != 0:
			t.Errorf("depth %d with %d entries left", tab.depth(), left)
		}
	}
	if !tab.empty() {
		t.Error("the emptied table has a root")
	}
}

// Entries with the same key stay in one leaf, in the order of their ids, and
// make room for another key without a deep directory.
func TestTableEqualKeys(t *testing.T) {
	var m tableModel
	for range 3 * maxSlots {
		m.insert(5)
	}
	if l := m.table.root.Load(); l.branch != nil || l.count != 3*maxSlots {
		t.Errorf("root is %+v, want one leaf", l)
	}
	m.insert(math.MaxUint64)
	if d := m.table.depth(); d != 1 {
		t.Errorf("depth %d, want 1", d)
	}
	if err := m.check(); err != nil {
		t.Error(err)
	}
}

// has tells the leaf of a key from others.
func TestLeafHas(t *testing.T) {
	l, s := newLeaf[item](2, 1)
	s[0].key = 0b01 << 62
	empty, _ := newLeaf[item](2, 0)
	only, s := newLeaf[item](0, 1)
	s[0].key = 7
	for _, tt := range []struct {
		name string
		l    *leaf[item]
		key  uint64
		want bool
	}{
		{"first of its range", l, 0b01 << 62, true},
		{"last of its range", l, 0b10<<62 - 1, true},
		{"before", l, 0b01<<62 - 1, false},
		{"behind", l, 0b10 << 62, false},
		{"the only leaf", only, math.MaxUint64, true},
		{"empty", empty, 0b01 << 62, false},
		{"branch", &newBranch(newDirectory[leaf[item]](2, 3)).root, 0b01 << 62, false},
	} {
		if got := tt.l.has(tt.key); got != tt.want {
			t.Errorf("%s: has(%x) = %v", tt.name, tt.key, got)
		}
	}
}

// A member who comes and goes at the edge of a split does not split and merge
// the leaf each time.
func TestTableHysteresis(t *testing.T) {
	var tab table[item]
	items := make([]item, maxSlots+1)
	for i := range items {
		tab.insert(mix(uint64(i)), &items[i], nil)
	}
	last := len(items) - 1
	tab.remove(mix(uint64(last)), &items[last])
	if tab.depth() == 0 {
		t.Error("one removal undid the split")
	}
}

// mix is a bijection: unmix, which undoes each of its steps, gives the id back.
func TestMix(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, id := range []uint64{0, 1, math.MaxUint64, r.Uint64(), r.Uint64()} {
		if got := unmix(mix(id)); got != id {
			t.Errorf("unmix(mix(%d)) = %d", id, got)
		}
	}
}

func unmix(hash uint64) uint64 {
	const odd = 0xd6e8feb86659fd93
	inverse := uint64(odd)
	for range 6 { // each step of Newton's doubles the bits that are right
		inverse *= 2 - odd*inverse
	}
	hash ^= hash >> 32
	hash *= inverse
	hash ^= hash >> 32
	hash *= inverse
	return hash ^ hash>>32
}

// FuzzTable does what the bytes say to a table and its model. The first byte
// says how many bits the keys have in common.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4})
	f.Add(append([]byte{9}, make([]byte, 100)...))
	rising := make([]byte, 200)
	for i := range rising {
		rising[i] = byte(i)
	}
	f.Add(rising)
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) == 0 || len(ops) > 1<<10 {
			return
		}
		var m tableModel
		alike := ops[0] % 10 // more would spend the time in big directories
		for i, op := range ops[1:] {
			if op < 0xa0 || len(m.sorted) == 0 {
				m.insert(mix(uint64(op)) >> alike)
			} else if !m.remove(i * int(op) % len(m.sorted)) {
				t.Fatalf("step %d: remove did not find an entry, or not only once", i)
			}
			if err := m.table.check(); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
		}
		if err := cmp.Or(m.check(), m.checkHeld()); err != nil {
			t.Fatal(err)
		}
	})
}
