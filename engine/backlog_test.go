package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"testing"
)

// fill pushes binary messages of 8 KiB, numbered in their first bytes, until one
// is dropped, and returns how many were not.
func fill(t *testing.T, e *Engine, c *Client) (sent int) {
	t.Helper()
	for {
		b := make([]byte, 8<<10)
		copy(b, fmt.Sprintf("%06d", sent))
		r, err := e.Push(testContext(t), ToClient("1", c.ID()), Message{Kind: Binary, Data: b})
		if err != nil {
			t.Fatal(err)
		}
		if r.Dropped > 0 {
			return sent
		}
		if sent++; sent > 10_000 {
			t.Fatal("never full")
		}
	}
}

func TestDropNew(t *testing.T) {
	e := newEngine(t, Options{NoWelcome: true, SlowPolicy: DropNew})
	conn, c := stuck(t, e, "system_id=1")
	sent := fill(t, e, c)
	c.Close("")
	br := bufio.NewReader(conn)
	readUntil(br, "\r\n\r\n")
	got, code, _ := readFrames(t, br)
	if len(got) != sent || code != 3500 {
		t.Fatalf("%d messages and close code %d, want the %d that were not dropped", len(got), code, sent)
	}
	for i, b := range got {
		if want := fmt.Sprintf("%06d", i); string(b[:6]) != want {
			t.Fatalf("message %d is %s", i, b[:6])
		}
	}
	if d := e.Stats().Dropped; d != 1 {
		t.Errorf("%d dropped, want 1", d)
	}
}

func TestDropOldest(t *testing.T) {
	e := newEngine(t, Options{NoWelcome: true, SlowPolicy: DropOldest})
	conn, c := stuck(t, e, "system_id=1")
	const sent = 2000
	for n := range sent {
		b := bytes.Repeat([]byte{'x'}, 8<<10)
		copy(b, fmt.Sprintf("%06d", n))
		r, err := e.Push(testContext(t), ToClient("1", c.ID()), Message{Kind: Binary, Data: b})
		if err != nil || r.Dropped > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		if held := c.Stats().QueuedBytes; held > (64+8)<<10+100 {
			t.Fatalf("%d bytes wait", held)
		}
	}
	c.Close("")
	br := bufio.NewReader(conn)
	readUntil(br, "\r\n\r\n")
	got, code, _ := readFrames(t, br)
	if code != 3500 {
		t.Errorf("close code %d", code)
	}
	dropped := int(e.Stats().Dropped)
	if dropped == 0 || len(got)+dropped != sent {
		t.Fatalf("%d messages arrived and %d were dropped, of %d", len(got), dropped, sent)
	}
	// A run from the first, a gap of those dropped, and a run to the last.
	for i, b := range got {
		want := i
		if string(b[:6]) != fmt.Sprintf("%06d", i) {
			want = i + dropped
		}
		if len(b) != 8<<10 || string(b[:6]) != fmt.Sprintf("%06d", want) {
			t.Fatalf("message %d is %s, %d bytes", i, b[:6], len(b))
		}
	}
}

// When the engine's budget is spent, the client that holds most goes; the others
// keep what waits for them.
func TestShed(t *testing.T) {
	ends := make(chan ID, 10)
	e := newEngine(t, Options{NoWelcome: true, MaxQueuedBytes: 4 << 20, MaxQueuedTotal: 2 << 20,
		OnClose: func(c *Client, why CloseReason) {
			if why == CloseMemory {
				ends <- c.ID()
			}
		}})
	var small []*Client
	for range 3 {
		_, c := stuck(t, e, "system_id=1")
		for c.Stats().QueuedBytes < 100<<10 {
			c.Echo(Binary, make([]byte, 32<<10))
		}
		small = append(small, c)
	}
	_, big := stuck(t, e, "system_id=1")
	for e.Count(Query{}) == 4 {
		big.Echo(Binary, make([]byte, 64<<10))
	}
	if id := <-ends; id != big.ID() {
		t.Errorf("client %v went, want %v, who held most", id, big.ID())
	}
	for _, c := range small {
		if c.Stats().QueuedBytes == 0 {
			t.Error("a small one lost what waited for it")
		}
	}
	eventually(t, "its memory is given back", func() bool {
		var held int64
		for _, c := range small {
			held += int64(c.Stats().QueuedBytes)
		}
		return e.Stats().QueuedBytes == held
	})
	if len(ends) > 0 {
		t.Errorf("client %v went, too", <-ends)
	}
	for _, c := range small {
		c.cut()
	}
	eventually(t, "all memory is given back", func() bool { return e.Stats().QueuedBytes == 0 && holdings(e) == 0 })
}

// A message that is longer than MaxQueuedBytes may wait alone, but for few: the
// budget of all holds, and what was cut off for it is not counted any more.
func TestShedAfterOneMessage(t *testing.T) {
	const clients, total = 20, 8 << 20
	o := Options{NoWelcome: true, MaxQueuedTotal: total}
	ledger := keepLedger(t, &o)
	e := newEngine(t, o)
	for range clients {
		stuck(t, e, "system_id=1")
	}
	data := make([]byte, 6<<20) // the kernel takes up to 4 MiB of each
	r, err := e.Push(testContext(t), ToSystem("1"), Message{Kind: Binary, Data: data})
	if err != nil || r.Matched != clients || r.Queued != clients {
		t.Fatalf("%+v, %v, want %d queued", r, err, clients)
	}
	if queued := e.Stats().QueuedBytes; queued > total {
		t.Errorf("%d bytes wait, over the budget of %d", queued, total)
	}
	left := e.Count(Query{})
	if left == 0 || left == clients {
		t.Errorf("%d of %d clients are left", left, clients)
	}
	if reasons := ledger.closed(e, left); reasons[CloseMemory] != clients-left {
		t.Errorf("OnClose was given %v, want memory for %d", reasons, clients-left)
	}
	for c := range e.Clients(Query{}) {
		c.cut()
	}
	settled(t, e, 0)
}
