package registry

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
)

// Errors of the methods that change a registry.
var (
	// ErrDuplicateID is returned by Join when a member with the id is there. The
	// member that was to join is untouched and may be joined with another id.
	ErrDuplicateID = errors.New("registry: duplicate id")
	// ErrReused is returned by Join for a member that was joined before.
	ErrReused = errors.New("registry: member was joined before")
	// ErrNotLive is returned by Bind and Unbind for a member that has not joined
	// this registry, or has left it.
	ErrNotLive = errors.New("registry: member is not live")
	// ErrGroups is returned by Join and Bind when the member would be in more groups
	// than LimitGroups allows. Nothing was changed.
	ErrGroups = errors.New("registry: too many groups for one member")
)

// A Registry indexes members by id, by system and by group within a system. Make
// one with [New]. All methods may be called from any goroutine.
type Registry[V any] struct {
	// Immutable.
	seed      maphash.Seed
	owners    int
	ownerBits uint8
	maxGroups int // of one member; 0: no limit

	// Each table is guarded for writing by the lock of the same number: ids by
	// memberLocks, systems and groups by listLocks.
	ids     [shards]idTable[V]
	systems index[V]
	groups  index[V]

	live atomic.Int64 // members that are live

	// Kept apart from what readers load, so that a writer who takes a lock does
	// not take a cache line from them.
	memberLocks [shards]lock
	listLocks   [shards]lock
}

// A lock has a cache line of its own, so that its neighbours do not contend.
type lock struct {
	sync.Mutex
	_ [56]byte
}

// New returns an empty registry whose members are divided among the given number
// of owners, the partitions for fan-out: 1 to 256, or New panics. An empty
// registry takes about 40 KB, and the first few hundred members 256 KB together.
func New[V any](owners int) *Registry[V] {
	if owners < 1 || owners > ownerMask+1 {
		panic(fmt.Sprintf("registry: %d owners, want 1 to %d", owners, ownerMask+1))
	}
	return &Registry[V]{
		seed:      maphash.MakeSeed(),
		owners:    owners,
		ownerBits: uint8(bits.Len(uint(owners - 1))),
	}
}

// LimitGroups bounds the groups of each member. It is called before the registry is
// used, if there is to be a bound.
func (r *Registry[V]) LimitGroups(n int) { r.maxGroups = n }

// owner returns i as an owner, and panics if it is none.
func (r *Registry[V]) owner(i int) uint8 {
	if i < 0 || i >= r.owners {
		panic(fmt.Sprintf("registry: owner %d out of range [0,%d)", i, r.owners))
	}
	return uint8(i)
}

// Join puts m into the registry, under its id, in its system and in its groups.
// Readers see all of that or nothing. A group named twice counts once. Names may
// be empty, and are copied if they are kept.
//
// It returns [ErrReused], [ErrDuplicateID] or [ErrGroups] and changes nothing if m was
// joined before, the id is taken, or there are too many groups. It panics if owner is not in the registry's range.
func (r *Registry[V]) Join(m *Member[V], id uint64, owner int, system string, groups ...string) error {
	part := r.owner(owner)
	if m.state.Load() != unused {
		return ErrReused
	}
	if r.maxGroups > 0 && distinctOver(groups, r.maxGroups) {
		return ErrGroups
	}
	hash := mix(id)
	mu := &r.memberLocks[shardOf(hash)]
	mu.Lock()
	defer mu.Unlock()
	if r.find(id, hash) != nil {
		return ErrDuplicateID
	}
	// Another Join of m with another id does not hold this lock.
	if !m.state.CompareAndSwap(unused, claimed) {
		return ErrReused
	}
	m.id, m.owner = id, part
	m.state.Store(joining)

	r.ids[shardOf(hash)].insert(m, hash)
	m.system, _ = r.enter(m, nil, system)
	for _, name := range groups {
		r.enter(m, m.system, name)
	}
	m.state.Store(live)
	r.count(m, 1)
	return nil
}

// Leave takes m out of the registry. It returns true for the one call that did,
// and false if m has not joined or has left. A call that overlaps Join either
// comes before it, and returns false, or waits for it.
func (r *Registry[V]) Leave(m *Member[V]) bool {
	mu, ok := r.lockLive(m)
	if !ok {
		return false
	}
	defer mu.Unlock()
	m.state.Store(gone)
	r.count(m, -1)
	// The system comes last, as it came first in Join: a group that is in the
	// index has its system there too.
	for c := m.groups.Load(); c != nil; c = c.before {
		r.exit(m, c.group)
	}
	r.exit(m, m.system)
	hash := mix(m.id)
	r.ids[shardOf(hash)].remove(m, hash)
	return true
}

// Bind puts m into a group of its system, and reports whether it was not in it
// before. It returns [ErrNotLive] if m is not live in this registry, and [ErrGroups] if
// it is in as many groups as it may be.
func (r *Registry[V]) Bind(m *Member[V], group string) (added bool, err error) {
	mu, ok := r.lockLive(m)
	if !ok {
		return false, ErrNotLive
	}
	defer mu.Unlock()
	if chain := m.groups.Load(); r.maxGroups > 0 && chain.len() >= r.maxGroups && chain.find(group) == nil {
		return false, ErrGroups
	}
	l, added := r.enter(m, m.system, group)
	if added {
		l.live.Add(1)
	}
	return added, nil
}

// Unbind takes m out of a group of its system, and reports whether it was in it.
// It returns [ErrNotLive] if m is not live in this registry.
func (r *Registry[V]) Unbind(m *Member[V], group string) (removed bool, err error) {
	mu, ok := r.lockLive(m)
	if !ok {
		return false, ErrNotLive
	}
	defer mu.Unlock()
	chain := m.groups.Load()
	l := chain.find(group)
	if l == nil {
		return false, nil
	}
	l.live.Add(-1)
	r.exit(m, l)
	m.groups.Store(chain.without(l))
	return true, nil
}

// Lookup returns the live member with the id, or nil.
func (r *Registry[V]) Lookup(id uint64) *Member[V] {
	hash := mix(id)
	t := &r.ids[shardOf(hash)]
	m := t.guess(hash) // find written out: the calls in between make it a third slower
	if m == nil || m.id != id {
		m = t.search(id, hash)
	}
	if m == nil || !m.Live() {
		return nil
	}
	return m
}

// Len returns how many live members there are; [Set.Len] says how exactly.
func (r *Registry[V]) Len() int { return int(r.live.Load()) }

// Systems returns how many systems have members, counting the members of calls
// under way.
func (r *Registry[V]) Systems() int { return int(r.systems.count.Load()) }

// Groups returns how many groups have members, counting as Systems does.
func (r *Registry[V]) Groups() int { return int(r.groups.count.Load()) }

// All returns the set of all members.
func (r *Registry[V]) All() Set[V] { return Set[V]{r: r} }

// System returns the set of the members of a system. It is empty if there is no
// such system.
func (r *Registry[V]) System(name string) Set[V] {
	return r.set(r.systems.find(nameHash(r.seed, 0, name), nil, name))
}

// Group returns the set of the members of a group. It is empty if there is no
// such group.
func (r *Registry[V]) Group(system, name string) Set[V] {
	hash := nameHash(r.seed, nameHash(r.seed, 0, system), name)
	return r.set(r.groups.find(hash, &system, name))
}

func (r *Registry[V]) set(l *list[V]) Set[V] {
	if l == nil {
		return Set[V]{}
	}
	return Set[V]{r, l}
}

// find returns the member with the id, which hashes to hash, live or not, or nil.
func (r *Registry[V]) find(id, hash uint64) *Member[V] {
	return r.ids[shardOf(hash)].find(id, hash)
}

// lockLive takes the member lock of m if m is live in this registry, waiting for
// a Join under way. The caller unlocks it if ok.
func (r *Registry[V]) lockLive(m *Member[V]) (mu *lock, ok bool) {
	if s := m.state.Load(); s != joining && s != live {
		return nil, false
	}
	hash := mix(m.id)
	mu = &r.memberLocks[shardOf(hash)]
	mu.Lock()
	if !m.Live() || r.find(m.id, hash) != m { // left meanwhile, or joined elsewhere
		mu.Unlock()
		return nil, false
	}
	return mu, true
}

// count adds n to the counts of live members that m is part of. The caller holds
// the member lock of m.
func (r *Registry[V]) count(m *Member[V], n int32) {
	r.live.Add(int64(n))
	m.system.live.Add(n)
	for c := m.groups.Load(); c != nil; c = c.before {
		c.group.live.Add(n)
	}
}

// enter puts m into the list with the given name, which is a group of system or,
// if that is nil, a system. It returns the list, made if it was not there, and
// whether m was not in it. The caller holds the member lock of m.
func (r *Registry[V]) enter(m *Member[V], system *list[V], name string) (l *list[V], added bool) {
	var hash uint64
	in := &r.systems
	if system == nil {
		hash = nameHash(r.seed, 0, name)
	} else {
		hash = nameHash(r.seed, system.hash, name)
		in = &r.groups
	}
	mu := &r.listLocks[shardOf(hash)]
	mu.Lock()
	defer mu.Unlock()

	// The lock is held from here on, so a list that is found stays.
	if system == nil {
		l = in.find(hash, nil, name)
	} else {
		l = in.find(hash, &system.name, name)
	}
	key := listKey(mix(m.id), m.owner, r.ownerBits)
	made := l == nil
	if made {
		l = &list[V]{system: system, name: strings.Clone(name), hash: hash}
	} else if l.members.has(key, m) {
		return l, false
	}
	if system != nil {
		// First, so that a reader who finds m in the group finds the group in m.
		m.groups.Store(&membership[V]{l, m.groups.Load()})
	}
	l.members.insert(key, m, byID)
	if made {
		in.insert(l)
	}
	return l, true
}

// exit takes m out of l, and l out of its index if it is empty then. The caller
// holds the member lock of m, which is in l.
func (r *Registry[V]) exit(m *Member[V], l *list[V]) {
	mu := &r.listLocks[shardOf(l.hash)]
	mu.Lock()
	defer mu.Unlock()
	l.members.remove(listKey(mix(m.id), m.owner, r.ownerBits), m)
	if !l.members.empty() {
		return
	}
	if l.system == nil {
		r.systems.remove(l)
	} else {
		r.groups.remove(l)
	}
}
