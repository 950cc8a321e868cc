// Command server is Carillon as a process: WebSocket clients and the HTTP API on
// one port, or on two. See -h for its flags.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine"
	"carillon/engine/ws"
	"carillon/httpapi"
)

// version is set by -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	// Whoever reads the logs may go away; the clients must not go with them.
	signal.Ignore(syscall.SIGPIPE)
	err := run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr, stop)
	if err != nil && !errors.Is(err, errHelp) {
		// One line, whatever was quoted in the error.
		fmt.Fprintln(os.Stderr, "server:", strings.Join(strings.Fields(err.Error()), " "))
		os.Exit(1)
	}
}

// gcPercent is how much the heap may grow between collections. Idle clients are memory
// that stays: at Go's default of 100, each would be paid for twice.
const gcPercent = 50

// run serves until the first signal, and then until everyone is gone or the second
// one comes.
func run(args, environ []string, stdout, stderr io.Writer, stop <-chan os.Signal) error {
	c, err := parseConfig(args, environ, stdout)
	if err != nil {
		return err
	}
	if c.version {
		fmt.Fprintf(stdout, "carillon %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	}
	log := newLogger(stderr).Level(c.logLevel)
	for _, name := range c.unknownEnv {
		log.Warn().Str("variable", name).Msg("no flag has this variable: a misspelling?")
	}
	if c.insecure {
		log.Warn().Msg("-insecure: without an API key, everyone who reaches the API can push")
	}
	c.engine.Logger = &log
	c.engine.ServeHTTP = c.apiAddr == ""
	c.engine.OnMessage, c.engine.NoWelcome = onMessage(c.onMessage)
	if c.onMessage == "echo" { // who may send a message may have it back, with a header
		c.engine.MaxQueuedBytes = max(c.engine.MaxQueuedBytes, int(c.engine.MaxMessageBytes)+ws.HeaderLen(math.MaxInt))
	}
	if c.tlsCert != "" {
		cert, err := loadCertificate(c.tlsCert, c.tlsKey, log)
		if err != nil {
			return err
		}
		c.engine.TLS = cert.config()
	}
	descriptors, err := raiseDescriptorLimit()
	if err != nil {
		log.Warn().Err(err).Msg("cannot raise the limit of descriptors")
	}
	if n := connectionsPossible(descriptors, cmp.Or(c.engine.Pollers, runtime.GOMAXPROCS(0))); c.engine.MaxConnections == 0 || c.engine.MaxConnections > n {
		c.engine.MaxConnections = n
	}
	if c.engine.MemoryLimit > 0 {
		debug.SetMemoryLimit(c.engine.MemoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	eng, err := engine.New(c.engine)
	if err != nil {
		return err
	}
	api, err := httpapi.New(httpapi.Options{
		Engine: eng, Lang: c.engine.Lang, APIKeys: c.apiKeys, Version: versionText(),
		AllowHosts: c.engine.AllowHosts, WebSocketPath: c.engine.Path, APIOnly: c.apiAddr != "", Logger: log,
	})
	if err != nil {
		return err
	}
	apiListener := eng.HTTP()
	if c.apiAddr != "" {
		if apiListener, err = net.Listen("tcp", c.apiAddr); err != nil {
			return err
		}
		defer apiListener.Close()
		apiListener = httpapi.NewListener(apiListener, httpapi.ListenerOptions{
			Shared: c.engine.TrustedProxies, TLS: c.engine.TLS != nil, Lang: c.engine.Lang, Logger: log,
		})
		apiListener = fromProxies(apiListener, c.engine.TrustedProxies, log)
		if c.engine.TLS != nil {
			apiListener = tls.NewListener(apiListener, c.engine.TLS)
		}
	}
	if err := eng.Start(); err != nil {
		return err
	}
	srv := httpapi.NewServer(api, log)
	srv.MaxHeaderBytes = httpapi.MaxHeaderBytes(c.engine.MaxHandshakeBytes)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(apiListener) }()

	log.Info().Stringer("addr", eng.Addr()).Stringer("api_addr", apiListener.Addr()).
		Uint64("descriptors", descriptors).Int("max_connections", c.engine.MaxConnections).
		Int64("memory_limit", c.engine.MemoryLimit).
		Str("version", versionText()).Msg("serving")
	greet(stdout, reachable(eng.Addr()), reachable(apiListener.Addr()), c)

	select {
	case sig := <-stop:
		log.Info().Stringer("signal", sig).Stringer("drain_timeout", c.drainTimeout).Msg("shutting down")
	case err := <-served:
		return fmt.Errorf("the API's listener failed: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.drainTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := eng.Shutdown(ctx)
		// Calls under way get their answers; who has not begun one is not waited for.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
		_ = srv.Close()
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil { // the stragglers were cut off, which is what the timeout is for
			log.Warn().Err(err).Msg("clients were still there at the end of the drain timeout")
		}
		log.Info().Msg("bye")
		return nil
	case sig := <-stop:
		return fmt.Errorf("a second signal, %v, ended the shutdown early", sig)
	}
}

// greet tells a newcomer what to do next.
func greet(w io.Writer, addr, apiAddr string, c config) {
	key := ""
	if len(c.apiKeys) > 0 {
		key = " -H 'Authorization: Bearer KEY'"
	}
	secure := ""
	if c.engine.TLS != nil {
		secure = "s"
	}
	fmt.Fprintf(w, "connect: ws%s://%s%s?system_id=123\n", secure, addr, c.engine.Path)
	fmt.Fprintf(w, "push:    curl%s http%s://%s/push_to_system -d system_id=123 -d data=hello\n", key, secure, apiAddr)
}

// reachable is an address to connect to: what listens everywhere is also here.
func reachable(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok && t.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(t.Port))
	}
	return a.String()
}

// newLogger writes JSON, and lines for people when w is a terminal.
func newLogger(w io.Writer) zerolog.Logger {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	if f, ok := w.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			w = zerolog.ConsoleWriter{Out: f, TimeFormat: time.TimeOnly}
		}
	}
	return zerolog.New(w).With().Timestamp().Logger()
}

// onMessage is the handler of the name, and whether it wants no welcome.
func onMessage(name string) (handle func(*engine.Client, engine.Kind, []byte), noWelcome bool) {
	switch name {
	case "echo":
		return func(c *engine.Client, kind engine.Kind, data []byte) { c.Echo(kind, data) }, true
	case "reply":
		return reply, false
	}
	return nil, false
}

// reply answers as the original library did, with the message as data. JSON has no
// bytes: a binary message comes back in base64, and params say so.
func reply(c *engine.Client, kind engine.Kind, data []byte) {
	m := engine.Message{Kind: engine.Text, Data: data, Code: engine.CodeRead}
	if kind == engine.Binary {
		m.Data = base64.StdEncoding.AppendEncode(nil, data)
		m.Params = []byte(`{"binary":true}`)
	}
	_, _ = c.Send(m) // the only error is a bad message, and this one is made here
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
