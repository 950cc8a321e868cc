package engine

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A modelClient is what one client should have got, and what it has.
type modelClient struct {
	w      *wire
	groups map[string]bool
	want   [2][]int // by lane: its system's and ToAll's, of its own driver
	done   chan struct{}

	got     [2][]int
	foreign map[string]int // the last push to all of each other driver
	end     ended
	wrong   string
}

func (m *modelClient) listen(driver string) {
	defer close(m.done)
	m.end = m.w.each(func(b []byte) bool {
		var from string
		var lane, n int
		env := string(b)
		i := indexData(env)
		if _, err := fmt.Sscanf(env[i:], `"%s %d %d"`, &from, &lane, &n); err != nil {
			m.wrong = fmt.Sprintf("%s: %v", env, err)
		}
		switch {
		case from == driver:
			m.got[lane] = append(m.got[lane], n)
		case lane != 1 || m.foreign[from] >= n:
			m.wrong = fmt.Sprintf("got push %d of lane %d from %s after %d", n, lane, from, m.foreign[from])
		default:
			m.foreign[from] = n
		}
		return true
	})
}

func indexData(env string) int {
	const key = `"data":`
	for i := range env {
		if len(env)-i > len(key) && env[i:i+len(key)] == key {
			return i + len(key)
		}
	}
	return 0
}

// Several drivers, each with a system of its own, push to it, to its groups and to all,
// and change and close its clients, one thing after the other, without waiting for the
// pushes. Each client gets exactly what a model says, in order, and each push counts
// exactly those whom the model has.
func TestSettleAgainstModel(t *testing.T) {
	const drivers = 3
	steps := 100
	if full() {
		steps = 400
	}
	for _, first := range []uint32{0, 1<<31 - 1, 1<<32 - 200} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			e := newEngine(t, Options{MaxQueuedBytes: 1 << 22})
			e.fanout.number.Store(first)
			var running sync.WaitGroup
			var sent, received atomic.Int64
			for d := range drivers {
				running.Go(func() {
					drive(t, e, fmt.Sprint("s", d), rand.New(rand.NewPCG(uint64(first), uint64(d))), steps, &sent, &received)
				})
			}
			running.Wait()
			if sent.Load() != received.Load() {
				t.Errorf("%d messages arrived, %d were reported as sent", received.Load(), sent.Load())
			}
			if n := e.fanout.pending.Load(); n != 0 || len(e.fanout.jobs)+len(e.fanout.direct) != 0 || e.fanout.bytes != 0 {
				t.Errorf("left in the scheduler: %d, %v, %v, %d bytes", n, e.fanout.jobs, e.fanout.direct, e.fanout.bytes)
			}
		})
	}
}

func drive(t *testing.T, e *Engine, system string, rnd *rand.Rand, steps int, sent, received *atomic.Int64) {
	groups := []string{"a", "b", "c"}
	var open, all []*modelClient
	enter := func() {
		m := &modelClient{groups: map[string]bool{}, done: make(chan struct{}), foreign: map[string]int{}}
		query := "system_id=" + system
		for _, g := range groups {
			if rnd.IntN(2) == 0 {
				m.groups[g] = true
				query += "&group_name=" + g
			}
		}
		m.w = dialWire(t, e, query)
		open, all = append(open, m), append(all, m)
		go m.listen(system)
	}
	for range 3 * small / 2 {
		enter()
	}
	type pushed struct {
		j    *job
		n    int
		want int // -1 if others have a say in it
	}
	var pushes []pushed
	for n := 1; n <= steps && !t.Failed(); n++ {
		m := open[rnd.IntN(len(open))]
		g := groups[rnd.IntN(len(groups))]
		switch what := rnd.IntN(20); {
		case what < 10: // a push to a group or the system
			to, lane, want := ToSystem(system), 0, 0
			var out []ID
			for range rnd.IntN(3) {
				out = append(out, open[rnd.IntN(len(open))].w.id)
			}
			in := func(m *modelClient) bool { return !slices.Contains(out, m.w.id) }
			if what < 7 {
				to = ToGroup(system, g)
				in = func(m *modelClient) bool { return m.groups[g] && !slices.Contains(out, m.w.id) }
			}
			to.exclude = out
			for _, m := range open {
				if in(m) {
					m.want[lane] = append(m.want[lane], n)
					want++
				}
			}
			pushes = append(pushes, pushed{post(t, e, to, system, lane, n), n, want})
		case what < 12:
			for _, m := range open {
				m.want[1] = append(m.want[1], n)
			}
			pushes = append(pushes, pushed{post(t, e, ToAll(), system, 1, n), n, -1})
		case what < 15:
			if added, err := e.Bind(system, m.w.id, g); err != nil || added == m.groups[g] {
				t.Errorf("Bind: %v, %v", added, err)
			}
			m.groups[g] = true
		case what < 18:
			if removed, err := e.Unbind(system, m.w.id, g); err != nil || removed != m.groups[g] {
				t.Errorf("Unbind: %v, %v", removed, err)
			}
			delete(m.groups, g)
		case what < 19:
			if err := e.Close(system, m.w.id, ""); err != nil {
				t.Error(err)
			}
			i := slices.Index(open, m)
			open = slices.Delete(open, i, i+1)
		default:
			enter()
		}
	}
	for _, m := range open {
		if err := e.Close(system, m.w.id, ""); err != nil {
			t.Error(err)
		}
	}
	for _, m := range all {
		<-m.done
		for lane := range m.want {
			if !slices.Equal(m.got[lane], m.want[lane]) {
				t.Errorf("client %v of %s, lane %d:\ngot  %v\nwant %v", m.w.id, system, lane, m.got[lane], m.want[lane])
			}
			received.Add(int64(len(m.got[lane])))
		}
		if m.wrong != "" || m.end != (ended{3500, io.EOF}) {
			t.Errorf("client %v of %s: %s, ended with %+v", m.w.id, system, m.wrong, m.end)
		}
	}
	total := 0
	for _, p := range pushes {
		<-p.j.done
		r := p.j.report()
		if p.want >= 0 && r.Matched != p.want || r.Dropped > 0 {
			t.Errorf("push %d of %s: report %+v, want %d matched and none dropped", p.n, system, r, p.want)
		}
		if p.want >= 0 {
			total += r.Matched
			continue
		}
		// Of a push to all, count this driver's: the rest is checked by its own.
		for _, m := range all {
			if slices.Contains(m.got[1], p.n) {
				total++
			}
		}
	}
	sent.Add(int64(total))
}

func post(t *testing.T, e *Engine, to Target, system string, lane, n int) *job {
	t.Helper()
	j, _, err := e.push(testContext(t), to, Message{Data: fmt.Appendf(nil, `"%s %d %d"`, system, lane, n)})
	if err != nil {
		t.Error(err)
		return &job{done: closedChan}
	}
	return j
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// One client's groups change on several goroutines, and it is closed on two, while
// pushes run: it gets an unbroken run of those to its system and to all, with whatever
// had been admitted before it was closed.
func TestSettleConcurrently(t *testing.T) {
	rounds := 5
	if full() {
		rounds = 30
	}
	e := newEngine(t, Options{MaxQueuedBytes: 1 << 22})
	for range 2 * small {
		w := dialWire(t, e, "system_id=1&group_name=g")
		go w.each(func([]byte) bool { return true })
	}
	for range rounds {
		w := dialWire(t, e, "system_id=1&group_name=g")
		var got [2][]int
		var end ended
		var reading, busy sync.WaitGroup
		reading.Go(func() {
			end = w.each(func(b []byte) bool {
				if n := number(b); n >= 0 {
					got[n%2] = append(got[n%2], n)
				}
				return true
			})
		})
		var last [2]atomic.Int64 // of those that were admitted
		stop := make(chan struct{})
		var admitted [2]int64
		for lane, to := range []Target{ToSystem("1"), ToAll()} {
			busy.Go(func() {
				for n := 2 + lane; ; {
					select {
					case <-stop:
						return
					default:
					}
					if e.fanout.pending.Load() > 100 { // or it would take long until they are done
						time.Sleep(100 * time.Microsecond)
						continue
					}
					if _, err := e.Post(testContext(t), to, Message{Data: numbered(n, 0)}); err != nil {
						t.Error(err)
						return
					}
					last[lane].Store(int64(n))
					n += 2
				}
			})
		}
		for i := range 3 {
			busy.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = e.Bind("1", w.id, fmt.Sprint(i))
						_, _ = e.Unbind("1", w.id, fmt.Sprint(i))
					}
				}
			})
		}
		time.Sleep(time.Duration(1+rand.IntN(10)) * time.Millisecond)
		for lane := range admitted {
			admitted[lane] = last[lane].Load()
		}
		var closing sync.WaitGroup
		for range 2 {
			closing.Go(func() { _ = e.Close("1", w.id, "") })
		}
		closing.Wait()
		close(stop)
		busy.Wait()
		reading.Wait()
		if end != (ended{3500, io.EOF}) {
			t.Errorf("the client saw %+v", end)
		}
		for lane, numbers := range got {
			for i, n := range numbers {
				if i > 0 && n != numbers[i-1]+2 {
					t.Fatalf("lane %d: push %d after %d", lane, n, numbers[i-1])
				}
			}
			if admitted[lane] > 0 && (len(numbers) == 0 || int64(numbers[len(numbers)-1]) < admitted[lane]) {
				t.Errorf("lane %d: %d pushes, up to %v, and %d was admitted before it was closed", lane, len(numbers), numbers[max(0, len(numbers)-1):], admitted[lane])
			}
		}
		eventually(t, "the pushes are done", func() bool { return e.fanout.pending.Load() == 0 })
	}
}
