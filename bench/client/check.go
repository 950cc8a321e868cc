package client

import "carillon/bench/stamp"

// Totals is how many messages went to each stream.
type Totals struct {
	All     uint32   `json:"all"`
	Systems []uint32 `json:"systems"`
	Groups  []uint32 `json:"groups"`
	// Clients has one for each of the swarm's connections; nil if there were none.
	Clients []uint32 `json:"clients"`
	// Own says that the clients' own messages come back.
	Own bool `json:"own"`
}

// Check counts what the connections from first to last-1 have not got of what
// should have come. Call it once, at the end.
func (s *Swarm) Check(t Totals, first, last int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := first; i < min(last, len(s.conns)); i++ {
		c := &s.conns[i]
		own := uint32(0)
		if t.Own {
			own = c.sent
		}
		for k, total := range [stamp.Kinds]uint32{t.All, at(t.Systems, int(c.system)), at(t.Groups, int(c.group)), at(t.Clients, i), own} {
			c.missing(stamp.Kind(k), total)
		}
	}
}

func at(totals []uint32, i int) uint32 {
	if i < 0 || i >= len(totals) {
		return 0
	}
	return totals[i]
}

// missing counts what c lacks of the first total messages of a stream.
func (c *conn) missing(k stamp.Kind, total uint32) {
	if lost := c.track(k).Lost(total); lost > 0 && total > 0 {
		c.swarm.counts.Lost += int64(lost)
		c.swarm.complainf("client %d: lost %d of %d messages to its %v", c.number(), lost, total, k)
	}
}

// Begin says where the stream of a kind stood when the client was known to belong
// to it: whatever is sent from there on must come.
func (s *Swarm) Begin(i int, k stamp.Kind, base uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := &s.conns[i]; c.fresh&(1<<k) != 0 {
		c.track(k).Start(base)
	}
}

// Bind expects messages to a group from now on; call it before the server knows,
// and Begin when it does.
func (s *Swarm) Bind(i int, group int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.conns[i]
	c.group, c.groupEnd = group, noEnd
	c.track(stamp.Group).Start(noEnd)
	c.fresh |= 1 << stamp.Group
}

// Unbound says that no message of the client's group from number end on may come.
func (s *Swarm) Unbound(i int, end uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.conns[i]
	c.groupEnd = end
	if t := c.track(stamp.Group); c.fresh&(1<<stamp.Group) == 0 && t.Next() > end {
		s.counts.Wrong++
		s.complainf("client %d: got message %d of a group that it had left before message %d", c.number(), t.Next()-1, end)
	}
}

// Has reports whether the client has got every stream up to must.
func (s *Swarm) Has(i int, must [stamp.Kinds]uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range stamp.Kinds {
		if s.conns[i].track(k).Next() < must[k] {
			return false
		}
	}
	return true
}

// Missing counts what the client lacks of the streams up to must.
func (s *Swarm) Missing(i int, must [stamp.Kinds]uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range stamp.Kinds {
		s.conns[i].missing(k, must[k])
	}
}
