package engine

import (
	"bufio"
	"fmt"
	"net/http"
	"runtime/debug"
	"testing"

	"github.com/coder/websocket"
)

func TestWatchMemory(t *testing.T) {
	used := memoryUsed()
	for _, tt := range []struct {
		limit    int64
		lo, hi   int64 // of clients that fit
		admitted bool
	}{
		{0, 0, 0, true},
		{used / 2, 0, 0, false},
		{2*used + 100<<20, (used + 80<<20) / 8 / (5 << 10), (2*used + 100<<20) / (5 << 10), true},
	} {
		e, err := New(Options{MemoryLimit: tt.limit})
		if err != nil {
			t.Fatal(err)
		}
		e.watchMemory()
		if n := e.room.Load(); n < tt.lo || n > tt.hi {
			t.Errorf("a limit of %d with %d used has room for %d clients, want %d to %d", tt.limit, used, n, tt.lo, tt.hi)
		}
		if got := e.hasRoom(); got != tt.admitted {
			t.Errorf("a limit of %d with %d used: admitted %v", tt.limit, used, got)
		}
		e.conns.Add(tt.limit / kernelPerClient)
		if e.watchMemory(); tt.limit > 0 && e.hasRoom() {
			t.Error("the kernel's memory does not count")
		}
	}
}

// Without memory the engine refuses, keeps those it has, and admits again.
func TestMemoryLimit(t *testing.T) {
	e := newEngine(t, Options{MemoryLimit: 1 << 40})
	p := dial(t, e, "system_id=1")
	refused := func() {
		t.Helper()
		for e.room.Store(0); ; e.room.Store(0) { // the clock may turn in between
			resp, err := http.ReadResponse(bufio.NewReader(rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))), nil)
			if err == nil && resp.StatusCode == 101 {
				continue
			}
			if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%v, %v, want 503 with Retry-After", resp, err)
			}
			return
		}
	}
	refused()
	push(t, e, ToClient("1", p.id), "1")
	p.next()
	if n := e.Stats().Refused["memory"]; n != 1 {
		t.Errorf("%d refused for memory", n)
	}
	eventually(t, "the next tick finds memory", func() bool { return e.room.Load() > 1 })
	c, _, err := websocket.Dial(testContext(t), "ws://"+e.Addr().String()+"/ws?system_id=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
}

// Garbage does not keep clients out for as long as nothing else has it collected.
func TestMemoryLimitGarbage(t *testing.T) {
	debug.FreeOSMemory()
	limit := memoryUsed() + 100<<20
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a process whose heap was larger once
	e := newEngine(t, Options{MemoryLimit: limit})
	for memoryUsed() < limit/100*95 {
		garbage = append(garbage, make([]byte, 1<<20))
	}
	garbage = nil // before the tick that finds no room, whose collection is the only one for some seconds
	eventually(t, "there is no room", func() bool { return e.room.Load() == 0 })
	eventually(t, "there is room", func() bool { return e.room.Load() > 10_000 })
}

var garbage [][]byte
