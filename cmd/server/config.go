package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine"
)

// A config is what the flags and the environment say.
type config struct {
	engine engine.Options

	apiAddr      string
	tlsCert      string
	tlsKey       string
	apiKeys      []string
	insecure     bool
	onMessage    string
	drainTimeout time.Duration
	logLevel     zerolog.Level
	version      bool
	unknownEnv   []string // variables that no flag has
}

// A group is a heading of -h and the flags under it.
type group struct {
	title string
	names []string
}

// A flagSet is a flag.FlagSet whose flags are grouped, and also come from the
// environment: -max-queue from CARILLON_MAX_QUEUE. A flag beats the environment.
type flagSet struct {
	*flag.FlagSet
	groups []group
}

func (f *flagSet) group(title string) { f.groups = append(f.groups, group{title: title}) }

func (f *flagSet) add(v flag.Value, name, usage string) {
	f.Var(v, name, usage)
	g := &f.groups[len(f.groups)-1]
	g.names = append(g.names, name)
}

const envPrefix = "CARILLON_"

func envName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// fromEnv sets the flags that the command line did not. Variables that it does not
// know are returned, not refused: an orchestrator may make some of its own after a
// service's name, such as CARILLON_PORT.
func (f *flagSet) fromEnv(environ []string) (unknown []string, err error) {
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[envName(fl.Name)] = true })
	known := map[string]*flag.Flag{}
	f.VisitAll(func(fl *flag.Flag) { known[envName(fl.Name)] = fl })
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		fl := known[name]
		if fl == nil {
			unknown = append(unknown, name)
			continue
		}
		if given[name] {
			continue
		}
		if err := fl.Value.Set(value); err != nil {
			return unknown, fmt.Errorf("%s: %w", name, err)
		}
	}
	return unknown, nil
}

func (f *flagSet) help(w io.Writer) {
	fmt.Fprint(w, "Carillon pushes messages to WebSocket clients; a backend tells it what and to whom over HTTP.\n\n"+
		"Usage: server [flags]\n\nEach flag may also come from the environment variable behind it.\n")
	for _, g := range f.groups {
		fmt.Fprintf(w, "\n%s\n", g.title)
		for _, name := range g.names {
			fl := f.Lookup(name)
			value, usage := flag.UnquoteUsage(fl)
			fmt.Fprintf(w, "  -%s %s\n      %s", name, value, usage)
			if fl.DefValue != "" && fl.DefValue != "false" {
				fmt.Fprintf(w, " (default %s)", fl.DefValue)
			}
			fmt.Fprintf(w, "  [%s]\n", envName(name))
		}
	}
}

// errHelp means that -h was asked for, and printed.
var errHelp = errors.New("help")

// parseConfig reads the command line and the environment. Its errors are one line
// each.
func parseConfig(args, environ []string, stdout io.Writer) (config, error) {
	c := config{onMessage: "reply", drainTimeout: 10 * time.Second, logLevel: zerolog.InfoLevel}
	f := &flagSet{FlagSet: flag.NewFlagSet("server", flag.ContinueOnError)}
	f.SetOutput(io.Discard) // our caller prints the error, on one line
	o := &c.engine
	lang, policy := "zh", "close"
	var keys, origins, hosts list
	var keyFile string

	f.group("Listening")
	f.add(text{&o.Addr, "127.0.0.1:9991"}.init(), "addr", "`host:port` for WebSocket clients and, unless -api-addr is set, the HTTP API")
	f.add(text{&c.apiAddr, ""}.init(), "api-addr", "`host:port` for the HTTP API alone; -addr then serves only clients")
	f.add(text{&o.Path, "/ws"}.init(), "path", "`path` where clients connect")
	f.add(&origins, "allow-origin", "`patterns` of pages that browsers may connect from, such as https://*.example.com, with commas between; default: pages of the same host and port, and those of this machine (http://localhost:3000) that connect to it without a proxy between")
	f.add(&hosts, "allow-host", "`names` of this server, such as push.example.com or *.example.com, with commas between, by which the API may be called and pages of the same host may connect, besides IP addresses and localhost; default: any if there is an API key, otherwise none, but for clients any if -addr is not loopback")

	f.group("TLS")
	f.add(text{&c.tlsCert, ""}.init(), "tls-cert", "PEM `file` with the certificate and those above it: both listeners then speak TLS; it is read again when it changes")
	f.add(text{&c.tlsKey, ""}.init(), "tls-key", "PEM `file` with its private key")

	f.group("The API's key")
	f.add(&keys, "api-key", "`keys` of which API calls bear one, as Authorization: Bearer KEY, with commas between; other users of the machine can see it in the list of processes")
	f.add(text{&keyFile, ""}.init(), "api-key-file", "`file` with one key per line")
	f.add(yes{&c.insecure}, "insecure", "listen on other than loopback addresses without an API key")

	f.group("Messages")
	f.add(oneOf{&c.onMessage, []string{"reply", "echo", "ignore"}}, "on-message", "what a client's own message leads to, `reply|echo|ignore`: an envelope with code 10007; the message itself (then there is no welcome); nothing")
	f.add(oneOf{&lang, []string{"zh", "en"}}, "lang", "language of \"msg\", `zh|en`")
	f.add(size{&o.MaxMessageBytes, 64 << 10}.init(), "max-message", "largest message from a client, a `size` such as 64KiB")

	f.add(yes{&o.Compress}, "compress", "accept permessage-deflate from clients that offer it")
	f.add(sizeInt{&o.CompressMin, 512}.init(), "compress-min", "least `size` of a message that is compressed")

	f.group("Limits")
	f.add(number{&o.MaxConnections, 0}.init(), "max-connections", "`number` of open sockets, 0 for as many as there are descriptors; over it, handshakes are answered 503")
	f.add(number{&o.MaxPerIP, 0}.init(), "max-per-ip", "`number` of open sockets of one address, or /64 of IPv6, 0 for any; over it, handshakes are answered 429; loopback has no such limit")
	f.add(number{&o.HandshakesPerIP, 0}.init(), "handshakes-per-ip", "`number` of handshakes of one address in a second, 0 for any")
	f.add(networks{&o.TrustedProxies}, "trusted-proxies", "`networks` such as 10.0.0.0/8, with commas between, whose PROXY header (version 1 or 2), X-Forwarded-For or Forwarded says whom a connection is from; a PROXY header of others is refused")
	f.add(bound{number{&o.MaxInboundMessages, 100_000}.init()}, "max-inbound-rate", "`number` of frames that a client may send in a second, pings and fragments too, 0 for any")
	f.add(sizeInt{&o.MaxInboundBytes, 0}.init(), "max-inbound-bytes", "bytes that a client may send in a second, a `size`, compressed messages counted as what they inflate to; 0 for any; by default 64 times -max-message, at least 4MiB")
	f.add(size{&o.MemoryLimit, availableMemory("/") / 10 * 8}.init(), "memory-limit", "memory to stay under, a `size`; Go's own limit is set to it, and close to it handshakes are answered 503; by default 80 % of what the control group or the machine has")
	f.add(sizeInt{&o.MaxQueuedBytes, 64 << 10}.init(), "max-queue", "what may wait for one client that does not read, behind the message that is being written, a `size`; at least -max-message with -on-message echo")
	f.add(oneOf{&policy, []string{"close", "drop-oldest", "drop-new"}}, "slow-policy", "what a full queue does, `close|drop-oldest|drop-new`")
	f.add(size{&o.MaxQueuedTotal, 0}.init(), "max-queue-total", "what may wait for all clients together, a `size`, by default a quarter of -memory-limit; over it, those that hold most are cut off")
	f.add(count{number{&o.MaxGroups, 64}.init()}, "max-groups", "`number` of groups of one client")
	f.add(count{number{&o.MaxPendingPushes, 1024}.init()}, "max-pending", "`number` of pushes to one system that may wait for their turn; over it, they are answered 503")
	f.add(size{&o.MaxPendingBytes, 64 << 20}.init(), "max-pending-bytes", "what all pushes that wait may hold, a `size`")
	f.add(sizeInt{&o.MaxHandshakeBytes, 16 << 10}.init(), "max-handshake", "largest request head, of clients and of API calls, a `size`")

	f.group("Times")
	f.add(span{&o.HandshakeTimeout, 10 * time.Second}.init(), "handshake-timeout", "`time` from accept to a complete request head")
	f.add(span{&o.MessageTimeout, 60 * time.Second}.init(), "message-timeout", "`time` from the first byte of a client's message to its last")
	f.add(span{&o.PingInterval, 25 * time.Second}.init(), "ping-interval", "`time` of silence after which a client is pinged")
	f.add(span{&o.PongTimeout, 60 * time.Second}.init(), "pong-timeout", "`time` of further silence after which it is closed")
	f.add(span{&o.CloseTimeout, 5 * time.Second}.init(), "close-timeout", "`time` for the closing handshake")
	f.add(span{&c.drainTimeout, 10 * time.Second}.init(), "drain-timeout", "`time` that a shutdown may take")
	f.add(number{&o.DrainRate, 0}.init(), "drain-rate", "`number` of clients that a shutdown closes a second; 0 for as many as -drain-timeout needs, and at least 1000")

	f.group("The process")
	f.add(number{&o.Pollers, 0}.init(), "pollers", "`number` of event loops, 0 for one per CPU")
	f.add(number{&o.NodeID, 0}.init(), "node-id", "`number` from 0 to 4095 that differs between servers whose ids meet")
	f.add(level{&c.logLevel}, "log-level", "`debug|info|warn|error`")
	f.add(yes{&c.version}, "version", "print the version and exit")

	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.help(stdout)
		return c, errHelp
	case err != nil:
		return c, err
	case f.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q; flags begin with -", f.Arg(0))
	}
	var err error
	if c.unknownEnv, err = f.fromEnv(environ); err != nil || c.version {
		return c, err
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		return c, errors.New("-tls-cert, -tls-key: want both or neither")
	}
	if o.Path == "" {
		return c, errors.New("-path: want a path that begins with /")
	}
	if o.MemoryLimit > 0 && o.MemoryLimit < leastMemory {
		return c, errors.New("-memory-limit: want at least 32MiB")
	}
	if lang == "en" {
		o.Lang = engine.English
	}
	o.SlowPolicy = map[string]engine.SlowPolicy{"close": engine.CloseSlow, "drop-oldest": engine.DropOldest, "drop-new": engine.DropNew}[policy]
	if o.MaxQueuedTotal == 0 && o.MemoryLimit > 0 {
		o.MaxQueuedTotal = max(o.MemoryLimit/4, 1<<20)
	}
	o.AllowOrigins, o.AllowHosts, c.apiKeys = origins, hosts, keys
	if keyFile != "" {
		b, err := os.ReadFile(keyFile)
		if err != nil {
			return c, fmt.Errorf("-api-key-file: %w", err)
		}
		c.apiKeys = append(c.apiKeys, strings.Fields(string(b))...)
		if len(c.apiKeys) == 0 {
			return c, fmt.Errorf("-api-key-file: %s has no key in it", keyFile)
		}
	}
	if len(o.AllowHosts) == 0 && len(c.apiKeys) > 0 {
		// A key is for servers that others reach, and they by a name: through a proxy
		// on this machine, too.
		o.AllowHosts = []string{"*"}
	}
	return c, c.checkExposure()
}

// leastMemory is what a server without clients takes, and some for clients.
const leastMemory = 32 << 20

// checkExposure refuses to let the whole network push.
func (c config) checkExposure() error {
	for _, a := range []struct{ flag, addr string }{{"-addr", c.engine.Addr}, {"-api-addr", c.apiAddr}} {
		if a.addr == "" {
			continue
		}
		host, _, err := net.SplitHostPort(a.addr)
		if err != nil {
			return fmt.Errorf("%s: %w", a.flag, err)
		}
		ip := net.ParseIP(host)
		loopback := host == "localhost" || ip != nil && ip.IsLoopback()
		if !loopback && len(c.apiKeys) == 0 && !c.insecure {
			return fmt.Errorf("%s %s is not a loopback address: set -api-key-file, or -insecure to let everyone push", a.flag, a.addr)
		}
	}
	return nil
}
