package engine

import (
	"maps"
	"sync"
	"time"
)

// Stats are an engine's counters at one moment. Bytes are those of the clients'
// sockets, the handshakes included.
type Stats struct {
	Started                 time.Time
	Connections             int // open clients
	Systems, Groups         int // with at least one client
	MessagesIn, MessagesOut uint64
	BytesIn, BytesOut       uint64
	QueuedBytes             int64                  // memory of what waits for clients that do not read
	GatheredBytes           int64                  // memory of what clients have sent in part: heads, handshakes of TLS, messages
	Dropped                 uint64                 // messages given up because a client's queue was full
	Compressed              uint64                 // messages compressed: a push once, whatever its receivers
	Accepted                uint64                 // clients ever opened
	Closed                  map[CloseReason]uint64 // clients ever closed; every reason is present
	Refused                 map[string]uint64      // handshakes that failed, by a short stable reason
}

// Stats returns the counters. It takes no lock that a client waits for.
func (e *Engine) Stats() Stats {
	s := Stats{
		Started:     e.started,
		Connections: e.reg.Len(), Systems: e.reg.Systems(), Groups: e.reg.Groups(),
		QueuedBytes: e.backlog.out.Load(), GatheredBytes: e.backlog.in.Load(),
		Dropped: e.dropped.Load(), Compressed: e.compressed.Load(), Accepted: e.accepted.Load(),
		Closed:  make(map[CloseReason]uint64, numCloseReasons),
		Refused: e.refused.all(),
	}
	for _, l := range e.loops {
		s.MessagesIn += l.msgsIn.Load()
		s.MessagesOut += l.msgsOut.Load()
		s.BytesIn += l.bytesIn.Load()
		s.BytesOut += l.bytesOut.Load()
	}
	for _, r := range CloseReasons() {
		s.Closed[r] = e.closed[r].Load()
	}
	return s
}

// reasonCounters counts refusals by reasons that are constants in the code, which
// bounds it.
type reasonCounters struct {
	mu sync.Mutex
	n  map[string]uint64
}

func (c *reasonCounters) add(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]uint64{}
	}
	c.n[reason]++
}

func (c *reasonCounters) all() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}
