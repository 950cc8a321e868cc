// Package wheel is a timing wheel for very many coarse timeouts, as in scheme 6
// of Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987).
//
// It is intrusive: the links live inside the caller's records, so an entry costs
// 24 bytes and no allocation. A tick costs what is due, not what exists. Time is
// a count of ticks that the caller supplies; the wheel itself never looks at a
// clock, so a test moves time by passing a number.
//
// All methods may be called from any goroutine. Advance is meant for one
// goroutine at a time, and calls back without holding the wheel's lock.
package wheel

import (
	"runtime"
	"sync"
)

// Slots is the length of the wheel in ticks. A wait longer than that is cut
// short: the entry comes due early, and the callback asks for the rest.
const Slots = 256

// Links is embedded in a record that waits in a Wheel. The zero value waits for
// nothing. It is guarded by the wheel's lock.
type Links[T any] struct {
	prev, next *T
	due        uint32
	state      uint8
}

const (
	idle    = iota // in no slot
	waiting        // in the slot of its due tick
	retired        // for good
)

// A Wheel keeps records of type T by the tick at which they come due. Make one
// with New.
type Wheel[T any] struct {
	links func(*T) *Links[T]

	mu    sync.Mutex // guards the following fields and every record's Links
	now   uint32     // the last tick advanced to
	len   int
	slots [Slots]*T // heads of doubly linked lists
}

// New makes a wheel that stands at tick now; links finds a record's Links.
func New[T any](now uint32, links func(*T) *Links[T]) *Wheel[T] {
	return &Wheel[T]{links: links, now: now}
}

// Len is the number of records that wait.
func (w *Wheel[T]) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.len
}

// Schedule makes t come due at the given tick, or at the next one if that has
// passed. A record that already waits is moved; a retired one is left alone.
func (w *Wheel[T]) Schedule(t *T, due uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.links(t)
	if l.state == retired {
		return
	}
	w.unlinkLocked(t, l)
	w.linkLocked(t, l, due)
}

// Retire takes t out for good: later calls of Schedule do nothing. A callback
// that already runs for t is not waited for.
func (w *Wheel[T]) Retire(t *T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.links(t)
	w.unlinkLocked(t, l)
	l.state = retired
}

// batch bounds how many records leave or enter the wheel per hold of the lock, so
// that a million coming due at once do not hold up a connect.
const batch = 64

// Advance moves the wheel to tick now and calls visit for every record that came
// due on the way. visit returns the tick at which it wants to be called again;
// zero means not. If the record was scheduled meanwhile, that stands.
func (w *Wheel[T]) Advance(now uint32, visit func(*T) (again uint32)) {
	var due [batch]*T
	var again [batch]uint32
	for w.step(now) {
		for n := w.takeDue(due[:]); n > 0; n = w.takeDue(due[:]) {
			for i, t := range due[:n] {
				again[i] = visit(t)
			}
			w.rearm(due[:n], again[:n])
			clear(due[:n])
			// Who waits for the lock gets it now. Without this it is woken only to
			// find the lock taken again, for a millisecond: so long sync.Mutex waits
			// until it is fair.
			runtime.Gosched()
		}
	}
}

// step moves the wheel by one tick towards now. Every entry waits in one of the
// next Slots ticks, so a longer jump needs no more than one turn of the wheel.
func (w *Wheel[T]) step(now uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	behind := int32(now - w.now) // wraps as the ticks do
	if behind <= 0 {
		return false
	}
	if behind > Slots {
		w.now = now - Slots
	}
	w.now++
	return true
}

// takeDue unlinks up to len(dst) records of the current tick.
func (w *Wheel[T]) takeDue(dst []*T) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(dst) {
		t := w.slots[w.now%Slots]
		if t == nil {
			break
		}
		w.unlinkLocked(t, w.links(t))
		dst[n] = t
		n++
	}
	return n
}

// rearm links records again that want it and were neither scheduled nor retired
// since they were taken.
func (w *Wheel[T]) rearm(ts []*T, due []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, t := range ts {
		if l := w.links(t); due[i] != 0 && l.state == idle {
			w.linkLocked(t, l, due[i])
		}
	}
}

func (w *Wheel[T]) linkLocked(t *T, l *Links[T], due uint32) {
	// Never into the slot that is being emptied, nor into it a turn too early.
	switch wait := int32(due - w.now); {
	case wait < 1:
		due = w.now + 1
	case wait >= Slots:
		due = w.now + Slots - 1
	}
	head := &w.slots[due%Slots]
	l.prev, l.next, l.due, l.state = nil, *head, due, waiting
	if l.next != nil {
		w.links(l.next).prev = t
	}
	*head = t
	w.len++
}

func (w *Wheel[T]) unlinkLocked(t *T, l *Links[T]) {
	if l.state != waiting {
		return
	}
	if l.next != nil {
		w.links(l.next).prev = l.prev
	}
	if l.prev != nil {
		w.links(l.prev).next = l.next
	} else {
		w.slots[l.due%Slots] = l.next
	}
	l.prev, l.next, l.state = nil, nil, idle
	w.len--
}
