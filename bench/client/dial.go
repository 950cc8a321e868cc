package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lesismal/nbio"

	"carillon/bench/stamp"
	"carillon/engine/ws"
)

// An attempt is a connection on its way up; the swarm's lock guards it.
type attempt struct {
	due      int64 // when it was to begin
	head     []byte
	switched bool // the 101 has come
	messages int  // since then
	hello    []string
	done     chan error // capacity 1
	ended    bool
}

// maxResponse bounds the answer to a handshake.
const maxResponse = 16 << 10

// handshake takes bytes of the answer and returns those of frames behind it, nil
// while there are none.
func (a *attempt) handshake(c *conn, b []byte) []byte {
	a.head = append(a.head, b...)
	end := bytes.Index(a.head, []byte("\r\n\r\n"))
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
		a.fail("the server answers the handshake with " + status)
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

func (a *attempt) fail(why string) { a.end(errors.New(why)) }

func (a *attempt) end(err error) {
	if !a.ended {
		a.ended = true
		a.done <- err
	}
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

// maxFailed is how many connections may fail before no more are tried.
const maxFailed = 100

// Connect makes connections and waits for them. It returns the first error, and
// how many failed.
func (s *Swarm) Connect(ctx context.Context, p Plan) (failed int, first error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	start := stamp.Now()
	for k, i := range p.Conns {
		due := int64(0)
		if p.Rate > 0 {
			due = start + int64(float64(k)*1e9/p.Rate)
			if !SleepUntil(ctx, due) {
				break
			}
		}
		mu.Lock()
		giveUp := failed >= maxFailed
		mu.Unlock()
		if giveUp {
			break
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		if due == 0 {
			due = stamp.Now()
		}
		wg.Go(func() {
			err := s.dial(ctx, i, due, p)
			<-s.slots
			if err != nil && ctx.Err() == nil {
				mu.Lock()
				defer mu.Unlock()
				failed++
				if first == nil {
					first = err
				}
			}
		})
	}
	wg.Wait()
	if failed > 0 {
		s.mu.Lock()
		s.counts.Failed += int64(failed)
		s.mu.Unlock()
	}
	return failed, first
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

func (s *Swarm) dial(ctx context.Context, i int, due int64, p Plan) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	d := net.Dialer{KeepAlive: -1, Control: bindLate}
	if s.cfg.Sources > 0 {
		n := s.cfg.Number(i) % uint32(s.cfg.Sources)
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, byte((n+2)>>8), byte(n+2))}
	}
	raw, err := d.DialContext(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return err
	}
	nc, err := toNBIO(raw)
	if err != nil {
		_ = raw.Close()
		return fmt.Errorf("cannot watch a connection: %w", err)
	}
	r := s.cfg.Request(i)
	c := &s.conns[i]
	a := &attempt{due: due, done: make(chan error, 1), hello: r.Hello}
	s.mu.Lock()
	if c.nc != nil {
		s.mu.Unlock()
		_ = nc.Close()
		return fmt.Errorf("connection %d is there already", i)
	}
	c.nc, c.try, c.state, c.id = nc, a, dialing, ""
	c.system, c.group, c.groupEnd, c.sent = r.System, r.Group, noEnd, 0
	c.fresh = 0
	for k := range stamp.Kinds {
		t := c.track(k)
		if t.Start(p.Base[k]); p.Late && k < stamp.Client {
			t.Start(noEnd)
			c.fresh |= 1 << k
		}
	}
	s.mu.Unlock()
	// The lock is what makes the session visible to the poller.
	nc.Lock()
	nc.SetSession(c)
	nc.Unlock()
	if _, err := s.nb.AddConn(nc); err != nil {
		s.mu.Lock()
		c.nc, c.try, c.state = nil, nil, down
		s.mu.Unlock()
		return fmt.Errorf("cannot watch a connection: %w", err)
	}
	if _, err := nc.Write(s.request(r)); err != nil {
		return err
	}
	select {
	case err = <-a.done:
		return err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.fail(fmt.Sprintf("no answer within %v", s.cfg.Timeout))
	if c.nc == nc && c.state == dialing {
		c.cut()
	}
	return <-a.done
}

func (s *Swarm) request(r Request) []byte {
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", r.Target, r.Host, s.key)
	for _, line := range r.Headers {
		b = append(append(b, line...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// toNBIO makes a connection nbio's: a duplicate of its descriptor, while raw itself
// is closed.
func toNBIO(raw net.Conn) (*nbio.Conn, error) {
	syscall.ForkLock.RLock() // between dup and close-on-exec
	defer syscall.ForkLock.RUnlock()
	nc, err := nbio.NBConn(raw)
	if err == nil {
		syscall.CloseOnExec(nc.Hash())
	}
	return nc, err
}
