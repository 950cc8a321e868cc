package registry

import (
	"slices"
	"sync/atomic"
)

// A list is a system or a group: a name and its members. It is in its index from
// its first member to its last, and once empty it is not used again.
type list[V any] struct {
	// Immutable.
	system *list[V] // of a group; nil for a system
	name   string
	hash   uint64 // of the name, and for a group of its system

	// Guarded for writing by the list lock for hash.
	members table[Member[V]]

	// live counts the members that are live: those still joining or already
	// leaving are in members, but are not counted.
	live atomic.Int32
}

// is reports whether l has this name, and is a group of the named system if
// system is not nil.
func (l *list[V]) is(system *string, name string) bool {
	return l.name == name && (system == nil || l.system.name == *system)
}

// An index finds lists by name. The list lock for a hash guards the table for it
// against other writers.
type index[V any] struct {
	tables [shards]table[list[V]]
	count  atomic.Int64
}

// find returns the list with the given name, which hashes to hash, or nil. The
// name of the system is nil in the index of systems.
func (x *index[V]) find(hash uint64, system *string, name string) *list[V] {
	key := shardKey(hash)
	slots, _ := x.tables[shardOf(hash)].from(key)
	for _, s := range slots {
		if s.key != key {
			break
		}
		if s.e.is(system, name) {
			return s.e
		}
	}
	return nil
}

func (x *index[V]) insert(l *list[V]) {
	x.tables[shardOf(l.hash)].insert(shardKey(l.hash), l, nil)
	x.count.Add(1)
}

func (x *index[V]) remove(l *list[V]) {
	x.tables[shardOf(l.hash)].remove(shardKey(l.hash), l)
	x.count.Add(-1)
}

// A membership is one group of a member, and the groups it was bound to before.
// It is immutable: a member's groups are the chain that starts at Member.groups,
// so that a reader has them all, as they were at one moment, with one load.
type membership[V any] struct {
	group  *list[V]
	before *membership[V]
}

// find returns the group with the given name, or nil.
func (c *membership[V]) find(name string) *list[V] {
	for ; c != nil; c = c.before {
		if c.group.name == name {
			return c.group
		}
	}
	return nil
}

func (c *membership[V]) len() (n int) {
	for ; c != nil; c = c.before {
		n++
	}
	return n
}

// has reports whether group is one of the groups.
func (c *membership[V]) has(group *list[V]) bool {
	for ; c != nil; c = c.before {
		if c.group == group {
			return true
		}
	}
	return false
}

// distinctOver reports whether there are more than limit different names.
func distinctOver(names []string, limit int) bool {
	if len(names) <= limit {
		return false
	}
	seen := make(map[string]struct{}, limit+1)
	for _, name := range names {
		if seen[name] = struct{}{}; len(seen) > limit {
			return true
		}
	}
	return false
}

// names returns the names of the groups, the latest last.
func (c *membership[V]) names() []string {
	var names []string
	for ; c != nil; c = c.before {
		names = append(names, c.group.name)
	}
	slices.Reverse(names)
	return names
}

// without returns the chain without group. What was bound before it is shared,
// what was bound after it is copied.
func (c *membership[V]) without(group *list[V]) *membership[V] {
	var head *membership[V]
	tail := &head
	for ; c != nil; c = c.before {
		if c.group == group {
			*tail = c.before
			break
		}
		copied := &membership[V]{group: c.group}
		*tail, tail = copied, &copied.before
	}
	return head
}
