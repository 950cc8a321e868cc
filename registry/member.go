package registry

import "sync/atomic"

// A Member is one client's place in a [Registry]. The caller embeds it in its
// own record, or points at it from there; the zero Member is ready for Join. A
// member is joined once, is not copied, and stays valid after it has left.
//
// Its methods may be called from any goroutine.
type Member[V any] struct {
	// Value leads back to the caller's record. The caller sets it before Join
	// and leaves it alone from then on.
	Value V

	// What a walk looks at comes first, to be in one cache line with Value.
	// Guarded for writing by the member lock for the id, but for unused ─▶ claimed.
	state atomic.Uint32

	// Written while the state is claimed or joining, immutable after that.
	owner  uint8
	id     uint64
	system *list[V]

	// Guarded for writing by the member lock for the id; it stays as it is when the
	// member leaves.
	groups atomic.Pointer[membership[V]]
}

// The states of a member, which come in this order. In unused and claimed the
// fields of the member are not to be read; in joining its id and owner are valid;
// from live on, all are.
const (
	unused uint32 = iota
	claimed
	joining
	live
	gone
)

// ID returns the id the member joined with. It is 0 before Join.
func (m *Member[V]) ID() uint64 {
	if m.state.Load() < joining {
		return 0
	}
	return m.id
}

// Owner returns the fan-out partition the member joined with. It is 0 before
// Join.
func (m *Member[V]) Owner() int {
	if m.state.Load() < joining {
		return 0
	}
	return int(m.owner)
}

// System returns the name of the member's system. It is empty before Join, and
// stays after Leave.
func (m *Member[V]) System() string {
	if m.state.Load() < live {
		return ""
	}
	return m.system.name
}

// Groups returns the names of the groups the member is in now, in the order in
// which it was bound to them; after Leave, of those it was in when it left. The
// slice is the caller's. It is empty before Join.
func (m *Member[V]) Groups() []string {
	if m.state.Load() < live {
		return nil // in joining the chain is incomplete
	}
	return m.groups.Load().names()
}

// InGroup reports whether the member is in the named group of its system. It
// looks at each of the member's groups in turn. A member found in the set of a
// group is in that group until it is unbound or leaves; one that left is in none.
func (m *Member[V]) InGroup(name string) bool {
	return m.chain().find(name) != nil
}

// Live reports whether the member has joined and not left.
func (m *Member[V]) Live() bool { return m.state.Load() == live }

// Cursor returns the member's place in the order of every set it is in, for
// [Set.Members] to go on from. It is the zero Cursor before Join.
func (m *Member[V]) Cursor() Cursor {
	if m.state.Load() < joining {
		return Cursor{}
	}
	return Cursor{id: m.id, owner: m.owner, valid: true}
}

// chain returns the groups of a live member, the latest first.
func (m *Member[V]) chain() *membership[V] {
	if !m.Live() {
		return nil // in joining the chain is incomplete
	}
	return m.groups.Load()
}

// byID orders members whose keys are equal.
func byID[V any](a, b *Member[V]) bool { return a.id < b.id }
