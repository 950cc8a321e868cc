package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"carillon/engine/ws"
)

// newSwarm connects n clients, each to a goroutine of serve, which has its end of
// the connection after the handshake.
func newSwarm(t *testing.T, n int, serve func(net.Conn)) *Swarm {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				key := ws.AcceptKey(req.Header.Get("Sec-WebSocket-Key"))
				_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + key + "\r\n\r\n"))
				serve(conn)
			}()
		}
	}()
	s, failed, err := connectAll(t, n, ln.Addr().String())
	if err != nil {
		t.Fatalf("%d could not connect: %v", failed, err)
	}
	return s
}

func connectAll(t *testing.T, n int, addr string) (s *Swarm, failed int, err error) {
	t.Helper()
	s, err = New(Config{
		Conns: n, Addr: addr, InFlight: 8, Timeout: 30 * time.Second,
		Number:  func(i int) uint32 { return uint32(i) },
		Request: func(i int) Request { return Request{Target: "/", Host: "test"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	failed, err = s.Connect(context.Background(), Plan{Conns: all})
	return s, failed, err
}

// frames calls f with each frame that comes, until it returns false.
func frames(conn net.Conn, f func(ws.Event) bool) {
	dec := ws.Decoder{MaxMessage: 1 << 20}
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		for rest := buf[:n]; ; {
			var ev ws.Event
			if ev, rest, err = dec.Next(rest); err != nil || ev.Kind == ws.None {
				break
			}
			if !f(ev) {
				return
			}
		}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: still not after 30 s", what)
		}
	}
}

// What the kernel does not take waits, and goes out in order.
func TestUnsentGoesOut(t *testing.T) {
	const messages = 200
	read, got := make(chan struct{}), make(chan uint32, messages)
	s := newSwarm(t, 1, func(conn net.Conn) {
		<-read
		frames(conn, func(ev ws.Event) bool { got <- binary.BigEndian.Uint32(ev.Payload); return true })
	})
	s.mu.Lock()
	payload := make([]byte, 64<<10)
	for i := range uint32(messages) {
		binary.BigEndian.PutUint32(payload, i)
		s.conns[0].write(ws.OpBinary, payload)
	}
	waiting := len(s.conns[0].unsent)
	s.mu.Unlock()
	if waiting == 0 {
		t.Fatal("the kernel has taken 12 MiB, nothing had to wait")
	}
	close(read)
	for i := range uint32(messages) {
		select {
		case n := <-got:
			if n != i {
				t.Fatalf("message %d came as number %d", n, i)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("message %d of %d did not come", i, messages)
		}
	}
	until(t, "nothing waits any more", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.conns[0].unsent == nil
	})
}

func TestUnsentIsBounded(t *testing.T) {
	read := make(chan struct{})
	defer close(read)
	s := newSwarm(t, 1, func(net.Conn) { <-read })
	s.mu.Lock()
	payload := make([]byte, 1<<20)
	for range 3 * maxUnsent >> 20 {
		s.conns[0].write(ws.OpBinary, payload)
	}
	if n := len(s.conns[0].unsent); n > maxUnsent {
		t.Errorf("%d bytes wait, want at most %d", n, maxUnsent)
	}
	s.mu.Unlock()
	until(t, "the connection ends", func() bool { return s.Down([]int{0}) })
	if d := s.Take(); d.Broken != 1 || len(d.Complaints) == 0 || !strings.Contains(d.Complaints[0], "does not read") {
		t.Errorf("%d broken, complaints %q", d.Broken, d.Complaints)
	}
}

// Of each client one ping goes out, and only what answers it counts.
func TestPing(t *testing.T) {
	const clients = 20
	pings := make(chan struct{}, 2*clients)
	s := newSwarm(t, clients, func(conn net.Conn) {
		frames(conn, func(ev ws.Event) bool {
			if ev.Kind == ws.Ping {
				pings <- struct{}{}
				answer := bytes.Clone(ev.Payload)
				_, _ = conn.Write(ws.AppendFrame(nil, ws.OpPong, []byte("stray")))
				_, _ = conn.Write(ws.AppendFrame(nil, ws.OpPong, answer))
			}
			return true
		})
	})
	s.Ping(0, clients, 3)
	until(t, "all are answered", func() bool { return s.Take().Pongs >= clients })
	if n := s.Take().Pongs; n != clients || len(pings) != clients {
		t.Errorf("%d pings were sent and %d answered, want %d", len(pings), n, clients)
	}
}

// A server that is not there fails each attempt, up to the number that ends a round.
func TestNobodyListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	s, failed, err := connectAll(t, 2*maxFailed, ln.Addr().String())
	if failed < maxFailed || failed > maxFailed+8 || err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%d failed, want %d or a few more: %v", failed, maxFailed, err)
	}
	if n := s.Take().Failed; n != int64(failed) {
		t.Errorf("%d are counted, %d failed", n, failed)
	}
}

// A round that is called off keeps none of the slots that the next ones need.
func TestCalledOffRoundKeepsNoSlot(t *testing.T) {
	s := newSwarm(t, 1, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 100 {
		s.Connect(ctx, Plan{Conns: []int{0}})
	}
	if n := len(s.slots); n > 0 {
		t.Errorf("%d of %d slots are taken, nothing is under way", n, cap(s.slots))
	}
}
