package registry

import (
	"cmp"
	"iter"
	"slices"
)

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

// Has reports whether m, a member of the set's registry, is in the set: whether a walk
// would find it now. For a group it looks at each of the member's groups in turn.
func (s Set[V]) Has(m *Member[V]) bool {
	switch {
	case s.r == nil || !m.Live():
		return false
	case s.l == nil:
		return true
	case s.l.system == nil:
		return m.system == s.l
	default:
		return m.groups.Load().has(s.l)
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
		p := s.seek(after)
		for !p.end {
			var more bool
			if s.l == nil {
				more = s.yieldIDs(&p, yield)
			} else {
				more = s.yieldLeaf(&p, yield)
			}
			if !more {
				return
			}
		}
	}
}

// yieldLeaf yields the live members of a list at p that are in one leaf, and moves
// p behind them. It reports whether the caller wants more.
func (s Set[V]) yieldLeaf(p *position, yield func(*Member[V]) bool) bool {
	slots, next := s.l.members.from(p.key)
	slots = rest(p, slots)
	*p = position{key: next, end: next == 0}
	for _, x := range slots {
		if x.e.Live() && !yield(x.e) {
			return false
		}
	}
	return true
}

// yieldIDs does for the set of all what yieldLeaf does for a list, page by page of
// the index of ids.
func (s Set[V]) yieldIDs(p *position, yield func(*Member[V]) bool) bool {
	var buf [pageSlots]*Member[V]
	members := buf[:0]
	page, _, next := s.r.ids[shardOf(p.key)].at(p.key)
	for ; page != nil; page = page.next.Load() {
		members = page.appendTo(members)
	}
	slices.SortFunc(members, byHash)
	behind := p.key
	*p = position{key: next, end: next == 0}
	for _, m := range members {
		if mix(m.id) >= behind && m.Live() && !yield(m) {
			return false
		}
	}
	return true
}

// byHash orders members as in the set of all.
func byHash[V any](a, b *Member[V]) int { return cmp.Compare(mix(a.id), mix(b.id)) }

// A position is a place in the order of a set between two members. The zero
// position is before the first.
type position struct {
	key  uint64 // what comes before this key is behind; in the set of all it is the hash
	id   uint64 // if tied: of the members with this key, those up to id are behind
	tied bool   // only in lists, since hashes are all different
	end  bool   // all is behind
}

// seek returns the position after c.
func (s Set[V]) seek(c Cursor) position {
	hash := mix(c.id)
	switch {
	case s.r == nil:
		return position{end: true}
	case !c.valid:
		return position{}
	case s.l == nil:
		return position{key: hash + 1, end: hash+1 == 0}
	case int(c.owner) >= s.r.owners:
		return position{end: true} // owners are the first thing a list is ordered by
	default:
		return position{key: listKey(hash, c.owner, s.r.ownerBits), id: c.id, tied: true}
	}
}

// rest returns the slots of a leaf that begin at the key of p, without those that
// are behind p.
func rest[V any](p *position, slots []slot[Member[V]]) []slot[Member[V]] {
	for p.tied && len(slots) > 0 && slots[0].key == p.key && slots[0].e.id <= p.id {
		slots = slots[1:]
	}
	return slots
}
