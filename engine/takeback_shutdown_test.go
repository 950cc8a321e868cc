package engine

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// openDescriptors is how many the process has, -1 if the system does not tell.
func openDescriptors() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(open)
}

// Shutdown in the middle of connections that go to net/http and come back, with clients
// in all states: it leaves nothing behind, neither descriptors nor counts nor goroutines.
func TestShutdownDuringTakeBack(t *testing.T) {
	server, client := testTLS(t)
	const rounds = 8
	run := func(secured bool, round int) {
		var opened, closed atomic.Int64
		o := Options{Addr: "127.0.0.1:0", ServeHTTP: true,
			OnOpen: func(*Client) { opened.Add(1) }, OnClose: func(*Client, CloseReason) { closed.Add(1) }}
		if secured {
			o.TLS = server
		}
		if round%2 == 1 {
			o.Authenticate = func(_ context.Context, h *Handshake) (Identity, error) { return QueryIdentity(h) }
		}
		e, err := New(o)
		if err == nil {
			err = e.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/ws" {
				fmt.Fprint(w, "ok")
			} else if err := e.Upgrade(w, r); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
		})}
		ServeUpgrade(srv)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(e.HTTP()) }()

		ctx, cancel := context.WithCancel(context.Background())
		var callers sync.WaitGroup
		caller := func() {
			conn, err := net.DialTimeout("tcp", e.Addr().String(), 5*time.Second)
			if err != nil {
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			if secured {
				conn = tls.Client(conn, client)
			}
			br := bufio.NewReader(conn)
			for range 1 + time.Now().UnixNano()%3 {
				io.WriteString(conn, apiGet)
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					return
				}
				io.Copy(io.Discard, resp.Body)
			}
			fmt.Fprintf(conn, upgrade, "system_id=1&group_name=g")
			if resp, err := http.ReadResponse(br, nil); err == nil && resp.StatusCode == 101 && time.Now().UnixNano()%2 == 0 {
				io.Copy(io.Discard, br) // until the end
			}
		}
		for range 16 {
			callers.Go(func() {
				for ctx.Err() == nil {
					caller()
				}
			})
		}
		time.Sleep(time.Duration(20+7*round) * time.Millisecond)
		end, stop := context.WithTimeout(context.Background(), time.Duration(round%3)*80*time.Millisecond+20*time.Millisecond)
		_ = e.Shutdown(end) // may be late: then who is left is cut off
		stop()
		cancel()
		_ = srv.Close()
		<-served
		callers.Wait()
		eventually(t, "all connections are counted out", func() bool { return e.conns.Load() == 0 && e.open.Load() == 0 && opened.Load() == closed.Load() })
		if n := e.reg.Len() + holdings(e) + int(e.backlog.total()) + len(e.http.queue); n != 0 {
			t.Errorf("%d clients, %d holdings, %d bytes and %d on their way to net/http are left", e.reg.Len(), holdings(e), e.backlog.total(), len(e.http.queue))
		}
		e.http.mu.Lock()
		if n := len(e.http.all) + len(e.http.perIP); n != 0 {
			t.Errorf("%d connections are still with net/http", n)
		}
		e.http.mu.Unlock()
		for _, l := range e.loops {
			if n := l.wheel.Len(); n != 0 {
				t.Errorf("%d timers are left", n)
			}
		}
		if n := e.refused.all()[labelInternal] + e.refused.all()[labelUnwatched] + e.refused.all()[labelDescriptors]; n != 0 {
			t.Errorf("refused: %v", e.refused.all())
		}
	}
	run(false, 0) // what Go opens once
	before, goroutines := openDescriptors(), runtime.NumGoroutine()
	for round := range rounds {
		run(round%4 >= 2, round)
	}
	eventually(t, "all descriptors are closed", func() bool { return openDescriptors() <= before })
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
}
