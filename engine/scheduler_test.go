package engine

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// Lanes take turns, a slice each; within a lane the order is that of the pushes.
func TestLanesTakeTurns(t *testing.T) {
	var q taskQueue
	q.init()
	slices := map[*task]int{} // still to be served
	name := map[*task]string{}
	add := func(lane, as string, n int) {
		t := &task{job: &job{lane: lane}}
		slices[t], name[t] = n, as
		q.push(t)
	}
	add("big", "b1", 3)
	add("big", "b2", 2)
	add("small", "s1", 1)
	add("mid", "m1", 2)
	var order []string
	for len(slices) > 0 {
		next := q.next()
		order = append(order, name[next])
		slices[next]--
		done := slices[next] == 0
		if done {
			delete(slices, next)
		}
		q.turn(done)
		if len(order) == 4 {
			add("small", "s2", 1) // arrives while the others run
		}
	}
	want := "b1 s1 m1 b1 m1 b1 s2 b2 b2"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("served %s, want %s", got, want)
	}
	q.close()
	if q.next() != nil || len(q.lanes) != 0 || q.first != nil || q.last != nil {
		t.Errorf("left in the queue: %v", fmt.Sprint(q.lanes, q.first, q.last))
	}
}

// A push to a group does not wait for the hundred jobs that another system has.
func TestSystemsDoNotWaitForEachOther(t *testing.T) {
	const jobs, others = 100, 2 * small
	e := newEngine(t, Options{})
	startSwarm(t, e, "idle", 1_000)
	wires, err := openWires(others, new(net.Dialer), e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wires {
		defer w.Close()
	}
	for range jobs {
		if _, err := e.Post(testContext(t), ToSystem("swarm"), Message{}); err != nil {
			t.Fatal(err)
		}
	}
	r := push(t, e, ToGroup("1", "g"), "1")
	e.fanout.mu.Lock()
	left := e.fanout.jobs["swarm"]
	e.fanout.mu.Unlock()
	if r.Written != others || left < jobs/2 {
		t.Errorf("report %+v, and %d of the other system's %d jobs are left, want most", r, left, jobs)
	}
}
