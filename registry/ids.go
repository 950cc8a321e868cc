package registry

import "sync/atomic"

// A page that is left with fewMembers or less is merged with its neighbour if
// they have mergeMembers or less together: half of what splits a page if the ids hash
// evenly, so that a member who comes and goes does not split and merge the same one
// again and again.
const (
	mergeMembers = pageSlots * 2 / 5
	fewMembers   = mergeMembers / 2
)

// An idTable finds the members of one shard by their ids: an extendible hash table,
// whose directory leads to pages. The zero table is empty and ready to use.
//
// Where a table of lists has immutable leaves in the order of their keys, which is
// good for walks, this one is made for lookups: the directory is small enough to
// stay in the cache, so that a lookup fetches one line of a page and the member
// from memory. A change stores three words or four and, unless a page is split or
// merged, leaves no garbage.
//
// Changes are for those who hold the member lock of the shard. Readers need no
// lock.
type idTable[V any] struct {
	dir atomic.Pointer[directory[page[V]]] // nil when the table is empty
}

// find returns the member with the id, which hashes to hash, or nil.
func (t *idTable[V]) find(id, hash uint64) *Member[V] {
	if m := t.guess(hash); m != nil && m.id == id {
		return m
	}
	return t.search(id, hash)
}

// guess returns a member whose id may hash to hash, or nil. Nine times in ten it is
// the one, if there is one.
//
// Lookups wait for memory, and the fewer instructions one has, the more of them the
// processor has under way: without this shortcut they take a third more time.
func (t *idTable[V]) guess(hash uint64) *Member[V] {
	d := t.dir.Load()
	if d == nil {
		return nil
	}
	p := d.at(shardKey(hash))
	home := p.home(hash)
	if found := matching(home.tags.Load(), byte(hash)); found != 0 {
		return home.at(found).Load()
	}
	return nil
}

// search does what find does where guess was wrong.
func (t *idTable[V]) search(id, hash uint64) *Member[V] {
	if d := t.dir.Load(); d != nil {
		return d.at(shardKey(hash)).find(id, hash)
	}
	return nil
}

// at returns the page of hash, or nil if the table is empty, the first hash of its
// range, and the first beyond it, which is 0 beyond the last of all. A walk calls at
// again with next: as the members of a page do not move, it neither repeats one nor
// misses one that stayed.
func (t *idTable[V]) at(hash uint64) (p *page[V], first, next uint64) {
	width := 64 - 8
	if d := t.dir.Load(); d != nil {
		p = d.at(shardKey(hash))
		width -= int(p.depth)
	}
	return p, hash >> width << width, (hash>>width + 1) << width
}

// insert adds m, whose id hashes to hash and is not in the table.
func (t *idTable[V]) insert(m *Member[V], hash uint64) {
	key := shardKey(hash)
	d := t.dir.Load()
	if d == nil {
		d = newDirectory[page[V]](0, 0)
		d.full = 1
		d.put(key, 0, new(page[V]))
		t.dir.Store(d)
	}
	for p := d.at(key); !p.put(m, hash); {
		if p.depth < maxBits {
			d = t.split(d, key, p)
			p = d.at(key)
			continue
		}
		if p.next.Load() == nil {
			p.next.Store(&page[V]{depth: p.depth})
		}
		p = p.next.Load()
	}
}

// split puts two pages in the place of p, which holds key in its range and has no
// next page. It returns the directory, which may be another.
func (t *idTable[V]) split(d *directory[page[V]], key uint64, p *page[V]) *directory[page[V]] {
	depth := p.depth + 1
	low, high := &page[V]{depth: depth}, &page[V]{depth: depth}
	bit := uint64(1) << (64 - depth)
	var buf [pageSlots]*Member[V]
	for _, m := range p.appendTo(buf[:0]) {
		half, hash := low, mix(m.id)
		if shardKey(hash)&bit != 0 {
			half = high
		}
		half.put(m, hash) // there is room, since there was in p
	}
	if depth > d.depth {
		d = d.resized(depth)
	}
	if depth == d.depth {
		d.full += 2
	}
	d.put(key&^bit, depth, low)
	d.put(key|bit, depth, high)
	t.dir.Store(d)
	return d
}

// remove takes m, whose id hashes to hash and is in the table, out of it.
func (t *idTable[V]) remove(m *Member[V], hash uint64) {
	key := shardKey(hash)
	d := t.dir.Load()
	first := d.at(key)
	p, before := first, first
	for !p.take(m, hash) {
		p, before = p.next.Load(), p
	}
	if p.count == 0 && p != first {
		before.next.Store(p.next.Load())
	}
	for p = first; t.merge(d, key, p); {
		p = d.at(key)
	}
	if d.full == 0 {
		depth, pages := d.deepest(func(p *page[V]) uint8 { return p.depth })
		d = d.resized(depth)
		d.full = pages
		t.dir.Store(d)
	}
	if p.count == 0 && p.depth == 0 {
		t.dir.Store(nil)
	}
}

// merge puts one page in the place of p, which holds key in its range, and its
// neighbour, if they fit together well, and reports whether it did.
func (t *idTable[V]) merge(d *directory[page[V]], key uint64, p *page[V]) bool {
	if p.depth == 0 || p.count > fewMembers {
		return false
	}
	buddy := d.at(key ^ 1<<(64-p.depth))
	if buddy.depth != p.depth || p.count+buddy.count > mergeMembers || p.next.Load() != nil || buddy.next.Load() != nil {
		return false
	}
	both := &page[V]{depth: p.depth - 1}
	var buf [pageSlots]*Member[V]
	for _, m := range buddy.appendTo(p.appendTo(buf[:0])) {
		if !both.put(m, mix(m.id)) {
			return false
		}
	}
	if p.depth == d.depth {
		d.full -= 2
	}
	d.put(key, both.depth, both)
	return true
}
