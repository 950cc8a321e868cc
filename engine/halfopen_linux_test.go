package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func init() { roles["half-open"] = halfOpen }

type halfOpenSpec struct {
	Addr                     string
	Silent, Halves, Drippers int
	Head                     int // bytes of the request head that each half sends
}

// halfOpen opens connections that do not get through their handshake: some send
// nothing, some a part of the head, and some drip it, a byte at a time. It stops
// after each kind until it is told to go on. When the server has closed them all
// it says what they saw, and how many saw it.
func halfOpen(spec []byte, p *parent) error {
	var s halfOpenSpec
	if err := json.Unmarshal(spec, &s); err != nil {
		return err
	}
	head := ("GET /ws?system_id=1 HTTP/1.1\r\nX-Padding: " + strings.Repeat("x", s.Head))[:s.Head]
	var mu sync.Mutex
	var reading sync.WaitGroup
	seen := map[string]int{}
	open := func(n int, first string) (conns []net.Conn, err error) {
		for range n {
			conn, err := net.Dial("tcp", s.Addr)
			if err != nil {
				return nil, err
			}
			if _, err := io.WriteString(conn, first); err != nil {
				return nil, err
			}
			conns = append(conns, conn)
			reading.Go(func() {
				b, err := io.ReadAll(conn)
				if errors.Is(err, syscall.ECONNRESET) && len(first) == 1 {
					err = nil // another drop was on its way
				}
				mu.Lock()
				defer mu.Unlock()
				seen[fmt.Sprintf("%q, %v", b, err)]++
			})
		}
		if err := p.say(n); err != nil {
			return nil, err
		}
		return conns, p.hear(new(int))
	}
	if _, err := open(s.Silent, ""); err != nil {
		return err
	}
	if _, err := open(s.Halves, head); err != nil {
		return err
	}
	drippers, err := open(s.Drippers, head[:1])
	if err != nil {
		return err
	}
	all := make(chan struct{})
	go func() { reading.Wait(); close(all) }()
	for i := 1; ; i++ {
		select {
		case <-all:
			return p.say(seen)
		case <-time.After(50 * time.Millisecond):
		}
		for _, conn := range drippers {
			io.WriteString(conn, head[i:i+1]) // fails once it is closed
		}
	}
}

// 10,000 connections that do not get through their handshake: each costs one small
// bounded buffer until its deadline, and nothing after it. A client's pushes go on
// meanwhile.
func TestHalfOpen(t *testing.T) {
	spec := halfOpenSpec{Silent: 5_000 / fewer, Halves: 4_500 / fewer, Drippers: 500 / fewer, Head: 4 << 10}
	e := newEngine(t, Options{HandshakeTimeout: 5 * time.Second / time.Duration(fewer)})
	spec.Addr = e.Addr().String()
	healthy := dialWire(t, e, "system_id=1")
	stop := make(chan struct{})
	var rings sync.WaitGroup
	var count int
	var longest time.Duration
	rings.Go(func() {
		for ; ; count++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			start := time.Now()
			r, err := e.Push(context.Background(), ToSystem("1"), Message{Data: numbered(count, 0)})
			if err != nil || r.Written != 1 {
				t.Errorf("push %d: %+v, %v", count, r, err)
				return
			}
			if _, b, err := healthy.read(); err != nil || number(b) != count {
				t.Errorf("%q, %v instead of push %d", b, err, count)
				return
			}
			longest = max(longest, time.Since(start))
		}
	})
	base, _ := settledMemory(t)
	crowd := startChild(t, "half-open", spec)
	total := 0
	for _, kind := range []struct {
		name  string
		n     int
		limit int64 // heap for each
	}{
		{"silent", spec.Silent, 1 << 10},
		{"half a head", spec.Halves, 1<<10 + int64(spec.Head)*5/4}, // the size classes of the allocator
		{"dripping", spec.Drippers, 2 << 10},
	} {
		var n int
		crowd.hear(&n)
		total += n
		eventually(t, "all are accepted", func() bool { return e.conns.Load() == int64(total)+1 })
		time.Sleep(50 * time.Millisecond) // the last ones' bytes are read
		heap, _ := settledMemory(t)
		each := (heap - base) / int64(n)
		t.Logf("%d connections, %s: %d B of heap each", n, kind.name, each)
		if e.conns.Load() != int64(total)+1 {
			t.Fatalf("%d sockets are open when it is measured, want %d", e.conns.Load(), total+1)
		}
		if each > kind.limit {
			t.Errorf("%s: %d B each, want at most %d", kind.name, each, kind.limit)
		}
		base = heap
		crowd.tell(n)
	}
	seen := map[string]int{}
	crowd.hear(&seen)
	if seen[`"", <nil>`] != total || len(seen) != 1 {
		t.Errorf("%d connections saw %v, want a FIN each", total, seen)
	}
	settled(t, e, 1)
	if n := e.Stats().Refused["handshake timeout"]; n != uint64(total) {
		t.Errorf("%d handshakes timed out, want %d", n, total)
	}
	close(stop)
	rings.Wait()
	t.Logf("%d round trips of a client meanwhile, the longest in %v", count, longest)
}
