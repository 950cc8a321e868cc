package registry

import "slices"

// A Walk goes through one owner's members of a [Set], a slice at a time, so that
// a worker can take slices of several walks in turn. It belongs to one goroutine
// at a time and holds no lock or old state between calls. The zero Walk is done.
type Walk[V any] struct {
	set   Set[V]
	owner uint8
	at    position
	last  uint64 // of a list: the last key there can be

	touched uint32 // see nextLeaves
}

// Walk returns a walk over the members of the set that have the given owner, for
// the fan-out worker of that owner. In a system or a group it looks at no other
// members; in the set of all it passes over them. It panics if owner is not in the
// registry's range.
func (s Set[V]) Walk(owner int) Walk[V] {
	if s.r == nil {
		return Walk[V]{}
	}
	w := Walk[V]{set: s, owner: s.r.owner(owner)}
	if s.l != nil {
		w.at.key, w.last = ownerRange(w.owner, s.r.ownerBits)
	}
	return w
}

// Done reports whether all has been walked over: Next has nothing more to give.
func (w *Walk[V]) Done() bool { return w.at.end || w.set.r == nil }

// Next puts the next live members into dst, which must not be empty, and returns
// how many there are, which is 0 when the walk is done. What [Set.Members] promises
// of the members seen holds for all calls to Next together, but for the order: in
// the set of all they come in none.
func (w *Walk[V]) Next(dst []*Member[V]) int {
	n := 0
	for n < len(dst) && !w.Done() {
		if w.set.l == nil {
			found, fits := w.nextIDs(dst[n:], n == 0)
			if n += found; !fits {
				break
			}
			continue
		}
		// First the members, then what they hold: each loop is short, so that the
		// processor has many fetches from memory under way.
		end := n + w.nextLeaves(dst[n:])
		for _, m := range dst[n:end] {
			if m.Live() {
				dst[n] = m
				n++
			}
		}
		clear(dst[n:end]) // or the caller would keep those that left in memory
	}
	return n
}

// leavesAhead is how many leaves of a list are fetched from memory at a time, at
// most; leafMembers is about how many members each has.
const (
	leavesAhead = 8
	leafMembers = maxSlots * 2 / 3
)

// nextLeaves fills dst with the next members of a list, live or not, and returns
// how many there are. There may be more although dst is not full.
func (w *Walk[V]) nextLeaves(dst []*Member[V]) int {
	var leaves [leavesAhead]*leaf[Member[V]]
	found := w.set.l.members.ahead(w.at.key, w.last, leaves[:min(leavesAhead, 1+len(dst)/leafMembers)])
	if found == 0 {
		w.at.end = true
		return 0
	}
	// This loop has them all fetched at once, where the next one would wait for each
	// in turn. What it adds up is kept, or the compiler would leave it out.
	for _, l := range leaves[:found] {
		w.touched += l.count
	}
	n := 0
	for i, l := range leaves[:found] {
		if i > 0 && !l.has(w.at.key) {
			break // it is no longer what comes next: look again
		}
		slots, next := l.from(w.at.key)
		slots = rest(&w.at, slots)
		if next == 0 || next > w.last {
			for len(slots) > 0 && slots[len(slots)-1].key > w.last {
				slots = slots[:len(slots)-1]
			}
		}
		room := dst[n:]
		for j := range min(len(slots), len(room)) {
			room[j] = slots[j].e
		}
		n += min(len(slots), len(room))
		if len(slots) > len(room) {
			behind := slots[len(room)-1]
			w.at = position{key: behind.key, id: behind.e.id, tied: true}
			break
		}
		w.at = position{key: next, end: next == 0 || next > w.last}
		if w.at.end || n == len(dst) {
			break
		}
	}
	return n
}

// nextIDs puts the live members of the page where the walk is into dst, and returns
// how many there are. If they do not fit, it puts in only what fits if it must, and
// nothing otherwise: to go on within a page they have to be sorted.
func (w *Walk[V]) nextIDs(dst []*Member[V], must bool) (found int, fits bool) {
	var buf [pageSlots]*Member[V]
	at := w.at.key
	members := buf[:0]
	p, first, next := w.set.r.ids[shardOf(at)].at(at)
	for ; p != nil; p = p.next.Load() {
		members = p.appendOwned(members, w.owner)
	}
	if at != first {
		members = slices.DeleteFunc(members, func(m *Member[V]) bool { return mix(m.id) < at })
	}
	n := 0
	for _, m := range members {
		if m.Live() && m.owner == w.owner {
			members[n] = m
			n++
		}
	}
	members, fits = members[:n], n <= len(dst)
	switch {
	case !fits && !must:
		return 0, false
	case !fits:
		slices.SortFunc(members, byHash)
		next = mix(members[len(dst)].id)
	}
	w.at = position{key: next, end: next == 0}
	return copy(dst, members), fits
}
