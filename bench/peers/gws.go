package main

import (
	"net"
	"net/http"
	"time"

	"github.com/lxzan/gws"
)

// gwsServer is the README's best practice: an Upgrader under net/http, a goroutine
// per client that reads, and a Broadcaster, which encodes a push once. Buffers are
// the library's: 4 KiB to read from, pooled ones to write. Its queue of a client has
// no bound; the deadline, which each pong moves, ends clients that do not read.
type gwsServer struct {
	gws.BuiltinEventHandler
	hub  *hub[*gws.Conn]
	echo bool
}

func startGWS(ln net.Listener, echo bool) (stop func(), err error) {
	s := &gwsServer{hub: newHub[*gws.Conn](), echo: echo}
	upgrader := gws.NewUpgrader(s, &gws.ServerOption{
		Authorize: func(r *http.Request, session gws.SessionStorage) bool {
			who, err := identify(r.URL.Query())
			session.Store("who", who)
			return err == nil
		},
	})
	accept := func(w http.ResponseWriter, r *http.Request) {
		if socket, err := upgrader.Upgrade(w, r); err == nil {
			go socket.ReadLoop()
		}
	}
	return serveHTTP(ln, http.HandlerFunc(accept), s.push, func(stopped <-chan struct{}) {
		s.hub.heartbeat(stopped, func(c *gws.Conn) { c.WriteAsync(gws.OpcodePing, nil, nil) })
	}), nil
}

func (s *gwsServer) push(to target, text []byte) (int, error) {
	clients := s.hub.match(to)
	b := gws.NewBroadcaster(gws.OpcodeText, text)
	defer b.Close()
	for _, c := range clients {
		_ = b.Broadcast(c) // a closed client leaves in OnClose
	}
	return len(clients), nil
}

func gwsIdentity(c *gws.Conn) identity {
	v, _ := c.Session().Load("who")
	return v.(identity)
}

func (s *gwsServer) OnOpen(c *gws.Conn) {
	_ = c.SetDeadline(time.Now().Add(pingInterval + pongWait))
	who := gwsIdentity(c)
	s.hub.join(who, c)
	_ = c.WriteMessage(gws.OpcodeText, welcome(who))
}

func (s *gwsServer) OnClose(c *gws.Conn, _ error) { s.hub.leave(gwsIdentity(c), c) }

func (s *gwsServer) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) } // the built-in one sends no payload

func (s *gwsServer) OnPong(c *gws.Conn, _ []byte) {
	_ = c.SetDeadline(time.Now().Add(pingInterval + pongWait))
}

func (s *gwsServer) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if s.echo {
		_ = c.WriteMessage(m.Opcode, m.Bytes())
	}
}
