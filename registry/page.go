package registry

import (
	"math/bits"
	"sync/atomic"
)

const (
	// bucketSlots is how many members a bucket holds: with their tags and owners they
	// fill a cache line of 64 bytes.
	bucketSlots = 6

	// homes is how many buckets of a page are homes; one more is the spare. So a page
	// takes in 70 members on average, of 90, before one does not fit, and 4 % of the
	// members of a full table are not where a lookup looks first. With another spare
	// one it is 78 and 7 %: 2.6 bytes less a member, and lookups take 4 % more time.
	homes = 14

	pageSlots = (homes + 1) * bucketSlots
)

// A bucket is one cache line: up to six members, in no order, and of each a byte of
// its hash, the tag, and its owner. A lookup compares all tags at once and reads no
// other member than the one it looks for, but for one in 50; a walk passes over the
// members of other owners in the same way.
//
// A bucket is changed in place, one slot at a time. Tags and owners are hints: a
// reader may find that the slot they led to was emptied or filled anew meanwhile,
// and looks at the member itself. What it must not do is overlook a member that was
// there all the time, and those bytes do not change meanwhile.
type bucket[V any] struct {
	// Slot i has byte i. The top byte of tags counts the members whose home this is
	// and that are in the spare bucket.
	tags, owners atomic.Uint64
	members      [bucketSlots]atomic.Pointer[Member[V]]
}

const (
	everyByte = 0x0101010101010101
	slotBits  = 0x0000808080808080 // the high bit of each slot's byte
	strayed   = 1 << 56            // one member in the spare bucket
)

// matching returns the slots whose byte is b, as bits of slotBits. Rarely, one above
// a true match is wrong.
func matching(bytes uint64, b byte) uint64 {
	x := bytes ^ uint64(b)*everyByte
	return (x - everyByte) & ^x & slotBits
}

// at returns the first slot of those that matching returned.
func (b *bucket[V]) at(found uint64) *atomic.Pointer[Member[V]] {
	return &b.members[bits.TrailingZeros64(found)/8]
}

// find returns the member with the id, which hashes to hash, or nil.
func (b *bucket[V]) find(id, hash uint64) *Member[V] {
	for m := matching(b.tags.Load(), byte(hash)); m != 0; m &= m - 1 {
		if c := b.at(m).Load(); c != nil && c.id == id {
			return c
		}
	}
	return nil
}

// put adds m, and reports whether there was room.
func (b *bucket[V]) put(m *Member[V], hash uint64) bool {
	for i := range b.members {
		if b.members[i].Load() == nil {
			b.owners.Store(withByte(b.owners.Load(), i, m.owner))
			b.members[i].Store(m)
			b.tags.Store(withByte(b.tags.Load(), i, byte(hash)))
			return true
		}
	}
	return false
}

// withByte returns bytes with b as byte i.
func withByte(bytes uint64, i int, b byte) uint64 {
	return bytes&^(0xff<<(8*i)) | uint64(b)<<(8*i)
}

// take removes m, and reports whether it was there. Its bytes stay behind.
func (b *bucket[V]) take(m *Member[V], hash uint64) bool {
	for k := matching(b.tags.Load(), byte(hash)); k != 0; k &= k - 1 {
		if slot := b.at(k); slot.Load() == m {
			slot.Store(nil)
			return true
		}
	}
	return false
}

// A page holds the members of one range of hashes: those that are alike in their
// top 8 bits, which choose the shard, and the next depth bits. Other bits choose
// the home of a member among the buckets; one that finds it full goes to the
// spare bucket.
//
// A member never moves within a page: it could do so behind a reader's back. A
// page that is split or merged is copied, and the old one, to which a reader may
// still hold, is left as it is.
//
// Methods that change a page are for those who hold the member lock of its shard.
type page[V any] struct {
	depth uint8
	count int // members in this page

	// next leads on, in a page that is full and as deep as it may be, to one with
	// more members of the range.
	next atomic.Pointer[page[V]]

	// With the word that the allocator puts before an object of this size and kind
	// buckets begin at a multiple of 64, and the page takes up 1 KiB.
	_       [56 - 24]byte
	buckets [homes + 1]bucket[V] // the last one is the spare
}

// home returns where a member is to be looked for first. The bits that choose it
// are neither those of the tag, nor those that lead to the page.
func (p *page[V]) home(hash uint64) *bucket[V] {
	return &p.buckets[(hash>>8&0xffff)*homes>>16]
}

// find returns the member with the id, which hashes to hash, or nil.
func (p *page[V]) find(id, hash uint64) *Member[V] {
	for ; p != nil; p = p.next.Load() {
		home := p.home(hash)
		if m := home.find(id, hash); m != nil {
			return m
		}
		if home.tags.Load() >= strayed {
			if m := p.buckets[homes].find(id, hash); m != nil {
				return m
			}
		}
	}
	return nil
}

// put adds m, and reports whether there was room.
func (p *page[V]) put(m *Member[V], hash uint64) bool {
	home := p.home(hash)
	if !home.put(m, hash) {
		if !p.buckets[homes].put(m, hash) {
			return false
		}
		home.tags.Add(strayed)
	}
	p.count++
	return true
}

// take removes m, and reports whether it was there.
func (p *page[V]) take(m *Member[V], hash uint64) bool {
	home := p.home(hash)
	if !home.take(m, hash) {
		if !p.buckets[homes].take(m, hash) {
			return false
		}
		home.tags.Add(^uint64(strayed - 1)) // subtracts it
	}
	p.count--
	return true
}

// appendTo appends the members of p to dst, in no order.
func (p *page[V]) appendTo(dst []*Member[V]) []*Member[V] {
	for i := range p.buckets {
		for j := range p.buckets[i].members {
			if m := p.buckets[i].members[j].Load(); m != nil {
				dst = append(dst, m)
			}
		}
	}
	return dst
}

// appendOwned appends the members of p that have the given owner to dst, in no
// order, and perhaps others.
func (p *page[V]) appendOwned(dst []*Member[V], owner uint8) []*Member[V] {
	for i := range p.buckets {
		b := &p.buckets[i]
		for found := matching(b.owners.Load(), owner); found != 0; found &= found - 1 {
			if m := b.at(found).Load(); m != nil {
				dst = append(dst, m)
			}
		}
	}
	return dst
}
