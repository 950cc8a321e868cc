package registry

import (
	"hash/maphash"
	"math"
)

// Every hash is cut in the same way: its top byte chooses one of 256 tables and
// locks, the other 56 bits are the top of the key in that table.
//
//	id index        mix(id)              │ shard 8 │ key: 56 bits of the hash, 0     8 │
//	systems, groups hash of the name     │ shard 8 │ key: 56 bits of the hash, 0     8 │
//	member list     one table per list             │ key: owner b, mix(id)>>b          │
//
// where b is the number of bits that number the owners. In a member list the owner
// is at the top, so that a worker walks its own part and nothing else. There b bits
// of the hash are lost; two members whose keys become equal are ordered by id.

const (
	shards    = 256
	ownerMask = math.MaxUint8
)

// mix spreads ids, which are alike in most bits, over all 64 bits. It is a
// bijection: each step can be undone.
func mix(id uint64) uint64 {
	const odd = 0xd6e8feb86659fd93
	id ^= id >> 32
	id *= odd
	id ^= id >> 32
	id *= odd
	return id ^ id>>32
}

// shardOf returns the table, and the stripe of locks, for a hash.
func shardOf(hash uint64) int { return int(hash >> 56) }

// shardKey returns the key of a hash in its table.
func shardKey(hash uint64) uint64 { return hash << 8 }

// listKey returns the key of a member in a list of members.
func listKey(hash uint64, owner, ownerBits uint8) uint64 {
	return uint64(owner)<<(64-ownerBits) | hash>>ownerBits
}

// ownerRange returns the first and the last key that an owner's members can have
// in a list of members.
func ownerRange(owner, ownerBits uint8) (first, last uint64) {
	return listKey(0, owner, ownerBits), listKey(math.MaxUint64, owner, ownerBits)
}

// nameHash hashes the name of a system, or of a group in the system whose hash
// is given. It is seeded, because names come from outside.
func nameHash(seed maphash.Seed, system uint64, name string) uint64 {
	return mix(system) + maphash.String(seed, name)
}
