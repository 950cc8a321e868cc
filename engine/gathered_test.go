package engine

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"carillon/engine/ws"
)

// memoryHeld is the memory that the heap has in use, without garbage.
func memoryHeld() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What clients have sent in part is counted, whatever it is; over the budget those go
// that have sent most, and who sent little stays.
func TestGatheredIsBounded(t *testing.T) {
	const total, n = 4 << 20, 300
	message := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 65_000))
	fragments := []byte{0x01, 0xfe, 0, 200, 0, 0, 0, 0}
	fragments = append(fragments, bytes.Repeat([]byte("x"), 200)...)
	for range 250 {
		fragments = append(fragments, 0x00, 0xfe, 0, 200, 0, 0, 0, 0)
		fragments = append(fragments, bytes.Repeat([]byte("x"), 200)...)
	}
	head := fmt.Sprintf(upgrade, "system_id=1")
	slowly := func(ctx context.Context, h *Handshake) (Identity, error) {
		<-ctx.Done()
		return QueryIdentity(h)
	}
	for name, tt := range map[string]struct {
		o    Options
		sent string
		open bool
	}{
		"part of a message":    {Options{}, head + string(message[:60_000]), true},
		"fragments":            {Options{}, head + string(fragments), true},
		"compressed fragments": {Options{Compress: true}, deflating(head) + "\x41" + string(fragments[1:]), true},
		"part of a head":       {Options{}, head[:len(head)-2] + "X: " + strings.Repeat("x", 7_900-len(head)), false},
		"behind the head":      {Options{Authenticate: slowly, AuthTimeout: time.Minute}, head + string(message[:30_000]), false},
	} {
		t.Run(name, func(t *testing.T) {
			tt.o.MaxQueuedTotal = total
			e := newEngine(t, tt.o)
			before := memoryHeld()
			for range n {
				conn := rawConn(t, e, tt.sent)
				go func() { // until it is ended
					conn.SetReadDeadline(time.Now().Add(10 * time.Second))
					var b [512]byte
					for {
						if _, err := conn.Read(b[:]); err != nil {
							return
						}
					}
				}()
			}
			ended := func() uint64 { s := e.Stats(); return s.Closed[CloseMemory] + s.Refused[labelMemory] }
			size := int64(len(tt.sent) - len(head))
			eventually(t, "those over the budget are ended", func() bool {
				return e.backlog.in.Load() > total/2 && int64(n-ended())*size <= total+size || int64(n)*size < total
			})
			if got := e.Stats().GatheredBytes; got > total {
				t.Errorf("%d bytes are held, over %d", got, total)
			}
			eventually(t, "their memory is given back", func() bool { return memoryHeld()-before < 3*total })
		})
	}
}

func deflating(head string) string {
	return head[:len(head)-2] + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
}

// A client in the middle of a little is not ended for those who are in the middle of much,
// and all that was held is counted out when a message is complete.
func TestGatheredGreediestFirst(t *testing.T) {
	got := make(chan int, 1)
	e := newEngine(t, Options{MaxQueuedTotal: 1 << 20, OnMessage: func(_ *Client, _ Kind, b []byte) { got <- len(b) }})
	modest := dialWire(t, e, "system_id=1")
	frame := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 2000))
	modest.Write(frame[:1000])
	part := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 65_000))[:60_000]
	for range 40 {
		w := dialWire(t, e, "system_id=1")
		w.Write(part)
	}
	eventually(t, "some are ended", func() bool { return e.Stats().Closed[CloseMemory] >= 20 })
	modest.Write(frame[1000:])
	if n := <-got; n != 2000 {
		t.Errorf("the modest one's message has %d bytes", n)
	}
	for c := range e.Clients(Query{}) {
		c.cut()
	}
	settled(t, e, 0)
}

// A message has to end in time, also if its bytes keep coming.
func TestMessageTimeout(t *testing.T) {
	t.Parallel()
	ends := make(chan CloseReason, 1)
	e := newEngine(t, Options{MessageTimeout: time.Second, OnClose: func(_ *Client, why CloseReason) { ends <- why }})
	w := dialWire(t, e, "system_id=1")
	frame := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 1000))
	go func() {
		for _, b := range frame {
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	if end := w.each(func([]byte) bool { return true }); end.code != 1008 {
		t.Errorf("ended with %d, %v, want 1008", end.code, end.err)
	}
	if why := <-ends; why != CloseUnfinished {
		t.Errorf("closed for %v", why)
	}
}

// What counts against MaxQueuedBytes is the memory that is kept, however small the
// messages.
func TestQueueCountsMemory(t *testing.T) {
	const clients = 10
	e := newEngine(t, Options{NoWelcome: true, MaxQueuedBytes: 256 << 10, SlowPolicy: DropNew})
	var all []*Client
	for range clients {
		conn, c := stuckRaw(t, e)
		all = append(all, c)
		defer conn.Close()
	}
	for _, c := range all { // until the kernel takes no more
		for c.Echo(Binary, make([]byte, 64<<10)) == Written {
		}
	}
	before := memoryHeld()
	for n := 0; ; n++ {
		r, err := e.Push(testContext(t), ToSystem("1"), Message{Data: []byte("1")})
		if err != nil {
			t.Fatal(err)
		}
		if r.Queued == 0 {
			break
		}
	}
	var counted int64
	for _, c := range all {
		counted += int64(c.Stats().QueuedBytes)
	}
	if grown := memoryHeld() - before; grown > counted*3/2 {
		t.Errorf("the heap has grown by %d bytes, %d are counted", grown, counted)
	}
}

// stuckRaw is stuck for a client of SubprotocolRaw.
func stuckRaw(t testing.TB, e *Engine) (net.Conn, *Client) {
	t.Helper()
	n := e.Count(Query{})
	conn := rawConn(t, e, strings.TrimSuffix(fmt.Sprintf(upgrade, "system_id=1"), "\r\n")+"Sec-WebSocket-Protocol: "+SubprotocolRaw+"\r\n\r\n")
	conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	eventually(t, "it is open", func() bool { return e.Count(Query{}) == n+1 })
	var last *Client
	for c := range e.Clients(Query{}) {
		if last == nil || c.ID() > last.ID() {
			last = c
		}
	}
	return conn, last
}

// Refused handshakes do not use up the memory that there is for clients.
func TestRefusedFreeRoom(t *testing.T) {
	e := newEngine(t, Options{MemoryLimit: 1 << 40, Authenticate: func(_ context.Context, h *Handshake) (Identity, error) {
		if h.Header("X-In") == "" {
			return Identity{}, &RefuseError{Status: 401}
		}
		return QueryIdentity(h)
	}})
	e.room.Store(3)
	for range 20 {
		conn := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
		b, _ := readUntil(conn, "\r\n\r\n")
		if !strings.HasPrefix(b, "HTTP/1.1 401") {
			t.Fatalf("got %q", b)
		}
	}
}

// Who has ended meanwhile, in time or by itself, takes no room: it would not be freed.
func TestEndedTakeNoRoom(t *testing.T) {
	e := newEngine(t, Options{MemoryLimit: 1 << 40})
	for _, state := range []clientState{stateClosing, stateClosed} {
		e.room.Store(3)
		c, hs := &Client{loop: e.loops[0], state: state}, new(handshake)
		if _, err := checkMemory(c, hs, nil); err == nil || hs.room || e.room.Load() != 3 {
			t.Errorf("%v, room %v, %d left", err, hs.room, e.room.Load())
		}
	}
}

// When many have gone at once their memory is given back to the system.
func TestMemoryTide(t *testing.T) {
	var tide memoryTide
	var gave []uint32
	for now, conns := range []int64{0, 500, 20_000, 20_000, 9_000, 100, 100, 100, 100, 1500, 100, 100, 100, 100, 100, 100, 100} {
		tide.flows(conns)
		if tide.ebbs(conns, uint32(now)) {
			gave = append(gave, uint32(now))
		}
	}
	if got := fmt.Sprint(gave); got != "[6 11]" {
		t.Errorf("given back at %s, want [6 11]", got)
	}
}
