package registry

import "math"

// A Walk goes through one owner's members of a [Set], a slice at a time, so that
// a worker can take slices of several walks in turn. It belongs to one goroutine
// at a time and holds no lock or old state between calls. The zero Walk is done.
type Walk[V any] struct {
	set  Set[V]
	at   position
	last uint64 // the last key there can be

	// Only keys that are part under mask are of this owner.
	mask, part uint64
}

// Walk returns a walk over the members of the set that have the given owner, for
// the fan-out worker of that owner. In a system or a group it looks at no other
// members; in the set of all it passes over their index entries. It panics if
// owner is not in the registry's range.
func (s Set[V]) Walk(owner int) Walk[V] {
	if s.r == nil {
		return Walk[V]{}
	}
	part := s.r.owner(owner)
	w := Walk[V]{set: s, last: math.MaxUint64}
	if s.l == nil {
		w.mask, w.part = ownerMask, uint64(part)
	} else {
		w.at.key, w.last = ownerRange(part, s.r.ownerBits)
	}
	return w
}

// Next fills dst with the next live members and returns how many there are: less
// than len(dst) when the walk is done. It does not allocate. What
// [Set.Members] promises of the members seen holds for all calls to Next
// together.
func (w *Walk[V]) Next(dst []*Member[V]) int {
	if len(dst) == 0 || w.at.end || w.set.r == nil {
		return 0
	}
	n := 0
	slots, next := w.chunk(w.at)
	for {
		// The next chunk is looked up before this one is gone through, to be on
		// its way from memory meanwhile.
		var ahead []slot[Member[V]]
		beyond := next
		if !next.end {
			ahead, beyond = w.chunk(next)
		}
		for i, x := range slots {
			if n == len(dst) {
				behind := slots[i-1]
				w.at = position{shard: w.at.shard, key: behind.key, id: behind.e.id, tied: true}
				return n
			}
			if x.key&w.mask == w.part && x.e.Live() {
				dst[n] = x.e
				n++
			}
		}
		w.at = next
		if next.end || n == len(dst) {
			return n
		}
		slots, next = ahead, beyond
	}
}

// chunk is the chunk of the set at p, without what is after the last key of the
// walk's owner.
func (w *Walk[V]) chunk(p position) ([]slot[Member[V]], position) {
	slots, next := w.set.chunk(p)
	for len(slots) > 0 && slots[len(slots)-1].key > w.last {
		slots = slots[:len(slots)-1]
	}
	if next.key > w.last {
		next.end = true
	}
	return slots, next
}
