package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carillon/engine/ws"
)

// Clients that do whatever comes to their minds, while they are pushed to, closed, and
// bound to groups: each gets pushes in order and without a gap up to its end, nobody is
// stuck, and nothing is left of them. Then the same with Shutdown in the middle of it.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	slowly := func(_ context.Context, h *Handshake) (Identity, error) {
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		return QueryIdentity(h)
	}
	for name, o := range map[string]Options{
		"plain":         {},
		"small budgets": {MaxQueuedTotal: 1 << 20, MaxQueuedBytes: 8 << 10, SlowPolicy: DropNew},
		"compress":      {Compress: true},
		"authenticate":  {Authenticate: slowly, MaxAuthenticating: 8},
		"TLS":           {TLS: server, Authenticate: slowly},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.CloseTimeout, o.HandshakeTimeout, o.MessageTimeout = time.Second, 2*time.Second, 2*time.Second
			o.PingInterval, o.PongTimeout = time.Second, 2*time.Second
			o.OnMessage = func(c *Client, k Kind, b []byte) {
				if len(b) > 0 && b[0] == 'e' {
					c.Echo(k, b)
				}
			}
			ledger := keepLedger(t, &o)
			e := serveBoth(t, o)
			h := hostile{t: t, e: e, tls: o.TLS != nil, client: client, drops: o.SlowPolicy != CloseSlow || o.Compress}
			h.attack(1500*time.Millisecond/time.Duration(fewer), func() {})
			if o.TLS != nil {
				gone(t, e)
			} else {
				settled(t, e, 0)
			}
			ledger.closed(e, 0)
			h.attack(500*time.Millisecond/time.Duration(fewer), func() { shutdown(t, e) })
			gone(t, e)
			t.Logf("%d clients, %d pushes came; closed %v, refused %v", h.clients.Load(), h.got.Load(), e.Stats().Closed, e.Stats().Refused)
		})
	}
}

type hostile struct {
	t            *testing.T
	e            *Engine
	tls, drops   bool // pushes may be missing, or not understood here
	client       *tls.Config
	clients, got atomic.Int64
}

// attack returns when the time is over and end has returned, and all clients have.
func (h *hostile) attack(d time.Duration, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var others, clients sync.WaitGroup
	for n := range 2 { // what is pushed to a system comes from one goroutine: that is its order
		system := fmt.Sprint(n)
		others.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := h.e.Push(context.Background(), ToSystem(system), Message{Data: numbered(i, rand.IntN(3000))}); err != nil {
					time.Sleep(time.Millisecond)
					i--
				}
			}
		})
		others.Go(func() {
			for ctx.Err() == nil {
				for c := range h.e.Clients(Query{System: system}) {
					switch rand.IntN(20) {
					case 0:
						c.Close("enough")
					case 1, 2:
						h.e.Bind(system, c.ID(), "g")
					case 3:
						h.e.Unbind(system, c.ID(), "g")
					}
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	for range 32 {
		clients.Go(func() {
			for ctx.Err() == nil {
				h.one()
			}
		})
	}
	time.Sleep(d)
	end()
	cancel()
	done := make(chan struct{})
	go func() { others.Wait(); clients.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		panic("somebody is stuck") // with everybody's stack
	}
}

// one is a client's life.
func (h *hostile) one() {
	conn, err := net.Dial("tcp", h.e.Addr().String())
	if err != nil {
		time.Sleep(5 * time.Millisecond)
		return
	}
	defer conn.Close()
	h.clients.Add(1)
	socket := conn.(*net.TCPConn)
	socket.SetDeadline(time.Now().Add(20 * time.Second))
	if rand.IntN(2) == 0 {
		socket.SetReadBuffer(8 << 10)
	}
	if h.tls {
		switch rand.IntN(8) {
		case 0:
			io.WriteString(socket, clientHello(h.client)[:rand.IntN(200)])
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
			if rand.IntN(2) == 0 {
				reset(socket)
			}
			return
		case 1:
			socket.SetReadBuffer(2 << 10)
		}
		secured := tls.Client(conn, h.client)
		if secured.Handshake() != nil {
			return
		}
		conn = secured
	}
	request := fmt.Sprintf(upgrade, fmt.Sprintf("system_id=%d&group_name=g", rand.IntN(2)))
	if h.e.opts.Compress {
		request = deflating(request)
	}
	switch rand.IntN(12) {
	case 0: // part of a head
		io.WriteString(conn, request[:rand.IntN(len(request))])
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		if rand.IntN(2) == 0 {
			reset(socket)
		}
		return
	case 1:
		io.WriteString(conn, apiGet)
	}
	junk := h.junk()
	if rand.IntN(4) == 0 {
		junk = junk[:rand.IntN(len(junk))]
	}
	io.WriteString(conn, request+string(junk))
	var reading sync.WaitGroup
	stop := make(chan struct{})
	reading.Go(func() { h.read(conn, stop) })
	defer reading.Wait()
	defer close(stop)
	for range rand.IntN(12) {
		switch rand.IntN(10) {
		case 0:
			reset(socket)
			return
		case 1:
			socket.CloseWrite()
		case 2:
			socket.CloseRead()
		case 3:
			conn.Write(ws.AppendMaskedFrame(nil, ws.OpClose, [4]byte{}, []byte{3, 232}))
		case 4:
			for _, b := range h.junk()[:5] {
				conn.Write([]byte{b})
				time.Sleep(time.Millisecond)
			}
		case 5:
			time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		default:
			junk := h.junk()
			if _, err := conn.Write(junk); err != nil {
				return
			}
		}
	}
	if rand.IntN(3) == 0 {
		reset(socket)
	}
}

// junk is frames that are mostly right.
func (h *hostile) junk() (b []byte) {
	for range 1 + rand.IntN(200) {
		payload := bytes.Repeat([]byte("x"), rand.IntN(100))
		switch rand.IntN(16) {
		case 0:
			payload = append([]byte("e"), bytes.Repeat([]byte("x"), rand.IntN(40_000))...)
			b = ws.AppendMaskedFrame(b, ws.OpText, [4]byte{1, 2, 3, 4}, payload)
		case 1, 2:
			b = ws.AppendMaskedFrame(b, ws.OpPing, [4]byte{1, 2, 3, 4}, payload)
		case 3:
			b = ws.AppendMaskedFrame(b, ws.OpPong, [4]byte{1, 2, 3, 4}, payload)
		case 4:
			at := len(b)
			b = ws.AppendMaskedFrame(b, ws.OpText, [4]byte{1, 2, 3, 4}, payload)
			b[at] = 0x01
			b = append(b, 0x80, 0x80, 0, 0, 0, 0)
		default:
			b = ws.AppendMaskedFrame(b, ws.OpText, [4]byte{1, 2, 3, 4}, payload)
		}
	}
	if rand.IntN(20) == 0 {
		b = b[:rand.IntN(len(b))+1]
	}
	return b
}

// read looks at what comes, with pauses, until that ends or stop is closed.
func (h *hostile) read(conn net.Conn, stop chan struct{}) {
	br := bufio.NewReader(conn)
	for {
		head, err := readUntil(br, "\r\n\r\n")
		if err != nil {
			return
		}
		if strings.HasPrefix(head, "HTTP/1.1 101") {
			break
		}
		if !strings.HasPrefix(head, "HTTP/1.1 200") {
			return
		}
		br.Discard(len("/api 0"))
	}
	w, last := &wire{br: br}, -1
	for {
		select {
		case <-stop:
			return
		default:
		}
		op, b, err := w.read()
		if err != nil {
			return
		}
		if op == ws.OpText && bytes.Contains(b, []byte(`"data"`)) && json.Valid(b) {
			n := number(b)
			if last >= 0 && n >= 0 && n != last+1 && !(h.drops && n > last) {
				h.t.Errorf("push %d came behind %d", n, last)
				return
			}
			if n >= 0 {
				last = n
				h.got.Add(1)
			}
		}
		if rand.IntN(50) == 0 {
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		}
	}
}
