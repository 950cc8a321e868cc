package engine

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"carillon/engine/wheel"
)

func TestNextBeat(t *testing.T) {
	const interval, timeout = 54, 60
	tests := []struct {
		name              string
		now, seen, pinged uint32
		want              beat
		next              uint32
	}{
		{"just connected", 0, 0, 0, beatWait, 54},
		{"heard in between", 54, 30, 0, beatWait, 84},
		{"silent for the interval", 54, 0, 0, beatPing, 108},
		{"pinged, time left", 100, 0, 54, beatWait, 114},
		{"pinged, an interval ago", 108, 0, 54, beatWait, 114},
		{"pinged, silent for the timeout", 114, 0, 54, beatDead, 0},
		{"answered", 100, 55, 54, beatWait, 109},
		{"answered in the same second", 108, 54, 54, beatPing, 162},
		{"answered an old ping, silent again", 200, 100, 54, beatPing, 254},
		{"silent since before the start", 27, 1<<32 - 27, 0, beatPing, 81},
	}
	for _, tt := range tests {
		if b, next := nextBeat(tt.now, tt.seen, tt.pinged, interval, timeout); b != tt.want || next != tt.next {
			t.Errorf("%s: nextBeat(%d, %d, %d) = %d, %d, want %d, %d", tt.name, tt.now, tt.seen, tt.pinged, b, next, tt.want, tt.next)
		}
	}
}

// The default heartbeat under a fake clock: one client is silent, one answers its
// pings after 10 s, one talks every 20 s.
func TestHeartbeatTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type client struct {
			links        wheel.Links[client]
			name         string
			seen, pinged uint32
			answerAt     uint32
		}
		w := wheel.New(0, func(c *client) *wheel.Links[client] { return &c.links })
		silent, answers, talks := &client{name: "silent"}, &client{name: "answers"}, &client{name: "talks"}
		for _, c := range []*client{silent, answers, talks} {
			w.Schedule(c, 54)
		}
		var log []string
		start := time.Now()
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for range 240 {
			<-ticker.C
			now := uint32(time.Since(start) / tick)
			if now%20 == 0 {
				talks.seen = now
			}
			if answers.answerAt == now {
				answers.seen = now
			}
			w.Advance(now, func(c *client) uint32 {
				b, next := nextBeat(now, c.seen, c.pinged, 54, 60)
				switch b {
				case beatPing:
					c.pinged = now
					log = append(log, fmt.Sprintf("%ds ping %s", now, c.name))
					if c == answers {
						c.answerAt = now + 10
					}
				case beatDead:
					log = append(log, fmt.Sprintf("%ds dead %s", now, c.name))
				}
				return next
			})
		}
		// "answers" is heard at 64 s, so it is due at 118 s; the wheel visits it an
		// interval after its ping, at 108 s, and asks again for 118 s.
		want := "[54s ping answers 54s ping silent 114s dead silent 118s ping answers 182s ping answers]"
		if got := fmt.Sprint(log); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// Who answers each ping at once is pinged every interval, also when the timeout is
// longer than that: proxies on the way forget a connection that is silent.
func TestHeartbeatInterval(t *testing.T) {
	const interval, timeout = 25, 60
	var pings []uint32
	for now, seen, pinged := uint32(interval), uint32(0), uint32(0); now < 110; {
		b, next := nextBeat(now, seen, pinged, interval, timeout)
		if b == beatPing {
			pings, pinged, seen = append(pings, now), now, now
		}
		now = next
	}
	if got, want := fmt.Sprint(pings), "[25 50 75 100]"; got != want {
		t.Errorf("pinged at %s, want %s", got, want)
	}
}

// Real time, real sockets: a client that stops answering is closed and leaves the
// registry, one that answers stays.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	ends := make(chan CloseReason, 2)
	e := newEngine(t, Options{PingInterval: time.Second, PongTimeout: time.Second, NoWelcome: true, CloseTimeout: time.Second,
		OnClose: func(_ *Client, why CloseReason) { ends <- why }})
	deaf := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
	alive := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
	eventually(t, "both are open", func() bool { return e.Count(Query{}) == 2 })
	done := make(chan int)
	go func() { // the one that answers
		pings := 0
		for {
			if _, err := readUntil(alive, "\x89\x00"); err != nil {
				done <- pings
				return
			}
			pings++
			io.WriteString(alive, "\x8a\x80\x00\x00\x00\x00")
		}
	}()
	if got, err := readUntil(deaf, "\x88\x0b\x0b\xb8heartbeat"); err != nil {
		t.Errorf("got %q, %v; want a ping and a close frame of 3000", got, err)
	}
	if why := <-ends; why != CloseHeartbeat {
		t.Errorf("closed for %v", why)
	}
	if n := e.Count(Query{System: "1"}); n != 1 {
		t.Errorf("%d clients in the registry, want 1", n)
	}
	time.Sleep(3 * time.Second)
	if n := e.Count(Query{System: "1"}); n != 1 {
		t.Errorf("the client that answers is gone")
	}
	alive.Close()
	if pings := <-done; pings < 2 {
		t.Errorf("%d pings in several intervals", pings)
	}
}
