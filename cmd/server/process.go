package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine"
	"carillon/httpapi"
)

// A process is a server from its configuration to its end.
type process struct {
	*config
	log zerolog.Logger
	sig signals

	descriptors uint64
	share       share

	eng    *engine.Engine
	api    *httpapi.API
	srv    *http.Server
	apiLn  net.Listener
	served chan error // what srv's Serve returned
}

// gcPercent is how much the heap may grow between collections. Idle clients are memory
// that stays: at Go's default of 100, each would be paid for twice.
const gcPercent = 50

// prepare makes what is to be started.
func (p *process) prepare() (err error) {
	o := &p.engine
	o.Logger = &p.log
	o.ServeHTTP = p.apiAddr == ""
	p.shareDescriptors()
	if o.MemoryLimit > 0 {
		debug.SetMemoryLimit(o.MemoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if err := p.listenForAPI(); err != nil {
		return err
	}
	if p.eng, err = engine.New(*o); err != nil {
		return err
	}
	p.api, err = httpapi.New(httpapi.Options{
		Engine: p.eng, Lang: o.Lang, APIKeys: p.apiKeys, Version: versionText(),
		AllowHosts: o.AllowHosts, WebSocketPath: o.Path, APIOnly: p.apiAddr != "", ClientsTLS: o.TLS != nil,
		TrustedProxies: o.TrustedProxies, TrustUnix: o.TrustUnix, Logger: p.log,
	})
	if err != nil {
		return err
	}
	var handler http.Handler = p.api
	if p.keyFile != nil {
		p.keyFile.use, p.keyFile.log = p.api.SetKeys, p.log
		handler = p.keyFile.before(p.api)
	}
	if p.certificate != nil {
		p.certificate.log = p.log
	}
	p.srv = httpapi.NewServer(handler, p.log)
	p.srv.MaxHeaderBytes = httpapi.MaxHeaderBytes(o.MaxHandshakeBytes)
	go p.reloadOnHUP()
	return nil
}

// shareDescriptors bounds the clients by the descriptors that there are, and says so
// if those are few, or fewer than was asked for.
func (p *process) shareDescriptors() {
	var err error
	if p.descriptors, err = raiseDescriptorLimit(); err != nil {
		p.log.Warn().Err(err).Msg("cannot raise the limit of descriptors")
	}
	p.share = shareOut(p.descriptors, cmp.Or(p.engine.Pollers, runtime.GOMAXPROCS(0)))
	asked, possible := p.engine.MaxConnections, p.share.clients
	const raise = "raise the limit: ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of docker"
	switch {
	case asked > possible:
		p.log.Warn().Int("asked", asked).Int("max_connections", possible).Uint64("descriptors", p.descriptors).
			Msg(p.source("max-connections") + " is cut to what the descriptors allow; " + raise)
	case asked > 0:
		return
	case possible < fewClients:
		p.log.Warn().Int("max_connections", possible).Uint64("descriptors", p.descriptors).
			Msg("the descriptors allow only a few clients; " + raise)
	}
	p.engine.MaxConnections = possible
}

// reloadOnHUP reads again what can be read again, for as long as the process lives.
func (p *process) reloadOnHUP() {
	for range p.sig.hup {
		p.log.Info().Bool("api_keys", p.keyFile != nil).Bool("certificate", p.certificate != nil).
			Msg("SIGHUP: reading -api-key-file and -tls-cert again, as far as there are any")
		if p.keyFile != nil {
			p.keyFile.reload()
		}
		if p.certificate != nil {
			p.certificate.reload()
		}
	}
}

// listenForAPI opens the API's own listener, if it is to have one, whose page then may
// connect to the other.
func (p *process) listenForAPI() (err error) {
	if p.apiAddr == "" {
		return nil
	}
	o := &p.engine
	if p.apiLn, err = listen(p.apiAddr, o.SocketMode); err != nil {
		return p.cannotListen("api-addr", p.apiAddr, err)
	}
	if a, ok := p.apiLn.Addr().(*net.TCPAddr); ok {
		o.PagePort = a.Port
	}
	p.apiLn = httpapi.NewListener(p.apiLn, httpapi.ListenerOptions{
		MaxConns: p.share.api, Shared: o.TrustedProxies, TLS: p.apiSpeaksTLS(), Lang: o.Lang, Logger: p.log,
	})
	p.apiLn = fromProxies(p.apiLn, o.TrustedProxies, o.TrustUnix, p.log)
	if p.apiSpeaksTLS() {
		p.apiLn = tls.NewListener(p.apiLn, o.TLS)
	}
	return nil
}

// start listens and serves.
func (p *process) start() (err error) {
	if p.apiAddr == "" {
		p.apiLn = p.eng.HTTP()
	}
	if err := p.eng.Start(); err != nil {
		var listening *engine.ListenError
		if errors.As(err, &listening) {
			return p.cannotListen("addr", p.engine.Addr, listening.Err)
		}
		return err
	}
	p.served = make(chan error, 1)
	go func() { p.served <- p.srv.Serve(p.apiLn) }()
	p.log.Info().Str("addr", shown(p.eng.Addr())).Str("api_addr", shown(p.apiLn.Addr())).
		Uint64("descriptors", p.descriptors).Int("max_connections", p.engine.MaxConnections).
		Int64("memory_limit", p.engine.MemoryLimit).
		Str("version", versionText()).Msg("serving")
	return nil
}

// close ends what untilStopped has not: a process that did not get so far leaves no
// socket behind.
func (p *process) close() {
	if p.apiLn != nil {
		_ = p.apiLn.Close()
	}
}

// untilStopped serves until a signal comes, a while longer, and until everyone is gone.
// A second signal ends the while, and the next the process.
func (p *process) untilStopped() error {
	words := words(p.sig.stop)
	select {
	case sig := <-words:
		p.api.Leave()
		p.log.Info().Stringer("signal", sig).Stringer("drain_delay", p.drainDelay).Stringer("drain_timeout", p.drainTimeout).
			Msg("shutting down: /readyz says so, and everything is served until the delay is over")
	case err := <-p.served:
		return fmt.Errorf("the API's listener failed: %w", err)
	}
	if p.drainDelay > 0 {
		select {
		case <-time.After(p.drainDelay):
		case sig := <-words:
			p.log.Info().Stringer("signal", sig).Msg("a second signal ends the delay; another one ends the process at once")
		case err := <-p.served:
			return fmt.Errorf("the API's listener failed: %w", err)
		}
	}
	p.log.Info().Msg("closing the clients")
	done := make(chan error, 1)
	go func() { done <- p.shutDown() }()
	select {
	case err := <-done:
		if err != nil { // the stragglers were cut off, which is what the timeout is for
			p.log.Warn().Err(err).Msg("clients were still there at the end of the drain timeout")
		}
		p.log.Info().Msg("bye")
		return nil
	case sig := <-words:
		return fmt.Errorf("another signal, %v, ended the shutdown early", sig)
	}
}

func (p *process) shutDown() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.drainTimeout)
	defer cancel()
	err := p.eng.Shutdown(ctx)
	// Calls under way get their answers; who has not begun one is not waited for.
	ctx, cancel = context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = p.srv.Shutdown(ctx)
	_ = p.srv.Close()
	return err
}

// greet tells a newcomer what to do next.
func (p *process) greet(w io.Writer) {
	curl := "curl"
	if len(p.apiKeys) > 0 {
		curl += " -H 'Authorization: Bearer KEY'"
	}
	ws, http := "ws", "http"
	if p.engine.TLS != nil {
		ws = "wss"
	}
	if p.engine.TLS != nil && p.apiAddr == "" || p.apiAddr != "" && p.apiSpeaksTLS() {
		http = "https"
	}
	connect := ws + "://" + reachable(p.eng.Addr()) + p.engine.Path
	if a := p.eng.Addr(); a.Network() == "unix" { // as some clients have it
		connect = ws + "+unix:" + a.String() + ":" + p.engine.Path
	}
	api := reachable(p.apiLn.Addr())
	if a := p.apiLn.Addr(); a.Network() == "unix" {
		curl += " --unix-socket " + shellWord(a.String())
		api = "localhost"
	}
	fmt.Fprintf(w, "connect: %s?system_id=123\n", connect)
	fmt.Fprintf(w, "push:    %s %s://%s/push_to_system -d system_id=123 -d data=hello\n", curl, http, api)
}

// shellWord is s as a shell takes it for one word.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@,", r)
	}
	if strings.TrimFunc(s, plain) == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
