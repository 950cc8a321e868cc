package engine

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
)

// On a processor that always has something to run, a byte reaches who waits for it
// after a few rings, and not when ten milliseconds have passed.
func TestBellLetsReadersIn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	bell := newBell()
	defer bell.close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got atomic.Int64
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := r.Read(b); err != nil {
				return
			}
			got.Add(1)
		}
	}()
	defer w.Close()
	late := 0
	for n := range int64(100) {
		w.Write([]byte{0})
		for rings := 0; got.Load() == n; rings++ {
			if rings == 10 {
				late++
			}
			bell.ring()
			runtime.Gosched()
		}
	}
	if late > 50 { // now and then the kernel holds up the thread that has looked
		t.Errorf("%d of 100 bytes were not read after 10 rings", late)
	}
}
