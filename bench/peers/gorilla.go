package main

import (
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// gorillaServer is the library's chat example: two goroutines per client, one reads
// and one writes from a queue of 256 messages. A push is one PreparedMessage; who
// lets the queue fill up is cut off. Buffers are the library's default, which is to
// reuse those of net/http, 4 KiB each.
type gorillaServer struct {
	hub  *hub[*gorillaClient]
	echo bool
}

const (
	gorillaQueue     = 256
	gorillaWriteWait = 10 * time.Second
)

type gorillaClient struct {
	conn *websocket.Conn
	send chan *gorillaMessage
	done chan struct{} // closed by the reader
}

// A gorillaMessage is a push, or the echo of data.
type gorillaMessage struct {
	prepared *websocket.PreparedMessage
	kind     int
	data     []byte
}

func startGorilla(ln net.Listener, echo bool) (stop func(), err error) {
	s := &gorillaServer{hub: newHub[*gorillaClient](), echo: echo}
	return serveHTTP(ln, http.HandlerFunc(s.accept), s.push), nil
}

func (s *gorillaServer) accept(w http.ResponseWriter, r *http.Request) {
	who, err := identify(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var upgrader websocket.Upgrader
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	c := &gorillaClient{conn, make(chan *gorillaMessage, gorillaQueue), make(chan struct{})}
	s.hub.join(who, c)
	c.send <- &gorillaMessage{kind: websocket.TextMessage, data: welcome(who)}
	go c.write()
	go s.read(c, who)
}

func (s *gorillaServer) read(c *gorillaClient, who identity) {
	defer func() {
		s.hub.leave(who, c)
		close(c.done)
		c.conn.Close()
	}()
	extend := func(string) error { return c.conn.SetReadDeadline(time.Now().Add(pingInterval + pongWait)) }
	_ = extend("")
	c.conn.SetPongHandler(extend)
	for {
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		if s.echo {
			c.enqueue(&gorillaMessage{kind: kind, data: data})
		}
	}
}

func (c *gorillaClient) enqueue(m *gorillaMessage) {
	select {
	case c.send <- m:
	default:
		c.conn.Close() // and the reader cleans up
	}
}

func (c *gorillaClient) write() {
	ticker := time.NewTicker(pingInterval)
	defer func() {
		ticker.Stop()
		c.conn.Close()
	}()
	for {
		var m *gorillaMessage
		select {
		case m = <-c.send:
		case <-ticker.C:
			m = &gorillaMessage{kind: websocket.PingMessage}
		case <-c.done:
			return
		}
		_ = c.conn.SetWriteDeadline(time.Now().Add(gorillaWriteWait))
		var err error
		if m.prepared != nil {
			err = c.conn.WritePreparedMessage(m.prepared)
		} else {
			err = c.conn.WriteMessage(m.kind, m.data)
		}
		if err != nil {
			return
		}
	}
}

func (s *gorillaServer) push(to target, text []byte) (int, error) {
	prepared, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		return 0, err
	}
	clients := s.hub.match(to)
	m := &gorillaMessage{prepared: prepared}
	for _, c := range clients {
		c.enqueue(m)
	}
	return len(clients), nil
}
