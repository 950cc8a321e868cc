package engine

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	soakFor  = flag.Duration("soak", soakDefault(), "how long TestSoak runs")
	soakSeed = flag.Uint64("soak-seed", 0, "what TestSoak does at random; 0: something else each time")
)

func soakDefault() time.Duration {
	if full() {
		return 4 * time.Second
	}
	return 1500 * time.Millisecond
}

const (
	soakSystems   = 3
	soakGroups    = 4 // of each system; the last is for those who join and leave
	soakResidents = 60
	soakVisitors  = 40
)

// A soak is clients that come, go, change groups, stop reading and break off at
// random, while numbered pushes go to each of its targets, one after the other. No
// queue may lose a message (CloseSlow), so whoever belongs to a target for a while
// gets an unbroken run of its numbers.
type soak struct {
	t       *testing.T
	e       *Engine
	seed    uint64
	targets map[string]*soakTarget
	over    atomic.Bool

	pushes, deliveries, visits, slow, resets atomic.Int64
}

type soakTarget struct {
	Target
	name   string
	pushed atomic.Int64 // the pushes that have returned
}

// push pushes to x until the soak is over.
func (s *soak) push(x *soakTarget, rnd *rand.Rand) {
	for !s.over.Load() {
		n := x.pushed.Load()
		data := fmt.Appendf(nil, `{"to":%q,"n":%d,"pad":"%0*d"}`, x.name, n, 1+rnd.IntN(2000), n)
		r, err := s.e.Push(context.Background(), x.Target, Message{Data: data})
		if err != nil || r.Matched != r.Written+r.Queued+r.Dropped {
			s.t.Errorf("push %d to %s: %+v, %v", n, x.name, r, err)
			return
		}
		x.pushed.Add(1)
		s.pushes.Add(1)
		s.deliveries.Add(int64(r.Written + r.Queued))
		time.Sleep(time.Duration(rnd.IntN(50)) * time.Millisecond)
	}
}

// A soakClient keeps account of what one client gets.
type soakClient struct {
	*wire
	s      *soak
	system string
	// since has the targets to which the client belongs all the time, and the pushes
	// that had returned when it did.
	since map[string]int64
	due   map[string]int64 // the next number of each target that it has heard of
}

// connect opens a client that belongs to all, to a system and to a group of it.
func (s *soak) connect(d *net.Dialer, system, group string) *soakClient {
	w, err := openWire(d, s.e.Addr().String(), "system_id="+system+"&group_name="+group)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	w.SetDeadline(time.Now().Add(*soakFor + 2*time.Minute)) // ends a hang
	c := &soakClient{w, s, system, map[string]int64{}, map[string]int64{}}
	for _, name := range []string{"all", system, system + "/" + group} {
		c.since[name] = s.targets[name].pushed.Load()
	}
	return c
}

// listen reads until the mark, which is the client's own id, or until the end.
func (c *soakClient) listen() (end ended, marked bool) {
	end = c.each(func(payload []byte) bool {
		var env struct {
			Data struct {
				To   string
				N    int64
				Mark ID
			}
		}
		if err := json.Unmarshal(payload, &env); err != nil {
			c.s.t.Errorf("client %v got %q: %v", c.id, payload, err)
		}
		d := env.Data
		if d.Mark != 0 {
			marked = d.Mark == c.id
			return false
		}
		due, heard := c.due[d.To]
		since, belongs := c.since[d.To]
		switch {
		case heard && (d.N < due || belongs && d.N > due):
			c.s.t.Errorf("client %v got push %d to %s instead of %d", c.id, d.N, d.To, due)
		case !heard && belongs && d.N > since+1: // that of since may have begun before it came
			c.s.t.Errorf("client %v came at push %d to %s and got none before %d", c.id, since, d.To, d.N)
		}
		c.due[d.To] = d.N + 1
		return true
	})
	return end, marked
}

// catchUp checks that the client has everything that was pushed for it until now.
// False means that it has ended instead; the run was unbroken even so.
func (c *soakClient) catchUp() (end ended, open bool) {
	pushed := map[string]int64{}
	for name := range c.since {
		pushed[name] = c.s.targets[name].pushed.Load()
	}
	mark := Message{Data: fmt.Appendf(nil, `{"mark":%d}`, c.id)}
	if _, err := c.s.e.Push(context.Background(), ToClient(c.system, c.id), mark); err != nil && !errors.Is(err, ErrNoClient) {
		c.s.t.Error(err)
	}
	if end, open = c.listen(); !open {
		return end, false
	}
	for name, n := range pushed {
		if n > c.since[name]+1 && c.due[name] < n {
			c.s.t.Errorf("client %v has the pushes to %s up to %d of %d", c.id, name, c.due[name]-1, n-1)
		}
	}
	return end, true
}

// reside stays to the end.
func (s *soak) reside(c *soakClient, rnd *rand.Rand) {
	for over := false; !over; {
		time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
		over = s.over.Load()
		if end, open := c.catchUp(); !open {
			s.t.Errorf("client %v, who always read, was closed: %+v", c.id, end)
			return
		}
		s.change(c, rnd)
	}
}

// change has a client join or leave the loose group of its system.
func (s *soak) change(c *soakClient, rnd *rand.Rand) {
	change := s.e.Bind
	if rnd.IntN(2) == 0 {
		change = s.e.Unbind
	}
	if _, err := change(c.system, c.id, fmt.Sprint("g", soakGroups-1)); err != nil && !errors.Is(err, ErrNoClient) {
		s.t.Error(err)
	}
}

// visit is one short stay.
func (s *soak) visit(rnd *rand.Rand) {
	s.visits.Add(1)
	system, group := fmt.Sprint("s", rnd.IntN(soakSystems)), fmt.Sprint("g", rnd.IntN(soakGroups-1))
	if rnd.IntN(8) == 0 { // not even that
		conn, err := net.Dial("tcp", s.e.Addr().String())
		if err != nil {
			s.t.Error(err)
			return
		}
		request := fmt.Sprintf(upgrade, "system_id="+system)
		io.WriteString(conn, request[:rnd.IntN(len(request))])
		reset(conn)
		return
	}
	deaf := rnd.IntN(4) == 0
	d := new(net.Dialer)
	if deaf {
		d.Control = smallBuffers
	}
	c := s.connect(d, system, group)
	if c == nil {
		return
	}
	defer c.Close()
	for stay := rnd.IntN(6); stay > 0 && !s.over.Load(); stay-- {
		pause := time.Duration(rnd.IntN(50)) * time.Millisecond
		if deaf {
			pause *= 40
		}
		time.Sleep(pause)
		if end, open := c.catchUp(); !open {
			// The close frame is lost if it did not read for longer than CloseTimeout.
			if !deaf || end.code != 3008 && end.code != 0 {
				s.t.Errorf("client %v (deaf: %v) was closed: %+v", c.id, deaf, end)
			}
			s.slow.Add(1)
			return
		}
		s.change(c, rnd)
	}
	switch rnd.IntN(4) {
	case 0:
		c.sendClose()
		if end, _ := c.listen(); end != (ended{1000, io.EOF}) && !deaf {
			s.t.Errorf("client %v closed, and saw %+v", c.id, end)
		}
	case 1:
		s.resets.Add(1)
		reset(c)
	case 2:
		err := s.e.Close(c.system, c.id, "enough")
		if end, _ := c.listen(); err == nil && end != (ended{3500, io.EOF}) && !deaf {
			s.t.Errorf("client %v was closed by the backend, and saw %+v", c.id, end)
		}
	}
}

// run is the whole of it: residents come, pushes begin, visitors come and go; then
// everybody leaves.
func (s *soak) run(d time.Duration) {
	source := func(i int) *rand.Rand { s.seed++; return rand.New(rand.NewPCG(s.seed, uint64(i))) }
	s.over.Store(false)
	s.targets = map[string]*soakTarget{}
	target := func(name string, to Target) { s.targets[name] = &soakTarget{Target: to, name: name} }
	target("all", ToAll())
	for i := range soakSystems {
		system := fmt.Sprint("s", i)
		target(system, ToSystem(system))
		for j := range soakGroups {
			group := fmt.Sprint("g", j)
			target(system+"/"+group, ToGroup(system, group))
		}
	}
	var residents []*soakClient
	bySystem := map[string][]ID{}
	for i := range soakResidents {
		c := s.connect(new(net.Dialer), fmt.Sprint("s", i%soakSystems), fmt.Sprint("g", i%(soakGroups-1)))
		if c == nil {
			return
		}
		defer c.Close()
		residents = append(residents, c)
		bySystem[c.system] = append(bySystem[c.system], c.id)
		if i < soakSystems {
			name := "client of " + c.system
			target(name, ToClient(c.system, c.id))
			c.since[name] = 0
		}
	}
	for system, ids := range bySystem {
		target("clients of "+system, ToClients(system, ids...))
	}
	for _, c := range residents {
		c.since["clients of "+c.system] = 0
	}
	var pushing, residing, visiting sync.WaitGroup
	for i, name := range slices.Sorted(maps.Keys(s.targets)) {
		rnd := source(i)
		pushing.Go(func() { s.push(s.targets[name], rnd) })
	}
	for i := range soakVisitors {
		rnd := source(i)
		visiting.Go(func() {
			for !s.over.Load() {
				s.visit(rnd)
			}
		})
	}
	for i, c := range residents {
		rnd := source(i)
		residing.Go(func() { s.reside(c, rnd) })
	}
	time.Sleep(d)
	s.over.Store(true)
	pushing.Wait()
	visiting.Wait()
	residing.Wait()
	for _, c := range residents { // all of it, to the last number
		if _, open := c.catchUp(); !open {
			s.t.Errorf("client %v was closed at the end", c.id)
		}
		for name := range c.since {
			if n := s.targets[name].pushed.Load(); c.due[name] != n {
				s.t.Errorf("client %v has %d pushes to %s of %d", c.id, c.due[name], name, n)
			}
		}
	}
}

// Everything at once and at random, for as long as -soak says.
//
//	go test ./engine -run Soak -soak 5m
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	defer func() {
		if t.Failed() {
			t.Logf("again: go test -run Soak -soak %v -soak-seed %d ./engine", *soakFor, seed)
		}
	}()
	o := Options{MaxQueuedBytes: 32 << 10, PingInterval: time.Second, HandshakeTimeout: time.Second}
	ledger := keepLedger(t, &o)
	e := newEngine(t, o)
	s := &soak{t: t, e: e, seed: seed}
	rest := func() (resources, int64, int64) {
		settled(t, e, 0)
		ledger.closed(e, 0)
		eventually(t, "the clients' goroutines have ended", func() bool { return resourcesNow(t).goroutines < 50 })
		heap, rss := settledMemory(t)
		return resourcesNow(t), heap, rss
	}
	s.run(*soakFor / 4) // makes the pools, stacks and tables that are made once
	before, heapBefore, rssBefore := rest()
	s.run(*soakFor * 3 / 4)
	after, heapAfter, rssAfter := rest()
	t.Logf("%d pushes, %d deliveries, %d visits, %d resets, %d slow clients; heap %+d KiB to %d KiB, resident %+d KiB to %d KiB, %+v",
		s.pushes.Load(), s.deliveries.Load(), s.visits.Load(), s.resets.Load(), s.slow.Load(),
		(heapAfter-heapBefore)>>10, heapAfter>>10, (rssAfter-rssBefore)>>10, rssAfter>>10, after)
	if after.goroutines > before.goroutines || after.descriptors > before.descriptors {
		t.Errorf("left behind: %+v, before it was %+v", after, before)
	}
	// Tables and maps keep room for the most there ever was, and a GC's stragglers
	// count: some tens of KB either way, whatever the time. 100 bytes lost with each
	// visit are 10 MB in five minutes.
	if grown := heapAfter - heapBefore; grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	// The runtime keeps some free spans and idle stacks, and gives them back late.
	if grown := rssAfter - rssBefore; grown > 16<<20 {
		t.Errorf("resident memory grew by %d bytes", grown)
	}
}
