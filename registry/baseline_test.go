package registry

import (
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// A record is what a server would have one of per connection. It takes up one
// cache line, so that all structures have the same to fetch.
type record struct {
	id uint64 // never 0
	Member[*record]
	_ [16]byte
}

func newRecord(n uint64) *record {
	c := &record{id: benchID(n)}
	c.Value = c
	return c
}

func newRecords(n int) []*record {
	records := make([]*record, n)
	for i := range records {
		records[i] = newRecord(uint64(i))
	}
	return records
}

// benchID returns the n-th id in the manner of a sonyflake: time, sequence and
// machine, with some tens of ids in each unit of time.
func benchID(n uint64) uint64 { return n/40<<22 | n%40<<12 | 5 }

// An indexed is a structure under measurement: one index, from ids to records.
type indexed interface {
	put(*record)
	del(*record)
	get(id uint64) *record
	walk() int // visits every record and returns how many there are
}

// A loader can take in many records at once, which takes long one by one.
type loader interface{ load([]*record) }

// pages is the id index of a registry by itself.
type pages struct {
	locks  [shards]lock
	tables [shards]idTable[*record]
}

func (x *pages) put(c *record) {
	hash := mix(c.id)
	mu := &x.locks[shardOf(hash)]
	mu.Lock()
	c.Member.id = c.id
	x.tables[shardOf(hash)].insert(&c.Member, hash)
	mu.Unlock()
}

func (x *pages) del(c *record) {
	hash := mix(c.id)
	mu := &x.locks[shardOf(hash)]
	mu.Lock()
	x.tables[shardOf(hash)].remove(&c.Member, hash)
	mu.Unlock()
}

func (x *pages) get(id uint64) *record {
	hash := mix(id)
	if m := x.tables[shardOf(hash)].find(id, hash); m != nil {
		return m.Value
	}
	return nil
}

func (x *pages) walk() (n int) {
	var buf [pageSlots]*Member[*record]
	for hash, more := uint64(0), true; more; more = hash != 0 {
		var p *page[*record]
		p, _, hash = x.tables[shardOf(hash)].at(hash)
		for ; p != nil; p = p.next.Load() {
			for _, m := range p.appendTo(buf[:0]) {
				if m.id != 0 {
					n++
				}
			}
		}
	}
	return n
}

// lockedMaps is a Go map in shards, each under a lock that readers share.
type lockedMaps struct {
	shards [shards]struct {
		sync.RWMutex
		m map[uint64]*record
		_ [32]byte
	}
}

func newLockedMaps() *lockedMaps {
	x := new(lockedMaps)
	for i := range x.shards {
		x.shards[i].m = make(map[uint64]*record)
	}
	return x
}

func (x *lockedMaps) put(c *record) {
	s := &x.shards[shardOf(mix(c.id))]
	s.Lock()
	s.m[c.id] = c
	s.Unlock()
}

func (x *lockedMaps) del(c *record) {
	s := &x.shards[shardOf(mix(c.id))]
	s.Lock()
	delete(s.m, c.id)
	s.Unlock()
}

func (x *lockedMaps) get(id uint64) *record {
	s := &x.shards[shardOf(mix(id))]
	s.RLock()
	c := s.m[id]
	s.RUnlock()
	return c
}

func (x *lockedMaps) walk() (n int) {
	for i := range x.shards {
		s := &x.shards[i]
		s.RLock()
		for _, c := range s.m {
			if c.id != 0 {
				n++
			}
		}
		s.RUnlock()
	}
	return n
}

// syncMap is a sync.Map, whose readers take no lock.
type syncMap struct{ m sync.Map }

func (x *syncMap) put(c *record) { x.m.Store(c.id, c) }
func (x *syncMap) del(c *record) { x.m.Delete(c.id) }
func (x *syncMap) get(id uint64) *record {
	c, _ := x.m.Load(id)
	r, _ := c.(*record)
	return r
}
func (x *syncMap) walk() (n int) {
	x.m.Range(func(_, c any) bool {
		if c.(*record).id != 0 {
			n++
		}
		return true
	})
	return n
}

// bTree is a persistent B-tree: readers load the current version, and a writer
// copies what it changes of it and publishes the next one.
type bTree struct {
	mu      sync.Mutex
	current atomic.Pointer[btree.Map[uint64, *record]]
}

func newBTree() *bTree {
	x := new(bTree)
	x.current.Store(new(btree.Map[uint64, *record]))
	return x
}

func (x *bTree) change(f func(*btree.Map[uint64, *record])) {
	x.mu.Lock()
	next := x.current.Load().Copy()
	f(next)
	x.current.Store(next)
	x.mu.Unlock()
}

func (x *bTree) put(c *record) {
	x.change(func(m *btree.Map[uint64, *record]) { m.Set(mix(c.id), c) })
}

func (x *bTree) del(c *record) {
	x.change(func(m *btree.Map[uint64, *record]) { m.Delete(mix(c.id)) })
}

func (x *bTree) load(records []*record) {
	x.change(func(m *btree.Map[uint64, *record]) {
		for _, c := range records {
			m.Set(mix(c.id), c)
		}
	})
}

func (x *bTree) get(id uint64) *record {
	c, _ := x.current.Load().Get(mix(id))
	return c
}

func (x *bTree) walk() (n int) {
	x.current.Load().Scan(func(_ uint64, c *record) bool {
		if c.id != 0 {
			n++
		}
		return true
	})
	return n
}

// registered is a registry with a single system: two indexes.
type registered struct{ r *Registry[*record] }

func (x registered) put(c *record) {
	if err := x.r.Join(&c.Member, c.id, int(c.id>>12)%benchOwners, "system"); err != nil {
		panic(err)
	}
}

func (x registered) del(c *record) {
	if !x.r.Leave(&c.Member) {
		panic("not there")
	}
}

func (x registered) get(id uint64) *record {
	if m := x.r.Lookup(id); m != nil {
		return m.Value
	}
	return nil
}

func (x registered) walk() int { return x.walkSet(x.r.System("system")) }

// walkSet walks over the parts of all owners.
func (x registered) walkSet(set Set[*record]) (n int) {
	dst := make([]*Member[*record], 256)
	for owner := range benchOwners {
		w := set.Walk(owner)
		for k := w.Next(dst); k > 0; k = w.Next(dst) {
			n += k // Next has read the state of each
		}
	}
	return n
}

// both is two indexes of one kind: the clients by id, and those of a system.
type both struct{ ids, system indexed }

func (x both) put(c *record)         { x.ids.put(c); x.system.put(c) }
func (x both) del(c *record)         { x.system.del(c); x.ids.del(c) }
func (x both) get(id uint64) *record { return x.ids.get(id) }
func (x both) walk() int             { return x.system.walk() }

var benchIndexes = []struct {
	name    string
	indexes int
	make    func() indexed
}{
	{"1 index/pages", 1, func() indexed { return new(pages) }},
	{"1 index/RWMutex+map", 1, func() indexed { return newLockedMaps() }},
	{"1 index/sync.Map", 1, func() indexed { return new(syncMap) }},
	{"1 index/persistent B-tree", 1, func() indexed { return newBTree() }},
	{"2 indexes/Registry", 2, func() indexed { return registered{New[*record](benchOwners)} }},
	{"2 indexes/RWMutex+map", 2, func() indexed { return both{newLockedMaps(), newLockedMaps()} }},
	{"2 indexes/sync.Map", 2, func() indexed { return both{new(syncMap), new(syncMap)} }},
}
