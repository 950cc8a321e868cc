package engine

// A client is settled before it changes its groups or is closed: it gets what it has not
// got yet of the pushes that were admitted before, as if they had gone out in that
// moment. So a change takes its place behind those pushes, although the worker has not
// come to the client yet. Whoever of the worker, the caller of a push and those who
// settle a client is first serves it and counts it; each holds the job meanwhile, so
// that its report is whole when it is done.

// marks say up to which number a client has got its pushes, or has nothing to get: those
// of its system and of groups there, and those to all. Within each of these two lanes
// pushes come in the order of their numbers. Guarded by Client.mu.
type marks struct{ system, all uint32 }

func (m *marks) of(lane string) *uint32 {
	if lane == laneAll {
		return &m.all
	}
	return &m.system
}

// before reports whether number a is before b. Numbers wrap: it is right for two that
// are less than 2^31 pushes apart, which marks.renew sees to.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// staleMark is the age at which a mark is renewed, and more pushes than can be admitted
// while one waits for its turn.
const staleMark = 1 << 30

// renew moves marks that have fallen far behind the last push, so that the wrapping
// numbers do not come to stand for the future. The wheel visits a client at least every
// wheel.Slots ticks, in which nobody pushes staleMark times.
func (m *marks) renew(last uint32) {
	for _, mark := range []*uint32{&m.system, &m.all} {
		if last-*mark > staleMark {
			*mark = last - staleMark
		}
	}
}

// claimLocked reports whether c is to get j now, and notes that it has. c.mu must be
// held until c has it.
func (c *Client) claimLocked(j *job) bool {
	if j.direct != nil {
		return j.direct.claim(c)
	}
	mark := c.marks.of(j.lane)
	if !before(*mark, j.number) {
		return false
	}
	*mark = j.number
	return true
}

// sendOf is send for a push to many. It returns NoClient if c has been served before.
func (c *Client) sendOf(j *job, r *renderer) Outcome {
	b := r.render(j.frame, c)
	c.mu.Lock()
	if !c.claimLocked(j) {
		c.mu.Unlock()
		return NoClient
	}
	return c.deliverAndUnlock(b, j.frame)
}

// settle serves c with what it is to get of the pushes to its system that were admitted
// before, and with toAll of those to everybody, too. It costs next to nothing while none
// waits. It does not block, and must be called without a Client.mu.
func (c *Client) settle(toAll bool) {
	s := c.loop.e.fanout
	if s.pending.Load() == 0 || !c.member.Live() {
		return
	}
	s.settle(c, c.System())
	if toAll {
		s.settle(c, laneAll)
	}
}

func (s *scheduler) settle(c *Client, lane string) {
	s.mu.Lock()
	last, waiting := s.number.Load(), s.jobs[lane] > 0
	var direct []*job
	for j := s.direct[lane]; j != nil; j = j.direct.next {
		if j.set.Has(&c.member) && j.hold(1) {
			direct = append(direct, j)
		}
	}
	s.mu.Unlock()
	if len(direct) == 0 && !waiting {
		return
	}
	r := renderers.Get().(*renderer)
	defer r.release()
	for _, j := range direct {
		s.serve(c, j, r)
	}
	var block [64]*job
	for waiting {
		c.mu.Lock()
		after := *c.marks.of(lane)
		c.mu.Unlock()
		n := c.loop.tasks.pending(lane, after, last, block[:])
		if n == 0 {
			return
		}
		end := block[n-1].number
		for _, j := range block[:n] {
			s.serve(c, j, r)
		}
		// Who joins a group now does not get what was pushed to it before.
		c.mu.Lock()
		if mark := c.marks.of(lane); before(*mark, end) {
			*mark = end
		}
		c.mu.Unlock()
		clear(block[:n])
	}
}

// serve sends j to c, if it is to get it, and releases j.
func (s *scheduler) serve(c *Client, j *job, r *renderer) {
	if j.matches(c) {
		var report Report
		report.count(c.sendOf(j, r))
		j.add(&report)
	}
	s.release(j)
}
