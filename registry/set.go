package registry

import "iter"

// A Set is the members of a registry, of a system or of a group: a live view,
// not a copy, and small enough to pass by value. The zero Set is empty.
//
// The order of a set of all members is that of their hashed ids; the order of a
// system or a group is by owner, then by hashed id. It is fixed: members come and
// go, but no two ever change places.
//
// A system or group that lost its last member is gone, and one of the same name
// that appears later is another: its members are not in a Set taken before. Take
// a Set when it is needed, and do not store it.
type Set[V any] struct {
	r *Registry[V] // nil in the zero Set
	l *list[V]     // nil in the set of all members
}

// Len returns how many live members the set has. It takes constant time, and
// may be off by the calls to Join, Leave, Bind and Unbind that are under way.
func (s Set[V]) Len() int {
	switch {
	case s.r == nil:
		return 0
	case s.l == nil:
		return int(s.r.live.Load())
	default:
		return int(s.l.live.Load())
	}
}

// Members returns the live members of the set in its order, from the one after
// the cursor on; the zero Cursor stands before the first. To get there takes
// constant time, wherever it is.
//
// A member that is in the set all the time is seen exactly once; one that comes
// or goes meanwhile may be seen, but not twice. Members that are seen may have
// left the next moment.
func (s Set[V]) Members(after Cursor) iter.Seq[*Member[V]] {
	return func(yield func(*Member[V]) bool) {
		for p := s.seek(after); !p.end; {
			var slots []slot[Member[V]]
			slots, p = s.chunk(p)
			for _, x := range slots {
				if x.e.Live() && !yield(x.e) {
					return
				}
			}
		}
	}
}

// A position is a place in the order of a set between two members. The zero
// position is before the first.
type position struct {
	shard int    // table of ids; 0 in a list
	key   uint64 // what comes before this key is behind
	id    uint64 // if tied: of the members with this key, those up to id are behind
	tied  bool
	end   bool // all is behind
}

// seek returns the position after c.
func (s Set[V]) seek(c Cursor) position {
	p := position{id: c.id, tied: true}
	hash := mix(c.id)
	switch {
	case s.r == nil:
		return position{end: true}
	case !c.valid:
		return position{}
	case s.l == nil:
		p.shard, p.key = shardOf(hash), idKey(hash, c.owner)
	case int(c.owner) >= s.r.owners:
		return position{end: true} // owners are the first thing a list is ordered by
	default:
		p.key = listKey(hash, c.owner, s.r.ownerBits)
	}
	return p
}

// chunk returns members at p, all of them in one leaf and some perhaps not live,
// and the position after them. It may return none before the end.
func (s Set[V]) chunk(p position) ([]slot[Member[V]], position) {
	t := &s.r.ids[p.shard]
	if s.l != nil {
		t = &s.l.members
	}
	slots, next := t.from(p.key)
	if p.tied {
		for len(slots) > 0 && slots[0].key == p.key && slots[0].e.id <= p.id {
			slots = slots[1:]
		}
	}
	p = position{shard: p.shard, key: next}
	if next == 0 {
		p.shard++
		p.end = s.l != nil || p.shard == shards
	}
	return slots, p
}

// Walk returns a walk over the members of the set that have the given owner, for
// the fan-out worker of that owner. In a system or a group it looks at no other
// members; in the set of all it passes over their index entries. It panics if
// owner is not in the registry's range.
func (s Set[V]) Walk(owner int) Walk[V] {
	if s.r == nil {
		return Walk[V]{at: position{end: true}}
	}
	part := s.r.owner(owner)
	w := Walk[V]{set: s, last: ^uint64(0)}
	if s.l == nil {
		w.mask, w.part = ownerMask, uint64(part)
	} else {
		w.at.key, w.last = ownerRange(part, s.r.ownerBits)
	}
	return w
}

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

// Next fills dst with the next live members and returns how many there are: 0
// when the walk is done, unless dst is empty. It does not allocate. What
// [Set.Members] promises of the members seen holds for all calls to Next
// together.
func (w *Walk[V]) Next(dst []*Member[V]) int {
	if w.set.r == nil {
		return 0
	}
	if len(dst) == 0 || w.at.end {
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
