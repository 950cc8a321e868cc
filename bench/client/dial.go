package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"carillon/bench/stamp"
	"carillon/engine/ws"
)

// An attempt is a connection on its way up; the swarm's lock guards it.
type attempt struct {
	due      int64 // when it was to begin
	head     []byte
	refused  bool // what has come is no 101
	switched bool // the 101 has come
	messages int  // since then
	hello    []string
	round    *round
	timer    *time.Timer
	ended    bool
}

// maxResponse bounds the answer to a handshake.
const maxResponse = 16 << 10

// handshake takes bytes of the answer and returns those of frames behind it, nil
// while there are none.
func (a *attempt) handshake(c *conn, b []byte) []byte {
	a.head = append(a.head, b...)
	end := bytes.Index(a.head, []byte("\r\n\r\n"))
	const http = "HTTP/"
	if !bytes.HasPrefix(a.head, []byte(http)[:min(len(a.head), len(http))]) {
		text, _ := refusal(a.head, true)
		a.fail(text)
		c.cut()
		return nil
	}
	if end < 0 {
		if len(a.head) > maxResponse {
			a.fail("the answer to the handshake is over 16 KiB")
			c.cut()
		}
		return nil
	}
	head, rest := string(a.head[:end]), a.head[end+4:]
	status, fields, _ := strings.Cut(head, "\r\n")
	switch {
	case !strings.HasPrefix(status, "HTTP/1.1 101"):
		a.refused = true
		text, enough := refusal(a.head, len(a.head) > maxResponse)
		if !enough {
			return nil
		}
		a.fail(text)
	case headerValue(fields, "Sec-WebSocket-Accept") != c.swarm.accept:
		a.fail("the server's Sec-WebSocket-Accept does not fit")
	default:
		a.switched, a.head = true, nil
		for _, text := range a.hello {
			c.write(ws.OpText, []byte(text))
		}
		a.ready(c)
		if len(rest) == 0 {
			return nil
		}
		return rest
	}
	c.cut()
	return nil
}

func headerValue(fields, name string) string {
	for line := range strings.SplitSeq(fields, "\r\n") {
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (a *attempt) message(c *conn) {
	a.messages++
	a.ready(c)
}

// ready makes the client count as connected if it has all that it waits for.
func (a *attempt) ready(c *conn) {
	if a.messages < c.swarm.cfg.ReadyMessages || a.ended {
		return
	}
	c.state, c.try = up, nil
	c.swarm.counts.Connected++
	c.swarm.connect.record(stamp.Now() - a.due)
	a.end(nil)
}

// A SilentError is of a server that took the handshake, and did not send what the
// client waits for.
type SilentError struct {
	Messages, Want int
	Timeout        time.Duration
}

func (e *SilentError) Error() string {
	return fmt.Sprintf("the handshake is done, but of the %d messages that a client waits for %d came within %v", e.Want, e.Messages, e.Timeout)
}

// overdue is why an attempt has taken too long.
func (a *attempt) overdue(s *Swarm) error {
	switch {
	case a.switched:
		return &SilentError{a.messages, s.cfg.ReadyMessages, s.cfg.Timeout}
	case a.refused:
		text, _ := refusal(a.head, true)
		return errors.New(text)
	}
	return fmt.Errorf("no answer within %v", s.cfg.Timeout)
}

func (a *attempt) fail(why string) { a.end(errors.New(why)) }

func (a *attempt) end(err error) {
	if a.ended {
		return
	}
	a.ended = true
	a.timer.Stop()
	a.round.end(err)
}

// A Plan says which connections to make and how.
type Plan struct {
	Conns []int
	// Rate is how many a second begin, on a schedule that does not wait for those
	// before; 0 for as fast as Config.InFlight allows.
	Rate float64
	// Late says that messages may be under way already: the first that a client gets
	// sets where its streams begin.
	Late bool
	// Base is where the streams stand, if not Late.
	Base [stamp.Kinds]uint32
}

// maxFailed is how many connections of a round may fail before no more are tried.
const maxFailed = 100

// A round is one call of Connect; the swarm's lock guards it.
type round struct {
	swarm  *Swarm
	ctx    context.Context
	failed int
	first  error
	going  sync.WaitGroup
}

// end takes note of how one of its attempts ended.
func (r *round) end(err error) {
	if err != nil && r.ctx.Err() == nil {
		r.swarm.counts.Failed++
		if r.failed++; r.first == nil {
			r.first = err
		}
	}
	<-r.swarm.slots
	r.going.Done()
}

// Connect makes connections and waits for them. It returns the first error, and
// how many failed.
func (s *Swarm) Connect(ctx context.Context, p Plan) (failed int, first error) {
	r := &round{swarm: s, ctx: ctx}
	start := stamp.Now()
	for k, i := range p.Conns {
		due := int64(0)
		if p.Rate > 0 {
			due = start + int64(float64(k)*1e9/p.Rate)
			if !SleepUntil(ctx, due) {
				break
			}
		}
		if ctx.Err() != nil || !s.takeSlot(ctx) {
			break
		}
		if due == 0 {
			due = stamp.Now()
		}
		if r.going.Add(1); !s.dial(i, due, p, r) {
			break
		}
	}
	stop := context.AfterFunc(ctx, func() { s.abandon(p.Conns, r) })
	r.going.Wait()
	stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.failed, r.first
}

// takeSlot waits until one more connection may be on its way; false means that ctx
// ended. round.end gives the slot back.
func (s *Swarm) takeSlot(ctx context.Context) bool {
	select {
	case s.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// abandon ends what is under way of a round.
func (s *Swarm) abandon(conns []int, r *round) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range conns {
		if c := &s.conns[i]; c.try != nil && c.try.round == r {
			c.try.end(r.ctx.Err())
			c.cut()
		}
	}
}

// SleepUntil waits for a time of stamp.Now; false means that ctx ended.
func SleepUntil(ctx context.Context, at int64) bool {
	d := time.Duration(at - stamp.Now())
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// dial begins one connection of a round. It returns false when the round has failed
// too often to go on.
func (s *Swarm) dial(i int, due int64, p Plan, r *round) bool {
	req := s.cfg.Request(i)
	head := s.request(req)
	fd, err := connectTo(s.addr, s.cfg.source(s.cfg.Number(i)))
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.conns[i]
	if err == nil && c.fd != 0 {
		_ = unix.Close(fd)
		err = fmt.Errorf("connection %d is there already", i)
	}
	if err != nil {
		r.end(err)
		return r.failed < maxFailed
	}
	a := &attempt{due: due, hello: req.Hello, round: r}
	c.try, c.state, c.id = a, dialing, ""
	c.system, c.group, c.groupEnd, c.sent = req.System, req.Group, noEnd, 0
	c.fresh = 0
	for k := range stamp.Kinds {
		t := c.track(k)
		if t.Start(p.Base[k]); p.Late && k < stamp.Client {
			t.Start(noEnd)
			c.fresh |= 1 << k
		}
	}
	a.timer = time.AfterFunc(s.cfg.Timeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.try == a && !a.ended {
			a.end(a.overdue(s))
			c.cut()
		}
	})
	if s.cfg.TLS == nil {
		c.begin(fd, head)
		return r.failed < maxFailed
	}
	if c.begin(fd, nil); c.fd != 0 {
		c.secure(s.cfg.TLS, head)
	}
	return r.failed < maxFailed
}

func (s *Swarm) request(r Request) []byte {
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", r.Target, r.Host, s.key)
	for _, line := range r.Headers {
		b = append(append(b, line...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}
