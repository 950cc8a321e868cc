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

// A directory leads on to what is at a key, a node, by the bits of the key from
// start to depth. Nodes have a depth of their own, the bits that all keys of their
// range have in common: one whose depth is smaller stands in 2^(depth - own)
// adjacent entries.
type directory[N any] struct {
	// Immutable.
	start uint8 // all keys that lead here are alike in so many bits
	depth uint8 // at most start+maxBits

	// full counts the nodes whose own depth is depth. Guarded by the lock of the
	// table's writers.
	full int

	// entries has 2^(depth - start) elements, none nil once the directory is
	// published. The writer stores, readers load.
	entries []atomic.Pointer[N]
}

func newDirectory[N any](start, depth uint8) *directory[N] {
	return &directory[N]{start: start, depth: depth, entries: make([]atomic.Pointer[N], 1<<(depth-start))}
}

// index returns which entry is that of key.
func (d *directory[N]) index(key uint64) int {
	return int(key << d.start >> (64 - d.depth + d.start))
}

// at returns the node whose range holds key.
func (d *directory[N]) at(key uint64) *N { return d.entries[d.index(key)].Load() }

// put makes n, of the given depth, the node of its range, the one that holds key.
// Until it is done some entries lead to the node before: that is no half-done
// change, since any one key has one entry.
func (d *directory[N]) put(key uint64, depth uint8, n *N) {
	spare := d.depth - depth
	first := d.index(key) >> spare << spare
	for i := range 1 << spare {
		d.entries[first+i].Store(n)
	}
}

// resized returns a directory of the given depth with the nodes of d, none of
// which may be deeper. The caller sets full.
func (d *directory[N]) resized(depth uint8) *directory[N] {
	r := newDirectory[N](d.start, depth)
	for i := range r.entries {
		r.entries[i].Store(d.at(uint64(i) << (64 - depth + d.start) >> d.start))
	}
	return r
}

// deepest returns the largest depth of any node in d, and how many nodes have it.
func (d *directory[N]) deepest(depthOf func(*N) uint8) (depth uint8, nodes int) {
	for i := 0; i < len(d.entries); {
		own := depthOf(d.entries[i].Load())
		switch {
		case own > depth || nodes == 0:
			depth, nodes = own, 1
		case own == depth:
			nodes++
		}
		i += 1 << (d.depth - own)
	}
	return depth, nodes
}
