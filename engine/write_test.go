package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// stuck opens a client that does not read, with a small receive buffer.
func stuck(t testing.TB, e *Engine, query string) (net.Conn, *Client) {
	t.Helper()
	before := map[ID]bool{}
	for c := range e.Clients(Query{}) {
		before[c.ID()] = true
	}
	d := net.Dialer{}
	conn, err := d.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	fmt.Fprintf(conn, upgrade, query)
	var found *Client
	eventually(t, "the client is open", func() bool {
		for c := range e.Clients(Query{}) {
			if !before[c.ID()] {
				found = c
			}
		}
		return found != nil
	})
	return conn, found
}

// frames reads unmasked frames and returns their payloads until the connection
// ends or a close frame comes.
func readFrames(t testing.TB, conn io.Reader) (payloads [][]byte, code uint16, reason string) {
	t.Helper()
	var head [10]byte
	for {
		if _, err := io.ReadFull(conn, head[:2]); err != nil {
			return payloads, 0, err.Error()
		}
		n := int(head[1])
		switch n {
		case 126:
			io.ReadFull(conn, head[2:4])
			n = int(binary.BigEndian.Uint16(head[2:4]))
		case 127:
			io.ReadFull(conn, head[2:10])
			n = int(binary.BigEndian.Uint64(head[2:10]))
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			return payloads, 0, err.Error()
		}
		if head[0] == 0x88 {
			return payloads, binary.BigEndian.Uint16(b), string(b[2:])
		}
		payloads = append(payloads, b)
	}
}

// A client that stops reading is closed when its budget is spent; the others do
// not notice, and the report says what happened to whom.
func TestSlowConsumer(t *testing.T) {
	ends := make(chan CloseReason, 1)
	e := newEngine(t, Options{MaxQueuedBytes: 64 << 10, OnClose: func(_ *Client, why CloseReason) { ends <- why }})
	conn, c := stuck(t, e, "system_id=1")
	good := dial(t, e, "system_id=1")
	data := append(append([]byte{'"'}, bytes.Repeat([]byte("x"), 16<<10)...), '"')
	var queued, dropped int
	for n := 0; dropped == 0; n++ {
		r, err := e.Push(testContext(t), ToSystem("1"), Message{Data: data})
		if err != nil || r.Matched != 2 || r.Matched != r.Written+r.Queued+r.Dropped {
			t.Fatalf("push %d: %+v, %v", n, r, err)
		}
		good.next()
		queued += r.Queued
		dropped += r.Dropped
		if held := c.Stats().QueuedBytes; held > (64+16)<<10+1000 {
			t.Fatalf("%d bytes wait, over the budget", held)
		}
		if n > 2000 {
			t.Fatal("never full")
		}
	}
	if queued == 0 {
		t.Error("nothing was ever queued")
	}
	if why := <-ends; why != CloseSlowConsumer {
		t.Errorf("closed for %v", why)
	}
	if r := push(t, e, ToSystem("1"), "1"); r.Matched != 1 {
		t.Errorf("the slow client is still matched: %+v", r)
	}
	br := bufio.NewReader(conn)
	if _, err := readUntil(br, "\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, code, reason := readFrames(t, br); code != 3008 || reason != "slow consumer" {
		t.Errorf("ended with %d %q, want 3008", code, reason)
	}
}

// What waits for a client arrives whole, once and in order when it reads again,
// shared frames and its own mixed, and a close frame comes last.
func TestQueueDrainsInOrder(t *testing.T) {
	e := newEngine(t, Options{MaxQueuedBytes: 8 << 20, NoWelcome: true, CloseTimeout: 20 * time.Second})
	conn, c := stuck(t, e, "system_id=1")
	var want []string
	queued := 0
	for n := 0; queued < 200; n++ {
		payload := bytes.Repeat([]byte{byte('a' + n%26)}, 1+n*37%30_000)
		if n%3 == 0 {
			if c.Echo(Binary, payload) == Queued {
				queued++
			}
		} else {
			r, err := e.Push(testContext(t), ToSystem("1"), Message{Kind: Binary, Data: payload})
			if err != nil || r.Dropped > 0 {
				t.Fatalf("push %d: %+v, %v", n, r, err)
			}
			queued += r.Queued
		}
		want = append(want, string(payload))
	}
	if s := c.Stats(); s.QueuedBytes == 0 {
		t.Error("nothing waits")
	}
	c.Close("end")
	if c.Echo(Text, []byte("late")) != Dropped {
		t.Error("a closing client takes messages")
	}
	head, err := readUntil(conn, "\r\n\r\n")
	if err != nil {
		t.Fatal(head, err)
	}
	got, code, reason := readFrames(t, bufio.NewReader(conn))
	if code != 3500 || reason != "end" {
		t.Errorf("ended with %d %q", code, reason)
	}
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i := range want {
		if string(got[i]) != want[i] {
			t.Fatalf("message %d: %d bytes of %q..., want %d of %q...", i, len(got[i]), got[i][:1], len(want[i]), want[i][:1])
		}
	}
	if got := c.Stats(); got.QueuedBytes != 0 || got.MessagesOut != uint64(len(want)) {
		t.Errorf("stats %+v after %d messages", got, len(want))
	}
}

// A message longer than the budget reaches a client that reads.
func TestMessageOverBudget(t *testing.T) {
	e := newEngine(t, Options{MaxQueuedBytes: 1 << 10})
	p := dial(t, e, "system_id=1")
	data := append(append([]byte{'"'}, bytes.Repeat([]byte("x"), 8<<20)...), '"')
	if _, err := e.Push(testContext(t), ToSystem("1"), Message{Data: data}); err != nil {
		t.Fatal(err)
	}
	if env := p.next(); !bytes.Equal(env.Data, data) {
		t.Errorf("%d bytes arrived, want %d", len(env.Data), len(data))
	}
}

// A client that reads is no slow consumer for what it sends behind a message whose
// echo is still being written: a ping, or another such message.
func TestBehindLargeEcho(t *testing.T) {
	for _, queue := range []int{1 << 10, 8<<20 + 16} {
		e := newEngine(t, Options{MaxQueuedBytes: queue, MaxMessageBytes: 8 << 20,
			OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) }})
		p := dial(t, e, "system_id=1")
		large := bytes.Repeat([]byte("x"), 8<<20)
		n := 1
		if queue >= len(large) {
			n = 2 // one that is being written, and one that waits
		}
		wrote := make(chan error, 1)
		go func() {
			for range n {
				if err := p.Write(testContext(t), websocket.MessageBinary, large); err != nil {
					wrote <- err
					return
				}
			}
			wrote <- p.Ping(testContext(t))
		}()
		// The whole of it is with the server before anything is read.
		eventually(t, "all has come", func() bool { return e.Stats().BytesIn > uint64(n*len(large)) })
		time.Sleep(50 * time.Millisecond) // and the ping, most times
		p.SetReadLimit(-1)
		for range n {
			if _, b, err := p.Read(testContext(t)); err != nil || !bytes.Equal(b, large) {
				t.Fatalf("%d bytes came back, %v", len(b), err)
			}
		}
		go p.Read(testContext(t)) // for the pong
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	}
}

// A peer that has us answer pings and does not read the answers.
func TestPingFlood(t *testing.T) {
	ends := make(chan CloseReason, 1)
	e := newEngine(t, Options{MaxQueuedBytes: 4 << 10, MaxInboundMessages: -1, MaxInboundBytes: -1,
		OnClose: func(_ *Client, why CloseReason) { ends <- why }})
	conn, _ := stuck(t, e, "system_id=1")
	ping := append([]byte{0x89, 0xfd, 0, 0, 0, 0}, make([]byte, 125)...)
	flood := bytes.Repeat(ping, 1000)
	go func() {
		for {
			if _, err := conn.Write(flood); err != nil {
				return
			}
		}
	}()
	select {
	case why := <-ends:
		if why != CloseSlowConsumer {
			t.Errorf("closed for %v", why)
		}
	case <-time.After(30 * time.Second):
		t.Error("still open")
	}
}

func TestBusy(t *testing.T) {
	e := newEngine(t, Options{MaxPendingPushes: 3, MaxPendingBytes: 1 << 20})
	for range small + 1 {
		dial(t, e, "system_id=1")
	}
	// No worker is free: the test holds them by their queues' locks.
	for _, l := range e.loops {
		l.tasks.mu.Lock()
	}
	held := make(chan error, 1)
	go func() {
		_, err := e.Push(testContext(t), ToSystem("1"), Message{Data: []byte("1")})
		held <- err
	}()
	time.Sleep(50 * time.Millisecond)
	for _, l := range e.loops {
		l.tasks.mu.Unlock()
	}
	if err := <-held; err != nil {
		t.Fatal(err)
	}

	// A push that is admitted, and never served, as far as the scheduler knows.
	s := newScheduler(nil, e.opts)
	set := e.reg.System("1")
	for n := range 4 {
		err := s.submit(&job{set: set, lane: "1", bytes: 1, done: make(chan struct{})})
		if want := n == 3; errors.Is(err, ErrBusy) != want {
			t.Errorf("push %d of one system: %v", n, err)
		}
	}
	if err := s.submit(&job{set: set, lane: "2", bytes: 1 << 20, done: make(chan struct{})}); !errors.Is(err, ErrBusy) {
		t.Errorf("over MaxPendingBytes: %v", err)
	}
	if err := s.submit(&job{set: set, lane: "2", bytes: 1, done: make(chan struct{})}); err != nil {
		t.Errorf("another system: %v", err)
	}
	s.close()
	if err := s.submit(&job{set: set, lane: "3", done: make(chan struct{})}); !errors.Is(err, ErrShutdown) {
		t.Errorf("after close: %v", err)
	}
}
