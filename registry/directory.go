package registry

import "sync/atomic"

const (
	// maxBits bounds a directory to 2^maxBits entries, 32 KiB: what a writer copies
	// at once, while others wait for its lock, when a table of any size grows.
	maxBits = 12

	// maxDepth bounds how many bits of a key lead to its leaf. Hashed keys reach it
	// at some tens of millions of entries in one table; keys that are alike in this
	// many bits share a leaf, whatever its size.
	maxDepth = 22
)

// A directory leads on to the leaf of a key by the bits of the key from start to
// depth. A leaf whose own depth is smaller stands in 2^(depth - own) adjacent
// entries. When the directory has maxBits, a leaf at its depth that is split gives
// its place to another directory, which starts where this one ends.
type directory[E any] struct {
	// Immutable.
	root  leaf[E] // what leads here points at it; root.dir is this directory
	start uint8   // all keys that lead here are alike in so many bits
	depth uint8   // start+1 to start+maxBits

	// full counts the leaves, and directories in place of one, whose own depth is
	// depth. Guarded by the lock of the table's writers.
	full int

	// entries has 2^(depth - start) elements, none nil once the directory is
	// published. The writer stores, readers load.
	entries []atomic.Pointer[leaf[E]]
}

func newDirectory[E any](start, depth uint8) *directory[E] {
	d := &directory[E]{start: start, depth: depth, entries: make([]atomic.Pointer[leaf[E]], 1<<(depth-start))}
	d.root.depth, d.root.dir = start, d
	return d
}

// at returns the leaf whose range holds key, or what leads on to it.
func (d *directory[E]) at(key uint64) *leaf[E] {
	return d.entries[key<<d.start>>(64-d.depth+d.start)].Load()
}

// put makes l the leaf of its range, the one that holds key, or what leads on to
// it. Until it is done some entries lead to the leaf before: that is no half-done
// change, since any one key has one entry.
func (d *directory[E]) put(key uint64, l *leaf[E]) {
	spare := d.depth - l.depth
	first := key << d.start >> (64 - l.depth + d.start) << spare
	for i := range uint64(1) << spare {
		d.entries[first+i].Store(l)
	}
}

// resized returns a directory of the given depth with what is in d, none of which
// may be deeper. The caller sets full.
func (d *directory[E]) resized(depth uint8) *directory[E] {
	r := newDirectory[E](d.start, depth)
	for i := range r.entries {
		r.entries[i].Store(d.at(uint64(i) << (64 - depth + d.start) >> d.start))
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
