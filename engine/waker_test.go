package engine

import (
	"os"
	"testing"
)

// Every poller gets its waker, whatever numbers are free.
func TestWakersReachEveryPoller(t *testing.T) {
	counts := []int{1, 2, 7, 16}
	if full() {
		counts = []int{1, 2, 3, 4, 7, 16, maxPollers}
	}
	for _, pollers := range counts {
		for gap := range 5 {
			for last := range 4 {
				free := func(i int) bool { return gap > 0 && i%gap == 0 && i < 30+last }
				close := holdDescriptors(t, 40, free)
				e := newEngine(t, Options{Pollers: pollers})
				ran := make(chan int, pollers)
				for i, l := range e.loops {
					l.waker.call(func() { ran <- i })
				}
				seen := map[int]bool{}
				for range pollers {
					seen[<-ran] = true
				}
				if len(seen) != pollers {
					t.Errorf("%d of %d pollers ran what they were told", len(seen), pollers)
				}
				shutdown(t, e)
				close()
			}
		}
	}
}

// holdDescriptors opens n descriptors and closes those that are to be free.
func holdDescriptors(t *testing.T, n int, free func(i int) bool) (closeAll func()) {
	t.Helper()
	var held []*os.File
	for range n {
		f, err := os.Open("/")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
	}
	for i, f := range held {
		if free(i) {
			f.Close()
		}
	}
	return func() {
		for _, f := range held {
			f.Close()
		}
	}
}
