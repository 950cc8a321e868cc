// Command server is Carillon as a process: WebSocket clients and the HTTP API on
// one port, or on two. See -h for its flags, and README.md for how to operate it.
package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine"
)

const (
	exitFailure = 1
	exitUsage   = 2 // a restart would not help
)

func main() {
	sig := listenToSignals()
	err := run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr, sig)
	if err == nil || err == errHelp {
		return
	}
	// One line, whatever was quoted in the error.
	fmt.Fprintln(os.Stderr, program+":", strings.Join(strings.Fields(err.Error()), " "))
	var usage usageError
	if errors.As(err, &usage) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailure)
}

// run serves until it was told to stop and everyone is gone.
func run(args, environ []string, stdout, stderr io.Writer, sig signals) error {
	started := make(chan struct{})
	go sig.endBefore(started, stderr)
	c, err := parseConfig(args, environ, stdout)
	if err != nil {
		return err
	}
	if c.version {
		fmt.Fprintln(stdout, buildText())
		return nil
	}
	log := newLogger(stderr).Level(c.logLevel)
	c.warn(log)
	p := &process{config: c, log: log, sig: sig}
	defer p.close()
	if err := p.prepare(); err != nil {
		return c.inFlags(err)
	}
	if err := p.start(); err != nil {
		return err
	}
	close(started)
	p.greet(stdout)
	return p.untilStopped()
}

// warn tells of what is allowed, and seldom meant.
func (c *config) warn(log zerolog.Logger) {
	for _, v := range c.unknownEnv {
		ev := log.Warn().Str("variable", v.name)
		if v.nearest != "" {
			ev = ev.Str("nearest", v.nearest)
		}
		ev.Msg("no flag has this variable: a misspelling?")
	}
	if c.insecure {
		log.Warn().Msg("-insecure: without an API key, everyone who reaches the API can push")
	}
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
