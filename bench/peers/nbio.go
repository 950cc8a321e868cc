package main

import (
	"fmt"
	"net"
	"net/http"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// nbioServer is nbio's own HTTP and WebSocket layers, as its websocket example uses
// them: non-blocking, no goroutine per client. The library has no way to encode a
// message once: WriteMessage copies it for each receiver. Buffers and the number of
// pollers (a quarter of the processors, at least one) are its defaults. A client that
// holds up more than maxNbioBuffer is cut off.
type nbioServer struct{ hub *hub[*websocket.Conn] }

const maxNbioBuffer = 256 << 10

func startNbio(ln net.Listener, echo bool) (stop func(), err error) {
	logging.SetLevel(logging.LevelError)
	s := &nbioServer{newHub[*websocket.Conn]()}
	upgrader := websocket.NewUpgrader()
	upgrader.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, data []byte) {
		if echo {
			_ = c.WriteMessage(kind, data)
		}
	})
	upgrader.OnClose(func(c *websocket.Conn, _ error) {
		if who, ok := c.Session().(identity); ok {
			s.hub.leave(who, c)
		}
	})
	accept := func(w http.ResponseWriter, r *http.Request) {
		who, err := identify(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		c.SetSession(who)
		s.hub.join(who, c)
		if err := c.WriteMessage(websocket.TextMessage, welcome(who)); err != nil {
			s.hub.leave(who, c) // OnClose may have come before the session
		}
	}
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:                 "tcp",
		Addrs:                   []string{ln.Addr().String()},
		Listen:                  func(string, string) (net.Listener, error) { return ln, nil },
		MaxLoad:                 1_000_000,
		MaxWriteBufferSize:      maxNbioBuffer,
		ReleaseWebsocketPayload: true,
		Handler:                 newAPI(http.HandlerFunc(accept), s.push),
	})
	if err := engine.Start(); err != nil {
		return nil, fmt.Errorf("nbio: %w", err)
	}
	stopped := make(chan struct{})
	// Any answer moves the library's own read deadline of 120 s.
	go s.hub.heartbeat(stopped, func(c *websocket.Conn) { _ = c.WriteMessage(websocket.PingMessage, nil) })
	return func() {
		close(stopped)
		engine.Stop()
	}, nil
}

func (s *nbioServer) push(to target, text []byte) (int, error) {
	clients := s.hub.match(to)
	for _, c := range clients {
		_ = c.WriteMessage(websocket.TextMessage, text) // a closed client leaves in OnClose
	}
	return len(clients), nil
}
