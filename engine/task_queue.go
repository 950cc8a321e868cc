package engine

import (
	"runtime"
	"sort"
	"sync"

	"carillon/registry"
)

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
	tasks []*task // in the order of their jobs' numbers
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

// pending puts the lane's first jobs behind number after, up to number last, into dst,
// and returns how many there are. Each is held; the task keeps it from being done until
// then.
func (q *taskQueue) pending(lane string, after, last uint32, dst []*job) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[lane]
	if l == nil {
		return 0
	}
	from := sort.Search(len(l.tasks), func(i int) bool { return before(after, l.tasks[i].job.number) })
	for _, t := range l.tasks[from:] {
		if n == len(dst) || before(last, t.job.number) {
			break
		}
		t.job.hold(1)
		dst[n] = t.job
		n++
	}
	return n
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
			l.e.fanout.release(t.job)
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
