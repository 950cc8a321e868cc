package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func init() {
	roles["sippers"] = sip
	roles["caller"] = call
}

type sippersSpec struct {
	Addr    string
	System  string
	Clients int
}

// sip is clients that read only now and then, from sockets that nobody waits for: they
// take next to none of the cores that the server is measured on, as if they were on
// machines of their own.
func sip(b []byte, p *parent) error {
	var spec sippersSpec
	if err := json.Unmarshal(b, &spec); err != nil {
		return err
	}
	addr, err := netip.ParseAddrPort(spec.Addr)
	if err != nil {
		return err
	}
	fds := make([]int, spec.Clients)
	for i := range fds {
		if fds[i], err = openSipper(addr, spec.System); err != nil {
			return err
		}
	}
	go func() { // ten in a millisecond: about one round a second
		buf := make([]byte, 256<<10)
		for i := 0; ; i++ {
			_, _, _ = syscall.Recvfrom(fds[i%len(fds)], buf, syscall.MSG_DONTWAIT|syscall.MSG_TRUNC)
			if i%10 == 9 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	if err := p.say(len(fds)); err != nil {
		return err
	}
	return p.hear(new(any))
}

// openSipper connects and reads the welcome. The socket is not given to package net,
// whose poller would wait for it.
func openSipper(addr netip.AddrPort, system string) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return -1, err
	}
	if _, err := syscall.Write(fd, fmt.Appendf(nil, upgrade, "group_name=g&system_id="+system)); err != nil {
		return -1, err
	}
	b := make([]byte, 4<<10)
	for n := 0; n == 0 || b[n-1] != '}'; {
		m, err := syscall.Read(fd, b[n:])
		if err != nil {
			return -1, err
		}
		if m == 0 {
			return -1, io.ErrUnexpectedEOF
		}
		n += m
	}
	return fd, nil
}

// call is a backend that asks for as many pushes as it is told, in a second. A request is
// the time when it was sent, in Unix nanoseconds.
func call(_ []byte, p *parent) error {
	for {
		var rate int
		if err := p.hear(&rate); err != nil {
			return err
		}
		tick := time.NewTicker(time.Second / time.Duration(rate))
		for range rate {
			<-tick.C
			if err := p.say(time.Now().UnixNano()); err != nil {
				return err
			}
		}
		tick.Stop()
	}
}

// latencies are a benchmark's, a pair of percentiles for each op.
type latencies struct{ p50, p99 []time.Duration }

func (l *latencies) add(times []time.Duration) {
	slices.Sort(times)
	l.p50 = append(l.p50, times[len(times)/2])
	l.p99 = append(l.p99, times[len(times)*99/100])
}

func medianMicros(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds()) / 1e3
}

// BenchmarkFairness measures pushes to one client, 500 a second at the request of
// another process, while nothing else happens ("idle"), and while a system of 10,000
// clients is pushed to without a pause ("busy"). For each it reports
//
//	push     from the call of Push until it returns: the kernel has the message
//	request  from the sending of the request until then
//	client   from the call of Push until a client in another process has the message
//
// and, as X-ratio, the busy p99 in relation to what it may be: twice the idle p99 plus
// the time of a slice, which is that of a push to as many clients by their ids. 1 is the
// limit for push. The others have no limit: on a machine where the workers take
// every core, a request and a client wait for the kernel to take one from them and
// give it to another process, for some milliseconds, which is not for us to decide.
// They show that nothing longer is added: a request would wait 10 ms without the bell.
//
// One op is a second of each, in turns, so that what the machine does besides hits both
// alike; the figures are medians over the ops, so run some:
//
//	go test -run NONE -bench Fairness -benchtime 10x ./engine
func BenchmarkFairness(b *testing.B) {
	const clients, rate = 10_000, 500
	e := newEngine(b, Options{MaxQueuedBytes: 1 << 20})
	addr := e.Addr().String()
	startChild(b, "sippers", sippersSpec{addr, "big", clients}).hear(new(int))
	startChild(b, "sippers", sippersSpec{addr, "other", 1}).hear(new(int)) // no process waits for this push
	watch := startChild(b, "stopwatch", stopwatchSpec{addr, 1})            // in system 1
	watch.hear(new(int))
	caller := startChild(b, "caller", nil)
	var one, watched ID
	var some []ID // a slice
	for c := range e.Clients(Query{}) {
		switch c.System() {
		case "other":
			one = c.ID()
		case "1":
			watched = c.ID()
		default:
			if len(some) < slice {
				some = append(some, c.ID())
			}
		}
	}
	data := fmt.Sprintf(`"%0126d"`, 1)

	send := func(to Target, data string) {
		if r, err := e.Push(b.Context(), to, Message{Data: []byte(data)}); err != nil || r.Dropped > 0 {
			b.Fatalf("report %+v, %v", r, err)
		}
	}
	number := 0
	var pushed, requested, arrived [2]latencies
	measure := func(i int) {
		var inPush, request, arrival []time.Duration
		caller.tell(rate)
		for range rate {
			var asked int64
			caller.hear(&asked)
			start := time.Now()
			send(ToClient("other", one), data)
			end := time.Now()
			inPush = append(inPush, end.Sub(start))
			request = append(request, end.Sub(time.Unix(0, asked)))
			send(ToClient("1", watched), fmt.Sprintf(`{"n":%d,"sent":%d,"pad":"%0100d"}`, number, time.Now().UnixNano(), 0))
			number++
		}
		watch.ask(rate, &arrival)
		pushed[i].add(inPush)
		requested[i].add(request)
		arrived[i].add(arrival)
	}
	var sliceTimes []time.Duration
	var delivered int
	var busyFor time.Duration
	for b.Loop() {
		measure(0)
		for range 100 {
			start := time.Now()
			send(ToClients("big", some...), data)
			sliceTimes = append(sliceTimes, time.Since(start))
			time.Sleep(time.Millisecond)
		}
		var stop atomic.Bool
		var busy sync.WaitGroup
		start := time.Now()
		busy.Go(func() {
			for !stop.Load() {
				r, err := e.Push(b.Context(), ToSystem("big"), Message{Data: []byte(data)})
				if err != nil || r.Matched != clients || r.Dropped > 0 {
					b.Errorf("report %+v, %v", r, err)
					return
				}
				delivered += r.Matched
			}
		})
		measure(1)
		stop.Store(true)
		busy.Wait()
		busyFor += time.Since(start)
		time.Sleep(time.Second) // the clients read
	}
	oneSlice := medianMicros(sliceTimes)
	for _, m := range []struct {
		name string
		l    *[2]latencies
	}{{"push", &pushed}, {"request", &requested}, {"client", &arrived}} {
		idle, busy := medianMicros(m.l[0].p99), medianMicros(m.l[1].p99)
		b.ReportMetric(medianMicros(m.l[0].p50), m.name+"-idle-p50-µs")
		b.ReportMetric(medianMicros(m.l[1].p50), m.name+"-busy-p50-µs")
		b.ReportMetric(idle, m.name+"-idle-p99-µs")
		b.ReportMetric(busy, m.name+"-busy-p99-µs")
		b.ReportMetric(busy/(2*idle+oneSlice), m.name+"-ratio")
	}
	b.ReportMetric(oneSlice, "slice-µs")
	b.ReportMetric(float64(delivered)/busyFor.Seconds(), "deliveries/s")
	b.ReportMetric(0, "ns/op")
}
