package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
)

// centrifugeServer speaks the library's own JSON protocol: a client first sends
// {"id":1,"connect":{}}, and the answer's data is the welcome. The server subscribes
// it to a channel for everyone, its system's and its groups'; a push publishes into
// one of them, which encodes it once, and a push to one client is an asynchronous
// message to it. Clients' messages are {"send":{"data":…}}. Everything that could be
// set has its default, among them queues of 1 MiB and up to 16 messages in a frame,
// but for the pings: they are WebSocket's own, for clients that do not know the
// library's.
type centrifugeServer struct {
	node *centrifuge.Node
	echo bool
}

func startCentrifuge(ln net.Listener, echo bool) (stop func(), err error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	s := &centrifugeServer{node, echo}
	node.OnConnecting(s.connecting)
	node.OnConnect(func(c *centrifuge.Client) {
		if echo {
			c.OnMessage(func(e centrifuge.MessageEvent) { _ = c.Send(e.Data) })
		}
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: pingInterval, PongTimeout: pongWait},
	})
	accept := func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		who, err := identify(query)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		query.Set("cf_ws_frame_ping_pong", "true")
		r.URL.RawQuery = query.Encode()
		ctx := context.WithValue(r.Context(), identityKey{}, who)
		handler.ServeHTTP(w, r.WithContext(ctx))
	}
	stopHTTP := serveHTTP(ln, http.HandlerFunc(accept), s.push)
	return func() {
		stopHTTP()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = node.Shutdown(ctx) // its clients are cut off at the latest when the process ends
	}, nil
}

type identityKey struct{}

func (s *centrifugeServer) connecting(ctx context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	who, ok := ctx.Value(identityKey{}).(identity)
	if !ok {
		return centrifuge.ConnectReply{}, centrifuge.DisconnectServerError
	}
	reply := centrifuge.ConnectReply{
		Credentials:   &centrifuge.Credentials{UserID: who.id},
		Data:          welcome(who),
		Subscriptions: map[string]centrifuge.SubscribeOptions{},
	}
	for _, t := range who.targets() {
		reply.Subscriptions[channel(t)] = centrifuge.SubscribeOptions{}
	}
	return reply, nil
}

// channel is the name of a target's channel. %q keeps system "a/b" apart from group
// b of system a.
func channel(t target) string {
	switch {
	case t.group != "":
		return fmt.Sprintf("%q/%q", t.system, t.group)
	case t.system != "":
		return fmt.Sprintf("%q", t.system)
	}
	return "all"
}

func (s *centrifugeServer) push(to target, text []byte) (matched int, err error) {
	if to.client == "" {
		name := channel(to)
		matched = s.node.Hub().NumSubscribers(name)
		_, err = s.node.Publish(name, text)
		return matched, err
	}
	for _, c := range s.node.Hub().UserConnections(to.client) {
		if c.IsSubscribed(channel(target{system: to.system})) {
			matched++
			err = c.Send(text)
		}
	}
	return matched, err
}
