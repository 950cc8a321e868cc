package engine

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
)

// MaxPendingBytes counts what pushes that wait keep in memory: much of it may be lists of
// clients to leave out, or what each push takes by itself, and nothing of it what the
// caller's strings are parts of.
func TestPendingBytesAreWhatIsHeld(t *testing.T) {
	long := make([]ID, MaxTargets)
	for i := range long {
		long[i] = ID(i + 1)
	}
	for name, push := range map[string]struct {
		n       int
		exclude []ID
		data    int
		k       Kind
	}{
		"exclusions": {500, long, 10, Text},
		"nothing":    {1000, nil, 0, JSON},
		"escapes":    {200, nil, 50_000, Text},
		"string":     {200, nil, 50_000, JSON},
		"binary":     {200, nil, 50_000, Binary},
	} {
		t.Run(name, func(t *testing.T) {
			s := standStill(t, Options{MaxPendingBytes: 1 << 30})
			s.hold()
			before := settledHeap()
			for n := range push.n {
				data := bytes.Repeat([]byte(`"`), push.data)
				if push.k == JSON && push.data > 0 {
					data = fmt.Appendf(nil, `"%0*d"`, push.data, n)
				}
				body := string(make([]byte, 100_000)) + "1"
				to := ToSystem(body[len(body)-1:], slices.Clone(push.exclude)...)
				if _, err := s.e.Post(t.Context(), to, Message{Kind: push.k, Data: data}); err != nil {
					t.Fatalf("push %d: %v", n, err)
				}
			}
			held := settledHeap() - before
			s.e.fanout.mu.Lock()
			counted := s.e.fanout.bytes
			s.e.fanout.mu.Unlock()
			if ratio := float64(held) / float64(counted); ratio > 1.15 || ratio < 0.6 {
				t.Errorf("%d bytes held, %d counted", held, counted)
			}
			s.letGo()
			eventually(t, "all are done", func() bool { return s.e.fanout.pending.Load() == 0 })
		})
	}
	// The limit is one of what is held.
	s := standStill(t, Options{MaxPendingBytes: 1 << 20})
	s.hold()
	n := 0
	for ; n < 1000; n++ {
		if _, err := s.e.Post(t.Context(), ToSystem("1", long...), Message{}); errors.Is(err, ErrBusy) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if want := 1 << 20 / (8 * MaxTargets); n > want {
		t.Errorf("%d pushes of %d exclusions were admitted, want at most %d", n, MaxTargets, want)
	}
	s.letGo()
}

// settledHeap is what is reachable, in bytes.
func settledHeap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
