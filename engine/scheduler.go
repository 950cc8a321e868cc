package engine

import (
	"sync"
	"sync/atomic"

	"carillon/registry"
)

// Fan-out. A push to many is a job; each loop has a task of it, which walks the
// loop's own part of the receivers. A worker takes a slice of one system's first
// task, then of the next system's, and so on: a system with a million clients
// holds up another for one slice. Within a system tasks run in the order of the
// pushes, and a client belongs to one loop: so every client gets them in order.

// slice is how many receivers a worker serves before it looks at other systems
// and lets other goroutines run: a third of a millisecond of writes.
const slice = 64

// A scheduler admits pushes and gives each loop its task of a job, in one order for
// all.
type scheduler struct {
	loops    []*loop
	maxJobs  int
	maxBytes int64

	// pushes are all that are under way, those to single clients, too. Shutdown waits
	// for them.
	pushes inFlight
	// pending counts the jobs that are not done: without any, nobody is to be settled.
	pending atomic.Int32
	number  atomic.Uint32 // of the last job; written with mu held

	mu     sync.Mutex      // guards the following fields
	jobs   map[string]int  // by lane, those that loops have tasks of
	bytes  int64           // what they keep
	direct map[string]*job // by lane, the first of those that run on their callers
}

func newScheduler(loops []*loop, o Options) *scheduler {
	return &scheduler{
		loops: loops, maxJobs: o.MaxPendingPushes, maxBytes: o.MaxPendingBytes,
		pushes: inFlight{idle: make(chan struct{})},
		jobs:   map[string]int{}, direct: map[string]*job{},
	}
}

// small is how many receivers are served by the caller itself, which is cheaper
// than waking the workers, unless their system has jobs to wait for.
const small = slice

// submit runs j or queues it. It does nothing, and returns ErrBusy at a limit, and
// ErrShutdown after close.
func (s *scheduler) submit(j *job) error {
	if !s.pushes.enter() {
		return ErrShutdown
	}
	if !s.admit(j) {
		s.pushes.leave()
		return ErrBusy
	}
	if j.direct != nil {
		s.runHere(j)
	}
	return nil
}

// admit gives j its number and, in the same moment, its tasks to the loops. A small one
// without others to wait for becomes a direct one, which keeps nothing that its caller
// does not. False means that there is no room.
func (s *scheduler) admit(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.jobs[j.lane]
	if receivers := j.set.Len(); n == 0 && receivers <= small {
		j.direct = &directJob{next: s.direct[j.lane], served: make([]ID, 0, receivers)}
		if j.direct.next != nil {
			j.direct.next.direct.prev = j
		}
		s.direct[j.lane] = j
		j.left.Store(1)
		s.numberLocked(j)
		return true
	}
	if n >= s.maxJobs || s.bytes > 0 && s.bytes+j.bytes > s.maxBytes {
		return false
	}
	s.jobs[j.lane]++
	s.bytes += j.bytes
	j.left.Store(int32(len(s.loops)))
	s.numberLocked(j)
	for _, l := range s.loops {
		l.tasks.push(&task{job: j, walk: j.set.Walk(l.index)})
	}
	return true
}

func (s *scheduler) numberLocked(j *job) {
	s.pending.Add(1)
	j.number = s.number.Add(1)
}

// runHere serves all of j's receivers on the calling goroutine.
func (s *scheduler) runHere(j *job) {
	var batch [slice]*registry.Member[*Client]
	r := renderers.Get().(*renderer)
	defer r.release()
	for _, l := range s.loops {
		t := task{job: j, walk: j.set.Walk(l.index)}
		for t.serve(r, batch[:]) {
		}
	}
	s.release(j)
}

// release is called by who has finished a part of j, and counted it.
func (s *scheduler) release(j *job) {
	if j.left.Add(-1) > 0 {
		return
	}
	s.mu.Lock()
	if j.direct != nil {
		s.unlinkLocked(j)
	} else {
		if s.jobs[j.lane]--; s.jobs[j.lane] == 0 {
			delete(s.jobs, j.lane)
		}
		s.bytes -= j.bytes
	}
	s.mu.Unlock()
	s.pending.Add(-1)
	close(j.done)
	s.pushes.leave()
}

// close refuses further pushes. What was admitted goes on; pushes.idle says when it is
// done.
func (s *scheduler) close() { s.pushes.close() }

// unlinkLocked takes j out of its lane's direct jobs.
func (s *scheduler) unlinkLocked(j *job) {
	prev, next := j.direct.prev, j.direct.next
	if next != nil {
		next.direct.prev = prev
	}
	switch {
	case prev != nil:
		prev.direct.next = next
	case next != nil:
		s.direct[j.lane] = next
	default:
		delete(s.direct, j.lane)
	}
}
