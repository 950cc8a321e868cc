package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"carillon/registry"
)

// A job is one push to many clients. Who serves a client with it claims it first, so
// that whoever comes to that client next finds it served: the worker or the caller of
// the push, and those who settle the client before a change.
type job struct {
	// Immutable once admitted.
	frame   *frame
	set     registry.Set[*Client]
	exclude []ID   // sorted
	lane    string // whose turn it takes: the system, or laneAll
	bytes   int64  // what it keeps in memory
	number  uint32 // in the order of admission; it wraps
	direct  *directJob

	left                     atomic.Int32 // who still works on it; see hold
	written, queued, dropped atomic.Int64
	done                     chan struct{} // closed when left is 0
}

// laneAll is the lane of ToAll.
const laneAll = ""

// A directJob is what a job has that its caller serves. Others of the same lane may run
// beside it, so that the numbers say nothing about who was served.
type directJob struct {
	prev, next *job // in scheduler.direct; guarded by scheduler.mu

	mu     sync.Mutex // guards the following field; below Client.mu
	served []ID       // about as many as small
}

// newJob makes a job for the receivers of set. Of what it is given it keeps the frame,
// and nothing of the caller's strings and slices, of which a few bytes may keep a
// megabyte in memory.
func newJob(f *frame, set registry.Set[*Client], lane string, exclude []ID) *job {
	j := &job{frame: f, set: set, lane: lane, done: make(chan struct{})}
	if len(exclude) > 0 {
		j.exclude = slices.Clone(exclude)
		slices.Sort(j.exclude)
	}
	return j
}

// jobBytes is what a job takes besides its frame and its exclusions, and taskBytes what
// each of its tasks does, with their places in queues and their shares of a lane.
const (
	jobBytes  = int64(unsafe.Sizeof(job{})) + 96 /* done */ + 128 /* the lane's name */
	taskBytes = int64(unsafe.Sizeof(task{})) + 4*8
)

// weigh sets bytes, for a job of the given number of tasks.
func (j *job) weigh(tasks int, compress bool) {
	j.bytes = j.frame.size(compress) + int64(cap(j.exclude))*8 + jobBytes + int64(tasks)*taskBytes
}

// hold keeps j from being done for n more who work on it; each ends with
// scheduler.release. False means that it is done, or will be in a moment: everybody has
// been served.
func (j *job) hold(n int32) bool {
	for left := j.left.Load(); left > 0; left = j.left.Load() {
		if j.left.CompareAndSwap(left, left+n) {
			return true
		}
	}
	return false
}

// matches reports whether c is one of the receivers at this moment.
func (j *job) matches(c *Client) bool { return j.set.Has(&c.member) && !j.excludes(c.ID()) }

func (j *job) excludes(id ID) bool {
	if len(j.exclude) == 0 {
		return false
	}
	_, out := slices.BinarySearch(j.exclude, id)
	return out
}

// claim reports whether c has not been served yet, and notes that it is now.
func (j *directJob) claim(c *Client) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if slices.Contains(j.served, c.ID()) {
		return false
	}
	j.served = append(j.served, c.ID())
	return true
}

// add counts what was done.
func (j *job) add(r *Report) {
	if r.Written > 0 {
		j.written.Add(int64(r.Written))
	}
	if r.Queued > 0 {
		j.queued.Add(int64(r.Queued))
	}
	if r.Dropped > 0 {
		j.dropped.Add(int64(r.Dropped))
	}
}

func (j *job) report() Report {
	r := Report{Written: int(j.written.Load()), Queued: int(j.queued.Load()), Dropped: int(j.dropped.Load())}
	r.Matched = r.Written + r.Queued + r.Dropped
	return r
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
		if !t.job.excludes(ID(m.ID())) {
			report.count(m.Value.sendOf(t.job, r))
		}
	}
	clear(batch[:n])
	t.job.add(&report)
	return !t.walk.Done()
}
