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
