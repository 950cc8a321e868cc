package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A peer is a server that does Carillon's job with some library. start serves on ln
// until stop is called; with echo, it returns each client's message to it.
type peer struct {
	name  string
	start func(ln net.Listener, echo bool) (stop func(), err error)
}

// peers are in the order of the table. The floor comes first: what it needs is what
// the kernel and a registry of maps need.
var peers = []peer{
	{"floor", startFloor},
	{"gws", startGWS},
	{"gorilla", startGorilla},
	{"nbio", startNbio},
	{"centrifuge", startCentrifuge},
}

func peerNames() (names []string) {
	for _, p := range peers {
		names = append(names, p.name)
	}
	return names
}

// serve runs the peer of the name on addr until SIGINT or SIGTERM.
func serve(name, addr string, echo bool) error {
	i := slices.IndexFunc(peers, func(p peer) bool { return p.name == name })
	if i < 0 {
		return fmt.Errorf("-serve %q: want one of %s", name, strings.Join(peerNames(), ", "))
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	stop, err := peers[i].start(ln, echo)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Printf("%s: ws://%s/ws?system_id=123\n", name, ln.Addr())
	<-ended
	stop()
	return nil
}

// serveHTTP serves the API and the handshakes on net/http, as most libraries have it.
// The background functions run until stop.
func serveHTTP(ln net.Listener, ws http.Handler, push pushFunc, background ...func(stopped <-chan struct{})) (stop func()) {
	srv := &http.Server{Handler: newAPI(ws, push), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(ln) }() // ends with stop
	stopped := make(chan struct{})
	for _, f := range background {
		go f(stopped)
	}
	return func() {
		close(stopped)
		_ = srv.Close()
	}
}
