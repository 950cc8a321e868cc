package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

func init() { roles["stopwatch"] = stopwatch }

type stopwatchSpec struct {
	Addr    string
	Readers int
}

// stopwatch is clients that read, and note how long after its sending each push
// arrives: the data of a push is {"n":number,"sent":Unix nanoseconds,…}. Told the number
// of pushes to wait for, it answers with all those times, in order of length.
func stopwatch(b []byte, p *parent) error {
	var spec stopwatchSpec
	if err := json.Unmarshal(b, &spec); err != nil {
		return err
	}
	readers, err := openWires(spec.Readers, new(net.Dialer), spec.Addr)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	arrived := sync.NewCond(&mu)
	var times []time.Duration
	var failed error
	for _, w := range readers {
		go func() {
			next := 0
			w.each(func(payload []byte) bool {
				now := time.Now().UnixNano()
				var sent int64
				n := -1
				if _, rest, ok := bytes.Cut(payload, []byte(`"data":`)); ok {
					fmt.Sscanf(string(rest), `{"n":%d,"sent":%d,`, &n, &sent)
				}
				mu.Lock()
				defer mu.Unlock()
				if n != next {
					failed = fmt.Errorf("push %d came instead of %d", n, next)
				}
				next = n + 1
				times = append(times, time.Duration(now-sent))
				arrived.Signal()
				return failed == nil
			})
		}()
	}
	if err := p.say(len(readers)); err != nil {
		return err
	}
	for {
		var pushes int
		if err := p.hear(&pushes); err != nil {
			return err
		}
		mu.Lock()
		for len(times) < pushes*len(readers) && failed == nil {
			arrived.Wait()
		}
		if failed != nil {
			return failed
		}
		slices.Sort(times)
		err := p.say(times)
		times = nil
		mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// BenchmarkStuckPeers measures how long pushes to all take to arrive at 200 clients
// in another process, with and without 20 more who do not read: for whom something
// waits from the first push on, and who are closed as slow consumers halfway. One op
// is a second of each, in turns, so that what the machine does besides hits both
// alike; the figures are medians over the ops, so run some:
//
//	go test -run NONE -bench StuckPeers -benchtime 20x ./engine
func BenchmarkStuckPeers(b *testing.B) {
	const readers, deaf, pushes = 200, 20, 100
	o := Options{MaxQueuedBytes: 16 << 10}
	ledger := keepLedger(b, &o)
	e := newEngine(b, o)
	watch := startChild(b, "stopwatch", stopwatchSpec{e.Addr().String(), readers})
	watch.hear(new(int))
	number := 0
	var p50, p99 [2][]time.Duration // without, with
	measure := func(i int) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range pushes {
			<-tick.C
			push(b, e, ToAll(), fmt.Sprintf(`{"n":%d,"sent":%d,"pad":"%0300d"}`, number, time.Now().UnixNano(), 0))
			number++
		}
		var times []time.Duration
		watch.ask(pushes, &times)
		p50[i] = append(p50[i], times[len(times)/2])
		p99[i] = append(p99[i], times[len(times)*99/100])
	}
	for b.Loop() {
		measure(0)
		stuck, err := openWires(deaf, &net.Dialer{Control: smallBuffers}, e.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		for range 3 { // the peer's kernel takes a little more after a moment
			for _, w := range stuck {
				for c, _ := e.Client(w.id); c.Echo(Binary, make([]byte, 1<<10)) != Queued; {
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		measure(1)
		for _, w := range stuck {
			w.Close()
		}
		settled(b, e, readers)
		if reasons := ledger.closed(e, readers); len(reasons) != 1 || reasons[CloseSlowConsumer] != deaf {
			b.Fatalf("closed for %v, want %d slow consumers", reasons, deaf)
		}
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2].Microseconds()) }
	b.ReportMetric(median(p50[0]), "p50-µs")
	b.ReportMetric(median(p50[1]), "p50-stuck-µs")
	b.ReportMetric(median(p99[0]), "p99-µs")
	b.ReportMetric(median(p99[1]), "p99-stuck-µs")
	b.ReportMetric(median(p99[1])/median(p99[0]), "p99-ratio")
	b.ReportMetric(0, "ns/op")
}
