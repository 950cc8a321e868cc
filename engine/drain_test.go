package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// 100 clients at 50 a second: the closes take about two seconds, and what each is
// told makes the reconnects as even.
func TestDrainRate(t *testing.T) {
	t.Parallel()
	const clients, rate = 100, 50
	e := newEngine(t, Options{DrainRate: rate})
	var mu sync.Mutex
	var back []time.Duration // when they will reconnect, after the beginning
	var wg sync.WaitGroup
	var start time.Time
	begin := make(chan struct{})
	for range clients {
		p := dial(t, e, "system_id=1")
		wg.Go(func() {
			<-begin
			got := p.closed()
			var told struct {
				ReconnectMS int `json:"reconnect_ms"`
			}
			if err := json.Unmarshal([]byte(got.Reason), &told); err != nil || got.Code != 3001 {
				t.Errorf("%v %q: %v", got.Code, got.Reason, err)
			}
			mu.Lock()
			defer mu.Unlock()
			back = append(back, time.Since(start)+time.Duration(told.ReconnectMS)*time.Millisecond)
		})
	}
	start = time.Now()
	close(begin)
	go func() {
		eventually(t, "not ready from the first moment", func() bool { return !e.Ready() })
	}()
	shutdown(t, e)
	took := time.Since(start)
	wg.Wait()
	if took < 1900*time.Millisecond {
		t.Errorf("it took %v, want about 2s", took)
	}
	slices.Sort(back)
	// In each half second from the first to the last, about a quarter of them.
	if spread := back[clients-1] - back[0]; spread < time.Second {
		t.Errorf("they come back within %v", spread)
	}
	if first := back[0]; first < reconnectAfter {
		t.Errorf("the first comes back after %v, want at least %v", first, reconnectAfter)
	}
}

func TestDrainRateHasADefault(t *testing.T) {
	e := newEngine(t, Options{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if got := e.drainRate(ctx); got != minDrainRate {
		t.Errorf("%v a second, want %d: few clients do not take long", got, minDrainRate)
	}
	for range 20 {
		dial(t, e, "system_id=1")
	}
	short, cancel := context.WithTimeout(context.Background(), 4*time.Millisecond)
	defer cancel()
	if got := e.drainRate(short); got < 5000 {
		t.Errorf("%v a second do not end within 4 ms", got)
	}
}

// Connections that never finish their handshake, as browsers open them ahead of
// need, are not waited for.
func TestDrainPassesOverHandshakes(t *testing.T) {
	e := newEngine(t, Options{HandshakeTimeout: time.Hour})
	p := dial(t, e, "system_id=1")
	silent, half := rawConn(t, e, ""), rawConn(t, e, "GET /ws HTTP/1.1\r\n")
	eventually(t, "all are accepted", func() bool { return e.conns.Load() == 3 })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go p.closed()
	if err := e.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v, as if the handshakes were waited for", err)
	}
	for _, conn := range []net.Conn{silent, half} {
		if n, _ := conn.Read(make([]byte, 1)); n != 0 {
			t.Error("a handshake got an answer")
		}
	}
}

// A context that has ended is not outrun by a pace that nobody keeps up with.
func TestDrainAtTheDeadline(t *testing.T) {
	e := newEngine(t, Options{})
	for range 5 {
		dial(t, e, "system_id=1")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.closeAll(ctx, 1<<30); !errors.Is(err, context.Canceled) {
		t.Errorf("closeAll: %v", err)
	}
	if n := e.Stats().Closed[CloseShutdown]; n != 0 {
		t.Errorf("%d clients were closed nevertheless", n)
	}
}

// A context that ends during the pacing ends it.
func TestDrainIsCutShort(t *testing.T) {
	e := newEngine(t, Options{DrainRate: 1})
	for range 5 {
		dial(t, e, "system_id=1")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := e.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if n := e.conns.Load(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}
