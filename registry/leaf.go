package registry

import (
	"math/bits"
	"unsafe"
)

// maxSlots is how many slots a leaf may have before it is split. With more, walks
// are a little faster and an entry takes a little less memory, but every write
// copies more and leaves more garbage: of a system of a million, 23, 27 and 31
// slots make 50, 53 and 54 million members a second, and 540, 610 and 680 bytes
// for one that leaves and one that joins.
const maxSlots = 27

// A slot is one entry of a table with its key.
type slot[E any] struct {
	key uint64
	e   *E
}

// A leaf holds the entries of one range of keys, in key order: the range of all
// keys that share their top depth bits. It is immutable once published.
//
// The slots follow the header in memory, in one allocation of the exact size.
// That is what makes a list of three members cost 64 bytes, and it spares a
// walk one cache miss per leaf. Go has no type for it, so newLeaf, slots and
// at use unsafe: they view the first of count+1 slots as the header, which has the
// same size and its pointer in the same place. Nothing else needs to know.
type leaf[E any] struct {
	count uint32
	depth uint8
	// branch is nil in a leaf. What stands in the place of one and leads on, in a
	// table too big for one leaf, is a leaf of no slots that has it.
	branch *branch[E]
}

// A header is exactly a slot; otherwise one of these does not compile.
var (
	_ [unsafe.Sizeof(slot[int]{}) - unsafe.Sizeof(leaf[int]{})]byte
	_ [unsafe.Sizeof(leaf[int]{}) - unsafe.Sizeof(slot[int]{})]byte
	_ [unsafe.Offsetof(slot[int]{}.e) - unsafe.Offsetof(leaf[int]{}.branch)]byte
	_ [unsafe.Offsetof(leaf[int]{}.branch) - unsafe.Offsetof(slot[int]{}.e)]byte
)

// newLeaf returns a leaf with n empty slots, for the caller to fill before it
// publishes the leaf.
func newLeaf[E any](depth uint8, n int) (*leaf[E], []slot[E]) {
	s := make([]slot[E], n+1)
	l := (*leaf[E])(unsafe.Pointer(unsafe.SliceData(s)))
	l.count, l.depth = uint32(n), depth
	return l, s[1:]
}

// leafOf returns a leaf with a copy of the given slots: first those of a, then
// those of b.
func leafOf[E any](depth uint8, a, b []slot[E]) *leaf[E] {
	l, s := newLeaf[E](depth, len(a)+len(b))
	copy(s, a)
	copy(s[len(a):], b)
	return l
}

// slots returns the entries of l, which the caller must not change.
func (l *leaf[E]) slots() []slot[E] {
	return unsafe.Slice((*slot[E])(unsafe.Pointer(l)), int(l.count)+1)[1:]
}

// at returns slot i of l, which must be less than count. Searches use it, because
// to make and check a slice takes as long as all the rest of them.
func (l *leaf[E]) at(i int) *slot[E] {
	return (*slot[E])(unsafe.Add(unsafe.Pointer(l), (i+1)*int(unsafe.Sizeof(slot[E]{}))))
}

// guess returns the index at which key is to be expected. Keys are hashes, evenly
// spread over the range of the leaf, so the place of a key in that range tells
// its index to within two or three. A search by steps from there has fewer slots
// to fetch from memory than a binary search.
func (l *leaf[E]) guess(key uint64) int {
	i, _ := bits.Mul64(key<<l.depth, uint64(l.count))
	return int(i)
}

// search returns the index of the first slot at or after key, which must be in
// the range of l.
func (l *leaf[E]) search(key uint64) int {
	i, n := l.guess(key), int(l.count)
	for i < n && l.at(i).key < key {
		i++
	}
	for i > 0 && l.at(i-1).key >= key {
		i--
	}
	return i
}

// from returns the slots at or after key, which must be in the range of l, and the
// first key beyond that range, 0 if there is none.
func (l *leaf[E]) from(key uint64) (slots []slot[E], next uint64) {
	width := 64 - l.depth
	return l.slots()[l.search(key):], (key>>width + 1) << width
}

// has reports whether l is surely the leaf of key: it is not if l is a branch or
// is empty.
func (l *leaf[E]) has(key uint64) bool {
	return l.branch == nil && l.count > 0 && (l.at(0).key^key)>>(64-l.depth) == 0
}

// alike returns how many bits all keys of l, which has slots, have in common.
func (l *leaf[E]) alike() int {
	return bits.LeadingZeros64(l.at(0).key ^ l.at(int(l.count)-1).key)
}

// index returns the index of e, whose key is key, or -1.
func (l *leaf[E]) index(key uint64, e *E) int {
	for i := l.search(key); i < int(l.count) && l.at(i).key == key; i++ {
		if l.at(i).e == e {
			return i
		}
	}
	return -1
}

// with returns a copy of l that has x at index i.
func (l *leaf[E]) with(i int, x slot[E]) *leaf[E] {
	s := l.slots()
	c, t := newLeaf[E](l.depth, len(s)+1)
	copy(t, s[:i])
	t[i] = x
	copy(t[i+1:], s[i:])
	return c
}

// without returns a copy of l that lacks the slot at index i.
func (l *leaf[E]) without(i int) *leaf[E] {
	s := l.slots()
	return leafOf(l.depth, s[:i], s[i+1:])
}
