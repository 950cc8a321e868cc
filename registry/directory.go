package registry

import "sync/atomic"

// maxDepth bounds a directory to 2^maxDepth pointers, 32 MiB. Hashed keys reach
// it at some tens of millions of entries in one table; keys that are alike in
// this many bits share a leaf, whatever its size.
const maxDepth = 22

// A directory leads from the top depth bits of a key to its leaf. A leaf whose
// own depth is smaller stands in 2^(depth - own) adjacent entries.
type directory[E any] struct {
	// Immutable.
	root  leaf[E] // what table.root points at; root.dir is this directory
	depth uint8   // 1 to maxDepth

	// full counts the leaves whose own depth is depth. Guarded by the lock of
	// the table's writers.
	full int

	// entries has 2^depth elements, none nil once the directory is published.
	// The writer stores, readers load.
	entries []atomic.Pointer[leaf[E]]
}

func newDirectory[E any](depth uint8) *directory[E] {
	d := &directory[E]{depth: depth, entries: make([]atomic.Pointer[leaf[E]], 1<<depth)}
	d.root.dir = d
	return d
}

// at returns the leaf whose range holds key.
func (d *directory[E]) at(key uint64) *leaf[E] {
	return d.entries[key>>(64-d.depth)].Load()
}

// put makes l the leaf of its range, the one that holds key. Until it is done
// some entries lead to the leaf before: that is no half-done change, since any
// one key has one entry.
func (d *directory[E]) put(key uint64, l *leaf[E]) {
	spare := d.depth - l.depth
	first := key >> (64 - l.depth) << spare
	for i := range uint64(1) << spare {
		d.entries[first+i].Store(l)
	}
}

// resized returns a directory of the given depth with the leaves of d, none of
// which may be deeper. The caller sets full: to look at every leaf here would
// take several times as long, and writers wait.
func (d *directory[E]) resized(depth uint8) *directory[E] {
	r := newDirectory[E](depth)
	for i := range r.entries {
		r.entries[i].Store(d.at(uint64(i) << (64 - depth)))
	}
	return r
}

// deepest returns the largest depth of any leaf in d, and how many leaves have it.
func (d *directory[E]) deepest() (depth uint8, leaves int) {
	for i := 0; i < len(d.entries); {
		l := d.entries[i].Load()
		switch {
		case l.depth > depth:
			depth, leaves = l.depth, 1
		case l.depth == depth:
			leaves++
		}
		i += 1 << (d.depth - l.depth)
	}
	return depth, leaves
}
