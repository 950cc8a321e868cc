package registry

import "sync/atomic"

// A leaf that is left with fewSlots or less is merged with its neighbour if they
// have mergeSlots or less together. That is half of what splits a leaf, so that a
// member who comes and goes does not split and merge the same one again and
// again. A leaf with more does not look at its neighbour, which would have to be
// fetched from memory.
const (
	mergeSlots = (maxSlots + 1) / 2
	fewSlots   = mergeSlots / 2
)

// A table is a set of entries ordered by a 64-bit key: an extendible hash table
// on the top bits of the key. The zero table is empty and ready to use.
//
//	root ─▶ leaf                            up to 27 entries, no directory
//	root ─▶ branch ─┬─ 00 ─▶ leaf, depth 1
//	                ├─ 01 ─▶ (the same)
//	                ├─ 10 ─▶ leaf, depth 2
//	                └─ 11 ─▶ leaf, depth 2
//
// Leaves are immutable. A writer stores a changed copy in the place of one leaf;
// the caller must hold a lock that keeps other writers of this table out.
// Readers need no lock: what they see of a leaf's range is the range as it was
// at one moment.
//
// Keys need not be unique, and should be evenly spread, as hashes are.
type table[E any] struct {
	root atomic.Pointer[leaf[E]] // nil when the table is empty
}

// A branch is a directory of leaves. A leaf that is split at the depth of a full
// directory gives its place to another branch, which starts where that one ends.
type branch[E any] struct {
	root leaf[E] // what leads here points at it; root.branch is this one
	directory[leaf[E]]
}

func newBranch[E any](d *directory[leaf[E]]) *branch[E] {
	b := &branch[E]{directory: *d}
	b.root.depth, b.root.branch = d.start, b
	return b
}

// leafAt returns the leaf whose range holds key, or nil if the table is empty.
func (t *table[E]) leafAt(key uint64) *leaf[E] {
	l := t.root.Load()
	for l != nil && l.branch != nil {
		l = l.branch.at(key)
	}
	return l
}

// from returns, in key order, the entries at or after key that are in the same
// leaf as key, and the first key beyond that leaf, which is 0 beyond the last.
// A walk calls from again with next. Since that is a key and not a place, leaves
// may be split and merged between the calls: the walk neither repeats an entry nor
// misses one that stayed. The slots are immutable and may be kept.
func (t *table[E]) from(key uint64) (slots []slot[E], next uint64) {
	l := t.leafAt(key)
	if l == nil {
		return nil, 0
	}
	return l.from(key)
}

// ahead puts into dst the leaf of key and those that follow it in the same
// directory, up to the leaf of last and as far as dst has room, and returns how many
// there are. To the caller they are a guess: leaves may be split and merged
// meanwhile, and what is not the first may be a branch.
//
// The leaves are as good as random memory, and to go from one to the next by its
// range waits for each in turn. The entries of a directory are known beforehand, so
// that the processor fetches all their leaves at once.
func (t *table[E]) ahead(key, last uint64, dst []*leaf[E]) int {
	l := t.root.Load()
	var b *branch[E]
	for l != nil && l.branch != nil {
		b = l.branch
		l = b.at(key)
	}
	if l == nil {
		return 0
	}
	dst[0] = l
	n := 1
	if b != nil {
		end := len(b.entries)
		if (key^last)>>(64-b.start) == 0 {
			end = b.index(last) + 1
		}
		for i := b.index(key) + 1; i < end && n < len(dst); i++ {
			if l := b.entries[i].Load(); l != dst[n-1] {
				dst[n] = l
				n++
			}
		}
	}
	return n
}

// has reports whether e, whose key is key, is in the table.
func (t *table[E]) has(key uint64, e *E) bool {
	l := t.leafAt(key)
	return l != nil && l.index(key, e) >= 0
}

// empty reports whether the table has no entries.
func (t *table[E]) empty() bool { return t.root.Load() == nil }

// insert adds e, which must not be in the table. Among entries with the same key
// it comes after those that are less; less may be nil if their order is of no
// interest.
func (t *table[E]) insert(key uint64, e *E, less func(a, b *E) bool) {
	x := slot[E]{key, e}
	l := t.leafAt(key)
	if l == nil {
		l, s := newLeaf[E](0, 1)
		s[0] = x
		t.root.Store(l)
		return
	}
	i := l.search(key)
	for less != nil && i < int(l.count) && l.at(i).key == key && less(l.at(i).e, e) {
		i++
	}
	l = l.with(i, x)
	for l.count > maxSlots && l.alike() < maxDepth {
		l = t.split(key, l)
	}
	t.put(key, l)
}

// remove takes e, whose key is key, out of the table, and reports whether it was
// there.
func (t *table[E]) remove(key uint64, e *E) bool {
	l := t.leafAt(key)
	if l == nil {
		return false
	}
	i := l.index(key, e)
	if i < 0 {
		return false
	}
	l = t.merge(key, l.without(i))
	d := t.above(key, l.depth)
	t.put(key, l)
	if d != nil && d.full == 0 {
		depth, leaves := d.deepest(func(l *leaf[E]) uint8 { return l.depth })
		d = newBranch(d.resized(depth))
		d.full = leaves
		t.put(key, &d.root)
	}
	return true
}

// above returns the branch with the entries for what has the given depth and
// holds key in its range, or nil if that is the root.
func (t *table[E]) above(key uint64, depth uint8) *branch[E] {
	var above *branch[E]
	for b := t.root.Load().branch; b != nil && b.start < depth; b = b.at(key).branch {
		above = b
	}
	return above
}

// put makes l the leaf of its range, the one that holds key, or what leads on to
// it.
func (t *table[E]) put(key uint64, l *leaf[E]) {
	switch d := t.above(key, l.depth); {
	case d != nil:
		d.put(key, l.depth, l)
	case l.count > 0 || l.branch != nil:
		t.root.Store(l)
	default:
		t.root.Store(nil)
	}
}

// split cuts l, which is too big, in two. It publishes the half that does not
// hold key in its range, and returns the other half for the caller to publish or
// to split again: it is too big as well if the keys of l are alike in a bit more.
func (t *table[E]) split(key uint64, l *leaf[E]) *leaf[E] {
	depth := l.depth + 1
	d := t.above(key, depth)
	switch {
	case d == nil || l.depth == d.start+maxBits:
		d = newBranch(newDirectory[leaf[E]](l.depth, depth))
		d.put(key, l.depth, l)
		t.put(key, &d.root)
	case l.depth == d.depth:
		d = newBranch(d.resized(depth))
		t.put(key, &d.root)
	}
	if depth == d.depth {
		d.full += 2
	}
	bit := uint64(1) << (64 - depth)
	s, half := l.slots(), l.search(key&-bit|bit)
	low, high := leafOf(depth, s[:half], nil), leafOf(depth, s[half:], nil)
	if key&bit != 0 {
		low, high = high, low
	}
	d.put(key^bit, depth, high)
	return low
}

// merge returns l, the leaf that holds key in its range, merged with its
// neighbours for as long as they fit together well. The caller publishes it.
func (t *table[E]) merge(key uint64, l *leaf[E]) *leaf[E] {
	for l.depth > 0 && l.count <= fewSlots {
		bit := uint64(1) << (64 - l.depth)
		d := t.above(key, l.depth)
		buddy := d.at(key ^ bit)
		if buddy.branch != nil || buddy.depth != l.depth || buddy.count+l.count > mergeSlots {
			break
		}
		if l.depth == d.depth {
			d.full -= 2
		}
		low, high := l, buddy
		if key&bit != 0 {
			low, high = buddy, l
		}
		l = leafOf(l.depth-1, low.slots(), high.slots())
	}
	return l
}
