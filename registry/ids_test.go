package registry

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// check returns what is wrong with the structure of t, the table of a shard, if
// anything is.
func (t *idTable[V]) check(shard int) error {
	d := t.dir.Load()
	if d == nil {
		return nil
	}
	if d.start != 0 {
		return fmt.Errorf("the directory starts at %d", d.start)
	}
	depthOf := func(p *page[V]) uint8 { return p.depth }
	return d.check(0, depthOf, func(key uint64, p *page[V]) error {
		if d.depth == 0 && p.count == 0 {
			return fmt.Errorf("the only page is empty")
		}
		count, next := p.count, p.next.Load()
		for q := p; q != nil; q = q.next.Load() {
			if q.depth != p.depth || q != p && (q.depth < maxBits || q.count == 0) {
				return fmt.Errorf("page of depth %d with %d members follows one of depth %d", q.depth, q.count, p.depth)
			}
			if err := q.check(uint64(shard)<<56 | key>>8); err != nil {
				return fmt.Errorf("page of %x, depth %d: %w", key, p.depth, err)
			}
		}
		if p.depth == 0 {
			return nil
		}
		buddy := d.at(key ^ 1<<(64-p.depth))
		// More members than that may not fit in one page, if they have one home.
		if buddy.depth == p.depth && next == nil && buddy.next.Load() == nil && max(count, buddy.count) <= bucketSlots {
			return fmt.Errorf("buddies of depth %d with %d and %d members were not merged", p.depth, count, buddy.count)
		}
		return nil
	})
}

// check returns what is wrong with p as the page of the range of hashes that begins
// at first.
func (p *page[V]) check(first uint64) error {
	var strays [homes]int
	count := 0
	for i := range p.buckets {
		b := &p.buckets[i]
		for j := range b.members {
			m := b.members[j].Load()
			if m == nil {
				continue
			}
			count++
			hash := mix(m.id)
			if (hash^first)>>(56-p.depth) != 0 {
				return fmt.Errorf("hash %x in the page of %x", hash, first)
			}
			if tag := byte(b.tags.Load() >> (8 * j)); tag != byte(hash) {
				return fmt.Errorf("tag %x of hash %x", tag, hash)
			}
			for k := range homes {
				if &p.buckets[k] == p.home(hash) && i != k {
					if i < homes {
						return fmt.Errorf("hash %x is in bucket %d, and at home in %d", hash, i, k)
					}
					strays[k]++
				}
			}
		}
	}
	for i, want := range strays {
		if got := p.buckets[i].tags.Load() >> 56; got != uint64(want) {
			return fmt.Errorf("bucket %d counts %d members elsewhere, there are %d", i, got, want)
		}
	}
	if count != p.count {
		return fmt.Errorf("%d members, counted as %d", count, p.count)
	}
	return nil
}

func (t *idTable[V]) empty() bool { return t.dir.Load() == nil }

// depth returns the depth of the directory of t, which is not empty.
func (t *idTable[V]) depth() uint8 { return t.dir.Load().depth }

// An idModel does to a map what is done to an idTable.
type idModel struct {
	table idTable[int]
	here  map[uint64]*Member[int] // by hash
	order []uint64                // the hashes, in no order
}

func (m *idModel) insert(hash uint64) {
	if m.here == nil {
		m.here = make(map[uint64]*Member[int])
	}
	if m.here[hash] != nil {
		return
	}
	c := &Member[int]{id: unmix(hash), owner: uint8(hash >> 3)}
	m.here[hash] = c
	m.order = append(m.order, hash)
	m.table.insert(c, hash)
}

func (m *idModel) remove(i int) {
	hash := m.order[i]
	m.order[i] = m.order[len(m.order)-1]
	m.order = m.order[:len(m.order)-1]
	m.table.remove(m.here[hash], hash)
	delete(m.here, hash)
}

// check returns where table and model differ, or what is wrong with the table.
func (m *idModel) check() error {
	for hash, c := range m.here {
		if got := m.table.find(c.id, hash); got != c {
			return fmt.Errorf("find of hash %x = %v", hash, got)
		}
		if got := m.table.find(unmix(hash^1), hash^1); got != m.here[hash^1] {
			return fmt.Errorf("find of hash %x = %v, want %v", hash^1, got, m.here[hash^1])
		}
	}
	var walked, owned int
	for hash, more := uint64(0), true; more; more = hash != 0 && shardOf(hash) == 0 {
		p, first, next := m.table.at(hash)
		for ; p != nil; p = p.next.Load() {
			members := p.appendTo(nil)
			walked += len(members)
			for _, c := range members {
				if h := mix(c.id); h < first || next != 0 && h >= next || m.here[h] != c {
					return fmt.Errorf("hash %x in the page from %x to %x", h, first, next)
				}
				if slices.Contains(p.appendOwned(nil, c.owner), c) {
					owned++
				}
			}
		}
		hash = next
	}
	if walked != len(m.here) || owned != len(m.here) {
		return fmt.Errorf("%d members in the pages, %d of them found by owner, want %d", walked, owned, len(m.here))
	}
	return m.table.check(0)
}

func TestIDTableAgainstModel(t *testing.T) {
	// All in shard 0. The lowest byte is the tag, the two above choose the home.
	tests := []struct {
		name string
		size int
		hash func(*rand.Rand) uint64
	}{
		{"even", 20_000, func(r *rand.Rand) uint64 { return r.Uint64() >> 8 }},
		{"one home", 400, func(r *rand.Rand) uint64 { return r.Uint64() >> 8 &^ 0xffff00 }},
		{"one tag", 2000, func(r *rand.Rand) uint64 { return r.Uint64() >> 8 &^ 0xff }},
		{"as deep as may be", 2000, func(r *rand.Rand) uint64 { return r.Uint64() >> (8 + maxBits) }},
		{"pages behind pages", 500, func(r *rand.Rand) uint64 { return r.Uint64()>>(8+maxBits)&0xff | r.Uint64N(4)<<40 }},
		{"far apart", 1000, func(r *rand.Rand) uint64 { return r.Uint64N(3)<<50 | r.Uint64()>>30 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(21, 22))
			var m idModel
			// Up and down twice, with changes in both directions all along.
			for _, goal := range []int{tt.size, tt.size / 10, tt.size / 2, 0} {
				for step := 0; len(m.order) != goal; step++ {
					up := len(m.order) < goal
					if r.IntN(4) == 0 && len(m.order) > 0 {
						up = !up
					}
					if up {
						m.insert(tt.hash(r))
					} else {
						m.remove(r.IntN(len(m.order)))
					}
					if step%1009 == 0 {
						if err := m.check(); err != nil {
							t.Fatalf("with %d members: %v", len(m.order), err)
						}
					}
				}
				if err := m.check(); err != nil {
					t.Fatalf("with %d members: %v", len(m.order), err)
				}
			}
			if !m.table.empty() {
				t.Error("the emptied table has a directory")
			}
		})
	}
}

// matching finds every slot whose byte is the one asked for, and the first it
// gives is one of them.
func TestMatching(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	for range 100_000 {
		var word [8]byte
		for i := range word {
			word[i] = byte(r.IntN(4)) - 2 // 254 to 1: next to each other, where a borrow could tell
		}
		b := byte(r.IntN(4)) - 2
		found := matching(binary.LittleEndian.Uint64(word[:]), b)
		for i := range word {
			bit := uint64(0x80) << (8 * i)
			if want := i < bucketSlots && word[i] == b; want && found&bit == 0 || !want && found&-found == bit {
				t.Fatalf("matching(%x, %x) = %x", word, b, found)
			}
		}
		if found&^slotBits != 0 {
			t.Fatalf("matching(%x, %x) = %x", word, b, found)
		}
	}
}

// A page that is at the edge of a split is not split and merged each time.
func TestIDTableHysteresis(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	var m idModel
	for len(m.order) == 0 || m.table.depth() == 0 {
		m.insert(r.Uint64() >> 8)
	}
	m.remove(len(m.order) - 1)
	if m.table.depth() == 0 {
		t.Errorf("one removal undid the split at %d members", len(m.order))
	}
}

// A reader that stands on a page that is taken out of its row gets to those behind.
func TestPageTakenOutOfRow(t *testing.T) {
	var m idModel
	for n := range uint64(300) {
		m.insert(mix(n) >> 30)
	}
	first, _, _ := m.table.at(0)
	middle := first.next.Load()
	last := middle.next.Load().appendTo(nil)[0]
	for _, c := range middle.appendTo(nil) {
		m.table.remove(c, mix(c.id))
	}
	if first.next.Load() == middle {
		t.Fatal("the empty page is still there")
	}
	if middle.find(last.id, mix(last.id)) != last {
		t.Error("a member behind the page is not found from there")
	}
}

// Pages and their directory follow the number of members down.
func TestIDTableDepth(t *testing.T) {
	const n = 1 << 15
	var m idModel
	r := rand.New(rand.NewPCG(27, 28))
	for len(m.order) < n {
		m.insert(r.Uint64() >> 8)
	}
	if d := m.table.depth(); d < 9 || d > 12 {
		t.Errorf("depth %d with %d members, want 9 to 12", d, n)
	}
	for len(m.order) > n/16 {
		m.remove(r.IntN(len(m.order)))
	}
	pages := 0
	for hash, more := uint64(0), true; more; more = shardOf(hash) == 0 {
		_, _, hash = m.table.at(hash)
		pages++
	}
	if d := m.table.depth(); d > 8 || pages > n/16/mergeMembers*3 {
		t.Errorf("depth %d and %d pages with %d members left", d, pages, n/16)
	}
}

// A page fills a size class of the allocator, and each bucket a cache line.
func TestPageLayout(t *testing.T) {
	var m idModel
	for hash := range uint64(1000) {
		m.insert(hash << 44)
	}
	p, _, _ := m.table.at(0)
	if at := uintptr(unsafe.Pointer(&p.buckets[0])); unsafe.Sizeof(p.buckets[0]) != 64 || at%64 != 0 {
		t.Errorf("a bucket of %d bytes begins at %x", unsafe.Sizeof(p.buckets[0]), at)
	}
	if n := unsafe.Sizeof(*p); n+8 != 1024 {
		t.Errorf("a page takes %d bytes and a word, want 1024", n)
	}
}

// FuzzIDTable does what the bytes say to a table and its model. The first byte says
// which bits the hashes have in common.
func FuzzIDTable(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4})
	f.Add(append([]byte{9}, make([]byte, 100)...))
	rising := make([]byte, 400)
	for i := range rising {
		rising[i] = byte(i)
	}
	f.Add(rising)
	f.Add(append([]byte{0x14}, rising...))
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) == 0 || len(ops) > 1<<10 {
			return
		}
		var m idModel
		alike := 8 + ops[0]%8                             // more would spend the time in big directories
		same := uint64(0xffff) << 8 * uint64(ops[0]>>4&1) // one home
		for i, op := range ops[1:] {
			if op < 0xa0 || len(m.order) == 0 {
				m.insert(mix(uint64(op)|uint64(i%7)<<8) >> alike &^ same)
			} else {
				m.remove(i * int(op) % len(m.order))
			}
			if err := m.table.check(0); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
		}
		if err := m.check(); err != nil {
			t.Fatal(err)
		}
	})
}
