package engine

import (
	"runtime"
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

// A job is one push to many clients.
type job struct {
	frame   *frame
	set     registry.Set[*Client]
	exclude map[ID]struct{}
	lane    string // whose turn it takes: the system, or empty for ToAll
	bytes   int64

	left                     atomic.Int32 // tasks not done
	written, queued, dropped atomic.Int64
	done                     chan struct{} // closed when left is 0
}

// A task is a loop's part of a job.
type task struct {
	job  *job
	walk registry.Walk[*Client]
}

// serve sends to the next receivers. False means that there are none left.
func (t *task) serve(r *renderer, batch []*registry.Member[*Client]) bool {
	n := t.walk.Next(batch)
	for _, m := range batch[:n] {
		r.touched += m.Value.touch()
	}
	var report Report
	for _, m := range batch[:n] {
		if _, out := t.job.exclude[ID(m.ID())]; !out {
			report.count(m.Value.send(t.job.frame, r))
		}
	}
	clear(batch[:n])
	t.job.written.Add(int64(report.Written))
	t.job.queued.Add(int64(report.Queued))
	t.job.dropped.Add(int64(report.Dropped))
	return !t.walk.Done()
}

func (j *job) report() Report {
	r := Report{Written: int(j.written.Load()), Queued: int(j.queued.Load()), Dropped: int(j.dropped.Load())}
	r.Matched = r.Written + r.Queued + r.Dropped
	return r
}

// A scheduler admits jobs and gives each loop its task, in one order for all.
type scheduler struct {
	loops    []*loop
	maxJobs  int
	maxBytes int64

	mu    sync.Mutex     // guards the following fields
	jobs  map[string]int // by lane, those not done
	bytes int64          // of their messages
	stop  bool
	idle  *sync.Cond // signals len(jobs) == 0
}

func newScheduler(loops []*loop, o Options) *scheduler {
	s := &scheduler{loops: loops, maxJobs: o.MaxPendingPushes, maxBytes: o.MaxPendingBytes, jobs: map[string]int{}}
	s.idle = sync.NewCond(&s.mu)
	return s
}

// small is how many receivers are served by the caller itself, which is cheaper
// than waking the workers, unless their system has jobs to wait for.
const small = slice

// submit runs j or queues it. It returns ErrBusy, and does nothing, at a limit.
func (s *scheduler) submit(j *job) error {
	s.mu.Lock()
	switch n := s.jobs[j.lane]; {
	case s.stop:
		s.mu.Unlock()
		return ErrShutdown
	case n == 0 && j.set.Len() <= small:
		s.mu.Unlock()
		s.runHere(j)
		return nil
	case n >= s.maxJobs || s.bytes > 0 && s.bytes+j.bytes > s.maxBytes:
		s.mu.Unlock()
		return ErrBusy
	}
	s.jobs[j.lane]++
	s.bytes += j.bytes
	j.left.Store(int32(len(s.loops)))
	for _, l := range s.loops {
		l.tasks.push(&task{job: j, walk: j.set.Walk(l.index)})
	}
	s.mu.Unlock()
	return nil
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
	close(j.done)
}

// taskDone is called by the worker that finished one of j's tasks.
func (s *scheduler) taskDone(j *job) {
	if j.left.Add(-1) > 0 {
		return
	}
	s.mu.Lock()
	if s.jobs[j.lane]--; s.jobs[j.lane] == 0 {
		delete(s.jobs, j.lane)
	}
	s.bytes -= j.bytes
	if len(s.jobs) == 0 {
		s.idle.Broadcast()
	}
	s.mu.Unlock()
	close(j.done)
}

// close refuses further jobs; wait returns when those admitted are done.
func (s *scheduler) close() {
	s.mu.Lock()
	s.stop = true
	s.mu.Unlock()
}

func (s *scheduler) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.jobs) > 0 {
		s.idle.Wait()
	}
}

// A taskQueue is one loop's tasks: a queue of the lanes that have any, and the queue
// of each. What it holds is bounded by the scheduler.
type taskQueue struct {
	mu          sync.Mutex // guards the following fields
	ready       *sync.Cond // signals that there is a lane, or closed
	lanes       map[string]*taskLane
	first, last *taskLane // first is the one to serve next
	closed      bool
}

type taskLane struct {
	name  string
	tasks []*task
	next  *taskLane
}

func (q *taskQueue) init() {
	q.lanes = map[string]*taskLane{}
	q.ready = sync.NewCond(&q.mu)
}

func (q *taskQueue) push(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.lanes[t.job.lane]
	if lane == nil {
		lane = &taskLane{name: t.job.lane}
		q.lanes[lane.name] = lane
		q.lineUpLocked(lane)
		q.ready.Signal()
	}
	lane.tasks = append(lane.tasks, t)
}

// lineUpLocked puts a lane behind all others.
func (q *taskQueue) lineUpLocked(lane *taskLane) {
	if q.last == nil {
		q.first = lane
	} else {
		q.last.next = lane
	}
	q.last = lane
}

// next waits for the first task of the lane whose turn it is, nil when closed.
func (q *taskQueue) next() *task {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first == nil && !q.closed {
		q.ready.Wait()
	}
	if q.first == nil {
		return nil
	}
	return q.first.tasks[0]
}

// turn has the lane just served wait for its next turn, without its first task if
// that is done.
func (q *taskQueue) turn(done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.first
	if q.first = lane.next; q.first == nil {
		q.last = nil
	}
	lane.next = nil
	if done {
		lane.tasks[0] = nil
		lane.tasks = lane.tasks[1:]
	}
	if len(lane.tasks) > 0 {
		q.lineUpLocked(lane)
	} else {
		delete(q.lanes, lane.name)
	}
}

func (q *taskQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

// work fans out until the queue is closed and empty.
func (l *loop) work() {
	var batch [slice]*registry.Member[*Client]
	r := new(renderer)
	bell := newBell()
	defer bell.close()
	for {
		t := l.tasks.next()
		if t == nil {
			return
		}
		more := t.serve(r, batch[:])
		l.tasks.turn(!more)
		if !more {
			l.e.fanout.taskDone(t.job)
			if cap(r.buf) > maxPooled {
				r.buf = nil
			}
			*r = renderer{buf: r.buf[:0]}
		}
		// A push to one client goes before the next slice, also if the request for it
		// has only just arrived.
		bell.ring()
		runtime.Gosched()
	}
}
