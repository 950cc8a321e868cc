package engine

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// A standstill is clients of system 1 and group g, so many that a push to them is for the
// workers, and one more for each loop, whom a test can hold the worker up with.
type standstill struct {
	t     *testing.T
	e     *Engine
	wires []*wire
	plugs []*Client
	jobs  []*job
}

func standStill(t *testing.T, o Options) *standstill {
	cr := &standstill{t: t, e: newEngine(t, o)}
	var err error
	if cr.wires, err = openWires(2*small, new(net.Dialer), cr.e.Addr().String()); err != nil {
		t.Fatal(err)
	}
	for _, w := range cr.wires {
		t.Cleanup(func() { w.Close() })
		w.SetDeadline(time.Now().Add(time.Minute))
	}
	for _, l := range cr.e.loops {
		for i, w := range cr.wires {
			if c, _ := cr.e.Client(w.id); c.loop == l {
				cr.plugs = append(cr.plugs, c)
				cr.wires = append(cr.wires[:i:i], cr.wires[i+1:]...)
				go w.each(func([]byte) bool { return true })
				break
			}
		}
	}
	if len(cr.plugs) != len(cr.e.loops) {
		t.Fatalf("%d of %d loops have clients", len(cr.plugs), len(cr.e.loops))
	}
	return cr
}

func (cr *standstill) hold() {
	for _, c := range cr.plugs {
		c.mu.Lock()
	}
}

func (cr *standstill) letGo() {
	for _, c := range cr.plugs {
		c.mu.Unlock()
	}
}

// post makes a push whose data is {"n":n}.
func (cr *standstill) post(to Target, n int) {
	cr.t.Helper()
	j, _, err := cr.e.push(testContext(cr.t), to, Message{Data: numbered(n, 0)})
	if err != nil {
		cr.t.Fatal(err)
	}
	cr.jobs = append(cr.jobs, j)
}

// matched waits for all pushes and returns how many clients each of them had.
func (cr *standstill) matched() (n []int) {
	for _, j := range cr.jobs {
		<-j.done
		r := j.report()
		if r.Dropped > 0 {
			cr.t.Errorf("report %+v, want none dropped", r)
		}
		n = append(n, r.Matched)
	}
	return n
}

// expect reads pushes with the given numbers.
func (w *wire) expect(t *testing.T, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		_, b, err := w.read()
		if err != nil {
			t.Fatalf("client %v waits for push %d: %v", w.id, n, err)
		}
		if got := number(b); got != n {
			t.Fatalf("client %v got push %d (%q), want %d", w.id, got, b, n)
		}
	}
}

// A client that is closed, or taken out of a group, while the worker is busy with
// others has got what was pushed before, once and in order, and is counted.
func TestChangesComeBehindPushes(t *testing.T) {
	targets := map[string]Target{"group": ToGroup("1", "g"), "system": ToSystem("1"), "all": ToAll()}
	closing := func(cr *standstill, w *wire) {
		if end := w.each(func(b []byte) bool { cr.t.Errorf("got %q", b); return true }); end != (ended{3500, io.EOF}) {
			cr.t.Errorf("the client saw %+v, want a close frame of 3500 and EOF", end)
		}
	}
	changes := []struct {
		name   string
		change func(cr *standstill, w *wire)
		after  func(cr *standstill, w *wire)
		stays  bool
	}{
		{"Engine.Close", func(cr *standstill, w *wire) {
			if err := cr.e.Close("1", w.id, ""); err != nil {
				cr.t.Error(err)
			}
		}, closing, false},
		{"Client.Close", func(cr *standstill, w *wire) {
			if c, _ := cr.e.Client(w.id); !c.Close("") {
				cr.t.Error("it was closed before")
			}
		}, closing, false},
		{"Unbind", func(cr *standstill, w *wire) {
			if removed, err := cr.e.Unbind("1", w.id, "g"); !removed || err != nil {
				cr.t.Errorf("Unbind: %v, %v", removed, err)
			}
		}, func(*standstill, *wire) {}, true},
		{"Bind to another", func(cr *standstill, w *wire) {
			if added, err := cr.e.Bind("1", w.id, "h"); !added || err != nil {
				cr.t.Errorf("Bind: %v, %v", added, err)
			}
		}, func(*standstill, *wire) {}, true},
	}
	for target, to := range targets {
		for _, change := range changes {
			if target == "all" && change.stays {
				continue // groups do not matter to it
			}
			t.Run(target+"/"+change.name, func(t *testing.T) {
				cr := standStill(t, Options{})
				cr.hold()
				for n := range 100 { // more than one block of a settling
					cr.post(to, n)
				}
				w := cr.wires[0]
				change.change(cr, w)
				var all []int
				for n := range 100 {
					all = append(all, n)
				}
				w.expect(t, all...)
				cr.letGo()
				for _, other := range cr.wires[1:] {
					other.expect(t, all...)
				}
				for n, matched := range cr.matched() {
					if matched != 2*small {
						t.Errorf("push %d had %d receivers, want %d", n, matched, 2*small)
					}
				}
				change.after(cr, w)
			})
		}
	}
}

// Who joins gets what is pushed from then on, and leaves nothing out of it: a client
// that connects, and one that is bound to a group.
func TestJoinersComeBehindPushes(t *testing.T) {
	cr := standStill(t, Options{})
	for _, w := range cr.wires[1:] {
		if _, err := cr.e.Bind("1", w.id, "h"); err != nil {
			t.Fatal(err)
		}
	}
	bound := cr.wires[0]
	cr.hold()
	cr.post(ToSystem("1"), 0)
	cr.post(ToGroup("1", "h"), 1) // more than small
	cr.post(ToAll(), 2)
	if _, err := cr.e.Bind("1", bound.id, "h"); err != nil {
		t.Fatal(err)
	}
	opened := dialWire(t, cr.e, "system_id=1&group_name=h")
	cr.post(ToGroup("1", "h"), 3)
	if _, err := cr.e.Unbind("1", bound.id, "h"); err != nil {
		t.Fatal(err)
	}
	cr.post(ToGroup("1", "h"), 4)
	if _, err := cr.e.Bind("1", bound.id, "h"); err != nil {
		t.Fatal(err)
	}
	cr.post(ToGroup("1", "h"), 5)
	cr.post(ToSystem("1"), 6)
	bound.expect(t, 0, 3)
	cr.letGo()
	others := len(cr.wires) - 1
	want := []int{2 * small, others, 2 * small, others + 2, others + 1, others + 2, 2*small + 1}
	if got := cr.matched(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the pushes had %v receivers, want %v", got, want)
	}
	// The push to all takes turns with those to the system.
	seen := map[int]int{}
	for range 3 {
		_, b, err := bound.read()
		if err != nil {
			t.Fatal(err)
		}
		seen[number(b)]++
	}
	if fmt.Sprint(seen) != "map[2:1 5:1 6:1]" {
		t.Errorf("the bound client got %v, want 2, 5 and 6", seen)
	}
	opened.expect(t, 3, 4, 5, 6)
}

// A push to few, which runs on its caller's goroutine, is settled as well.
func TestChangesComeBehindSmallPushes(t *testing.T) {
	for _, change := range []string{"close", "unbind"} {
		t.Run(change, func(t *testing.T) {
			const clients = 10
			e := newEngine(t, Options{Pollers: 1})
			var wires []*wire
			for range clients {
				wires = append(wires, dialWire(t, e, "system_id=1&group_name=g"))
			}
			// The registry's order is the caller's.
			order := map[ID]int{}
			for c := range e.Clients(Query{System: "1", Group: "g"}) {
				order[c.ID()] = len(order)
			}
			var served, plugged, last *wire
			for _, w := range wires {
				switch order[w.id] {
				case 0:
					served = w
				case 1:
					plugged = w
				case clients - 1:
					last = w
				}
			}
			plug, _ := e.Client(plugged.id)
			plug.mu.Lock()
			report := make(chan Report)
			go func() { report <- push(t, e, ToGroup("1", "g"), string(numbered(0, 0))) }()
			served.expect(t, 0)
			for _, w := range []*wire{served, last} {
				if change == "close" {
					if err := e.Close("1", w.id, ""); err != nil {
						t.Fatal(err)
					}
				} else if _, err := e.Unbind("1", w.id, "g"); err != nil {
					t.Fatal(err)
				}
			}
			last.expect(t, 0)
			plug.mu.Unlock()
			if r := <-report; r.Matched != clients || r.Written != clients {
				t.Errorf("report %+v, want %d written", r, clients)
			}
			if n := e.fanout.pending.Load(); n != 0 || len(e.fanout.direct) != 0 {
				t.Errorf("%d pushes are left", n)
			}
			// None came twice.
			push(t, e, ToAll(), string(numbered(1, 0)))
			for _, w := range wires {
				switch {
				case change == "close" && (w == served || w == last):
					if op, b, err := w.read(); err != nil || op != 8 {
						t.Errorf("behind the push came %v %q, %v, want a close frame", op, b, err)
					}
				case w == served || w == last:
					w.expect(t, 1)
				default:
					w.expect(t, 0, 1)
				}
			}
		})
	}
}

// What a client that is settled cannot take ends it like any other push would, in the
// middle of being closed.
func TestSettlingASlowClient(t *testing.T) {
	ends := make(chan CloseReason, 4*small)
	cr := standStill(t, Options{MaxQueuedBytes: 1 << 10, OnClose: func(_ *Client, why CloseReason) { ends <- why }})
	w := cr.wires[0]
	c, _ := cr.e.Client(w.id)
	stopReading(t, c)
	cr.hold()
	for n := range 10 {
		cr.post(ToSystem("1"), n)
	}
	if err := cr.e.Close("1", w.id, ""); err != ErrNoClient {
		t.Errorf("Close: %v, want ErrNoClient: it was closed as a slow consumer", err)
	}
	if why := <-ends; why != CloseSlowConsumer {
		t.Errorf("closed for %v", why)
	}
	cr.letGo()
	for _, j := range cr.jobs {
		<-j.done
	}
}

// stopReading fills the budget of a client whose peer does not read: the queue has no
// room for another message.
func stopReading(t *testing.T, c *Client) {
	t.Helper()
	big := make([]byte, 512<<10)
	eventually(t, "it is full", func() bool {
		c.mu.Lock()
		full := c.out != nil
		c.mu.Unlock()
		if !full {
			c.Echo(Binary, big)
		}
		return full
	})
	for range 9 {
		c.Echo(Binary, make([]byte, 110))
	}
}

// Numbers wrap, and a client that got no push for a long time is not taken for one that
// is ahead.
func TestMarks(t *testing.T) {
	for _, tt := range []struct {
		name              string
		mark, number, now uint32
		served            bool
	}{
		{"behind", 5, 6, 6, false},
		{"the same", 6, 6, 6, true},
		{"ahead", 7, 6, 7, true},
		{"across the wrap", 1<<32 - 1, 0, 0, false},
		{"served across the wrap", 0, 1<<32 - 1, 0, true},
		{"long ago", 5, 5 + 1<<31 - 1, 5 + 1<<31 - 1, false},
	} {
		c := &Client{marks: marks{tt.mark, tt.mark}}
		for range 3 { // visits
			c.marks.renew(tt.now)
		}
		for _, lane := range []string{"1", laneAll} {
			if got := !c.claimLocked(&job{lane: lane, number: tt.number}); got != tt.served {
				t.Errorf("%s, lane %q: served %v, want %v", tt.name, lane, got, tt.served)
			}
			if c.claimLocked(&job{lane: lane, number: tt.number}) {
				t.Errorf("%s, lane %q: served twice", tt.name, lane)
			}
		}
	}
	// Visited often enough, it stays right however long nothing comes.
	m := marks{}
	last := uint32(0)
	for range 20 {
		last += 1<<30 - 1
		m.renew(last)
		if !before(m.system, last) || last-m.system > staleMark {
			t.Fatalf("at %d the mark is %d", last, m.system)
		}
	}
}
