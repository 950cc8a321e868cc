package client

import (
	"encoding/binary"

	"carillon/engine/ws"
)

// Ping has the connections from first to last-1 ping the server, window of them at a
// time: each pong, which Counts.Pongs counts, leads to the next client's ping. It
// does not wait for them.
func (s *Swarm) Ping(first, last, window int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextPing, s.lastPing = first, last
	for range window {
		s.pingNext()
	}
}

// pingNext sends one ping, if there is one to send. s.mu must be held.
func (s *Swarm) pingNext() {
	for s.nextPing < s.lastPing {
		c := &s.conns[s.nextPing]
		s.nextPing++
		if c.state == up {
			c.write(ws.OpPing, binary.BigEndian.AppendUint32(nil, c.number()))
			return
		}
	}
}

// pong takes a pong; one that answers no ping is as good as none.
func (c *conn) pong(payload []byte) {
	if s := c.swarm; len(payload) == 4 && binary.BigEndian.Uint32(payload) == c.number() {
		s.counts.Pongs++
		s.pingNext()
	}
}
