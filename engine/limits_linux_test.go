package engine

import (
	"encoding/json"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func init() { roles["crowd"] = crowdRole }

// A crowd is clients in a child that come and leave as they are told, and answer
// for what they get.
type crowd struct{ *child }

// A crowdOrder has one of its fields set, but for Patience.
type crowdOrder struct {
	Open     int
	Patience time.Duration // how long each waits for the answer to its handshake
	Close    int
	Await    bool // until everybody has the push of Number
	Number   int
}

type crowdState struct {
	Open    int // clients that are connected
	Refused int // of the last Open: 503 with Retry-After
	Failed  int // of the last Open: closed, or not answered
	Reached int // of the last Await: clients whose last push is Number, and that missed none
}

func (c crowd) open(n int, patience time.Duration) (now crowdState) {
	c.t.Helper()
	c.ask(crowdOrder{Open: n, Patience: patience}, &now)
	return now
}

func (c crowd) close(n int) (now crowdState) {
	c.t.Helper()
	c.ask(crowdOrder{Close: n}, &now)
	return now
}

func (c crowd) reached(number int) int {
	c.t.Helper()
	var now crowdState
	c.ask(crowdOrder{Await: true, Number: number}, &now)
	return now.Reached
}

// A crowdMember reads what it gets.
type crowdMember struct {
	*wire
	last atomic.Int64 // number of the last push; -1 before the first, -2 if one was missed
}

func (m *crowdMember) listen() {
	m.each(func(payload []byte) bool {
		n, last := int64(number(payload)), m.last.Load()
		if last != -1 && n != last+1 {
			n = -2
		}
		m.last.Store(n)
		return n != -2
	})
}

func crowdRole(spec []byte, p *parent) error {
	var addr string
	if err := json.Unmarshal(spec, &addr); err != nil {
		return err
	}
	var members []*crowdMember
	for {
		var order crowdOrder
		if err := p.hear(&order); err != nil {
			return err
		}
		var now crowdState
		switch {
		case order.Open > 0:
			var mu sync.Mutex
			var opening sync.WaitGroup
			limit := make(chan struct{}, 256)
			for range order.Open {
				limit <- struct{}{}
				opening.Go(func() {
					defer func() { <-limit }()
					w, err := openWire(&net.Dialer{Timeout: order.Patience}, addr, "system_id=1&group_name=g")
					mu.Lock()
					defer mu.Unlock()
					var refused *errRefused
					switch {
					case err == nil:
						m := &crowdMember{wire: w}
						m.last.Store(-1)
						members = append(members, m)
						go m.listen()
					case errors.As(err, &refused) && refused.status == 503 && refused.retryAfter != "":
						now.Refused++
					default:
						now.Failed++
					}
				})
			}
			opening.Wait()
		case order.Close > 0:
			for _, m := range members[:order.Close] {
				m.Close()
			}
			members = members[order.Close:]
		case order.Await:
			for end := time.Now().Add(20 * time.Second); now.Reached < len(members) && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				now.Reached = 0
				for _, m := range members {
					if m.last.Load() == int64(order.Number) {
						now.Reached++
					}
				}
			}
		}
		now.Open = len(members)
		if err := p.say(now); err != nil {
			return err
		}
	}
}

// reachAll pushes to all, and checks that it reaches the clients that there are.
func reachAll(t *testing.T, s *server, c crowd, number, clients int) {
	t.Helper()
	if r := s.push(number, 0); r.Matched != clients || r.Dropped > 0 {
		t.Fatalf("push %d: %+v, want %d matched, none dropped", number, r, clients)
	}
	if n := c.reached(number); n != clients {
		t.Fatalf("push %d reached %d of %d clients", number, n, clients)
	}
}

// A server that has used up its descriptors refuses further clients, does not spin
// meanwhile, has lost none of those it had, and takes new ones when some have left.
func TestOutOfDescriptors(t *testing.T) {
	limit, spare := 17_500/fewer, 64 // the server needs some for itself
	s := startServer(t, serverSpec{Descriptors: uint64(limit)})
	c := crowd{startChild(t, "crowd", s.addr)}
	full := c.open(limit+100, 2*time.Second)
	if full.Open < limit-spare || full.Open >= limit || full.Refused+full.Failed != limit+100-full.Open {
		t.Fatalf("with %d descriptors the clients saw %+v", limit, full)
	}
	reachAll(t, s, c, 0, full.Open)

	// Twice: at the clients' limit, and when something else takes every descriptor that
	// is free for a moment.
	for i, order := range []serverOrder{{}, {Hog: true}} {
		var before serverState
		s.ask(order, &before)
		start := time.Now()
		more := c.open(100, 2*time.Second)
		if more.Open != full.Open {
			t.Fatalf("a full server let %d in", more.Open-full.Open)
		}
		// A client that is slow to send its request may find the connection reset.
		if more.Refused < 50 {
			t.Errorf("%d of 100 were answered 503", more.Refused)
		}
		after, passed := s.state(), time.Since(start)
		cpu, lines := after.CPU-before.CPU, after.LogLines-before.LogLines
		t.Logf("%d clients of %d descriptors; 100 more at the door for %v cost %v of CPU and %d lines in the log",
			full.Open, limit, passed, cpu, lines)
		// It spins if it tries for each of them more than once in a while.
		if lines > 10+int64(passed/time.Second) {
			t.Errorf("%d lines in the log in %v", lines, passed)
		}
		if cpu > time.Second {
			t.Errorf("%v of CPU in %v", cpu, passed)
		}
		reachAll(t, s, c, 1+i, full.Open)
	}
	s.ask(serverOrder{Spare: true}, new(serverState))

	left := c.close(spare + 400).Open // the 100 that gave up are in the backlog, too
	eventually(t, "they have left", func() bool { return s.state().Connections == left })
	if again := c.open(200, 20*time.Second); again.Open != left+200 {
		t.Fatalf("with descriptors for 200 there again, the clients saw %+v", again)
	}
	reachAll(t, s, c, 3, left+200)
	if n := s.state().Connections; n != left+200 {
		t.Errorf("%d clients at the end, want %d", n, left+200)
	}
}

// The same at MaxConnections, where each of them gets a proper answer.
func TestFullServer(t *testing.T) {
	limit := 2_000 / fewer
	newcomers := min(100, RefusedAtOnce(limit))
	s := startServer(t, serverSpec{MaxConnections: limit})
	c := crowd{startChild(t, "crowd", s.addr)}
	c.open(limit, 20*time.Second)
	for round := range 3 {
		if full := c.open(newcomers, 20*time.Second); full.Open != limit || full.Refused != newcomers {
			t.Fatalf("with %d places the clients saw %+v", limit, full)
		}
		reachAll(t, s, c, round, limit)
		c.close(50)
		eventually(t, "they have left", func() bool { return s.state().Sockets == limit-50 })
		c.open(50, 20*time.Second)
	}
	if n := s.state().Refused[labelMaxConnections]; n != uint64(3*newcomers) {
		t.Errorf("%d refused, want %d", n, 3*newcomers)
	}
}
