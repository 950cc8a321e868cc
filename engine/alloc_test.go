//go:build !race

package engine

import (
	"bytes"
	"io"
	"runtime"
	"sync/atomic"
	"testing"

	"carillon/engine/ws"
)

// Under the race detector anything may allocate.

// mallocs is how many objects this process allocates while f runs, whoever does.
func mallocs(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.Mallocs - before.Mallocs)
}

// Pushes allocate as much for 2,000 clients as for 200.
func TestFanoutAllocatesNothingPerReceiver(t *testing.T) {
	const few, many, pushes = 200, 2_000, 20
	for _, mode := range []string{"idle", "idle-compress"} {
		count := func(clients int) int {
			e := newEngine(t, Options{Compress: true, CompressMin: 1})
			startSwarm(t, e, mode, clients)
			send := func() {
				if r := push(t, e, ToSystem("swarm"), `"data"`); r.Written != clients {
					t.Fatalf("%s: report %+v, want %d written", mode, r, clients)
				}
			}
			send() // fills the pools
			return mallocs(func() {
				for range pushes {
					send()
				}
			})
		}
		// A hundredth of an allocation for each delivery is the collector emptying pools.
		if a, b := count(few), count(many); b-a > pushes*(many-few)/100 {
			t.Errorf("%s: %d pushes to %d clients allocate %d objects, to %d clients %d", mode, pushes, few, a, many, b)
		}
	}
}

// Frames that arrive whole are read without an allocation, and pings answered.
func TestReadingAllocatesNothingPerFrame(t *testing.T) {
	const frames, batch = 10_000, 100
	var handled atomic.Int64
	e := newEngine(t, Options{OnMessage: func(*Client, Kind, []byte) { handled.Add(1) }})
	w := dialWire(t, e, "system_id=1")
	payload := []byte("what a client says")
	frame := func(op ws.Opcode) []byte { return ws.AppendMaskedFrame(nil, op, [4]byte{1, 2, 3, 4}, payload) }
	for _, tt := range []struct {
		name            string
		op              ws.Opcode
		handled, answer int // of a batch
	}{
		{"text", ws.OpText, batch, 0},
		{"binary", ws.OpBinary, batch, 0},
		{"ping", ws.OpPing, 0, batch},
	} {
		handled.Store(0)
		// The answer to one more ping says that all before it has been read.
		sent := append(bytes.Repeat(frame(tt.op), batch), frame(ws.OpPing)...)
		answer := make([]byte, (tt.answer+1)*len(ws.AppendFrame(nil, ws.OpPong, payload)))
		trip := func() {
			if _, err := w.Write(sent); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(w.br, answer); err != nil {
				t.Fatal(err)
			}
		}
		trip() // fills the pools
		n := mallocs(func() {
			for range frames / batch {
				trip()
			}
		})
		if got := int(handled.Load()); got != tt.handled*(frames/batch+1) {
			t.Errorf("%s: OnMessage was called %d times, want %d a batch", tt.name, got, tt.handled)
		}
		if n > frames/100 { // the collector empties pools
			t.Errorf("%s: %d objects allocated for %d frames", tt.name, n, frames)
		}
	}
}
