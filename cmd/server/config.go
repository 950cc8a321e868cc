package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine"
	"carillon/engine/ws"
	"carillon/httpapi"
)

// A config is what the flags and the environment say.
type config struct {
	settings

	engine engine.Options

	apiAddr      string
	apiTLS       string       // auto, on or off
	certificate  *certificate // nil without TLS
	apiKeys      []string     // all that there are at the start
	keyFile      *keyFile     // nil without
	insecure     bool
	onMessage    string
	drainDelay   time.Duration
	drainTimeout time.Duration
	logLevel     zerolog.Level
	version      bool
	unknownEnv   []unknownVariable
}

// written is what flags say in words that the config has otherwise.
type written struct {
	lang, policy             string
	origins, hosts           list
	keys                     keyList
	keyFile, tlsCert, tlsKey string
}

// addSettings makes the flags, with their defaults.
func (c *config) addSettings(w *written) {
	f, o := &c.settings, &c.engine
	*c = config{onMessage: "reply", apiTLS: "auto", logLevel: zerolog.InfoLevel}
	*w = written{lang: "zh", policy: "close"}

	f.group("Listening")
	f.add(text{&o.Addr, "127.0.0.1:9991"}.init(), "addr", "`host:port`, or unix:/path, for WebSocket clients and, unless -api-addr is set, the HTTP API")
	f.add(text{&c.apiAddr, ""}.init(), "api-addr", "`host:port`, or unix:/path, for the HTTP API alone; -addr then serves only clients")
	f.add(mode{&o.SocketMode, 0o660}.init(), "socket-mode", "`permissions` of the files of unix sockets: who may write may connect")
	f.add(text{&o.Path, "/ws"}.init(), "path", "`path` where clients connect")
	f.add(&w.origins, "allow-origin", "`patterns` of pages that browsers may connect from, such as https://*.example.com, with commas between; default: pages of the same host and port, and those of this machine (http://localhost:3000) that connect to it without a proxy between")
	f.add(&w.hosts, "allow-host", "`names` of this server, such as push.example.com or *.example.com, with commas between, by which the API may be called and pages of the same host may connect, besides IP addresses and localhost; default: any if there is an API key, otherwise none, but for clients any if -addr is not loopback")

	f.group("TLS")
	f.add(text{&w.tlsCert, ""}.init(), "tls-cert", "PEM `file` with the certificate and those above it: both listeners then speak TLS, see -api-tls; it is read again when it changes, and at SIGHUP")
	f.add(text{&w.tlsKey, ""}.init(), "tls-key", "PEM `file` with its private key")
	f.add(oneOf{&c.apiTLS, []string{"auto", "on", "off"}}, "api-tls", "whether -api-addr speaks TLS, `auto|on|off`: auto if there is a certificate and it is no unix socket; off only where no other machine can connect to it")

	f.group("The API's key")
	f.add(&w.keys, "api-key", "`keys` of which API calls bear one, as Authorization: Bearer KEY, with commas between; other users of the machine can see it in the list of processes").secret = true
	f.add(text{&w.keyFile, ""}.init(), "api-key-file", "`file` with one key a line, and lines that begin with #; it is read again when it changes, and at SIGHUP")
	f.add(yes{&c.insecure}, "insecure", "let other machines call the API without a key")

	f.group("Messages")
	f.add(oneOf{&c.onMessage, []string{"reply", "echo", "ignore"}}, "on-message", "what a client's own message leads to, `reply|echo|ignore`: an envelope with code 10007; the message itself (then there is no welcome); nothing")
	f.add(oneOf{&w.lang, []string{"zh", "en"}}, "lang", "language of \"msg\", `zh|en`")
	f.add(size{&o.MaxMessageBytes, 64 << 10}.init(), "max-message", "largest message from a client, a `size` such as 64KiB")

	f.add(yes{&o.NotifyLeave}, "notify-leave", "tell the members of a client's groups when it has left, with code 10003; not at a shutdown")
	f.add(yes{&o.Compress}, "compress", "accept permessage-deflate from clients that offer it")
	f.add(sizeInt{&o.CompressMin, 512}.init(), "compress-min", "least `size` of a message that is compressed")

	f.group("Limits")
	f.add(number{&o.MaxConnections, 0}.init(), "max-connections", "`number` of open sockets, 0 for as many as there are descriptors; over it, handshakes are answered 503")
	f.add(number{&o.MaxPerIP, 0}.init(), "max-per-ip", "`number` of open sockets of one address, or /64 of IPv6, 0 for any; over it, handshakes are answered 429; loopback has no such limit")
	f.add(number{&o.HandshakesPerIP, 0}.init(), "handshakes-per-ip", "`number` of handshakes of one address in a second, 0 for any")
	f.add(networks{&o.TrustedProxies, &o.TrustUnix}, "trusted-proxies", "`networks` such as 10.0.0.0/8, or unix for who connects to a unix socket, with commas between, whose PROXY header (version 1 or 2), X-Forwarded-For or Forwarded says whom a connection is from; a PROXY header of others is refused")
	f.add(bound{number{&o.MaxInboundMessages, 100_000}.init()}, "max-inbound-rate", "`number` of frames that a client may send in a second, pings and fragments too, 0 for any")
	f.add(sizeInt{&o.MaxInboundBytes, 0}.init(), "max-inbound-bytes", "bytes that a client may send in a second, a `size`, compressed messages counted as what they inflate to; 0 for any; by default 64 times -max-message, at least 4MiB")
	f.add(size{&o.MemoryLimit, availableMemory("/") / 10 * 8}.init(), "memory-limit", "memory to stay under, a `size`; Go's own limit is set to it, and close to it handshakes are answered 503; by default 80 % of what the control group or the machine has")
	f.add(sizeInt{&o.MaxQueuedBytes, 64 << 10}.init(), "max-queue", "what may wait for one client that does not read, behind the message that is being written, a `size`; at least -max-message with -on-message echo")
	f.add(oneOf{&w.policy, []string{"close", "drop-oldest", "drop-new"}}, "slow-policy", "what a full queue does, `close|drop-oldest|drop-new`")
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
	f.add(pause{&c.drainDelay, 3 * time.Second}.init(), "drain-delay", "`time` before that, in which all is served and /readyz says 503, so that load balancers see it; 0 for none; a second signal ends it")
	f.add(span{&c.drainTimeout, 10 * time.Second}.init(), "drain-timeout", "`time` that a shutdown may take, once the clients' closing has begun")
	f.add(number{&o.DrainRate, 0}.init(), "drain-rate", "`number` of clients that a shutdown closes a second; 0 for as many as -drain-timeout needs, and at least 1000")

	f.group("The process")
	f.add(number{&o.Pollers, 0}.init(), "pollers", "`number` of event loops, 0 for one per CPU")
	f.add(number{&o.NodeID, 0}.init(), "node-id", "`number` from 0 to 4095 that differs between servers whose ids meet")
	f.add(level{&c.logLevel}, "log-level", "`debug|info|warn|error`")
	f.add(yes{&c.version}, "version", "print the version and exit")
}

// parseConfig reads the command line and the environment. Its errors are usageErrors,
// but for a host that no name server knows: it may at the next start.
func parseConfig(args, environ []string, stdout io.Writer) (c *config, err error) {
	c = new(config)
	w := new(written)
	c.addSettings(w)
	if err := c.parse(args); err == errHelp {
		c.help(stdout)
		return c, err
	} else if err != nil || c.version {
		return c, err
	}
	if c.unknownEnv, err = c.fromEnv(environ); err != nil || c.version {
		return c, err
	}
	for _, step := range []func(*written) error{c.setOptions, c.readKeys, c.readCertificate, c.checkListeners} {
		if err := step(w); err != nil {
			return c, err
		}
	}
	return c, nil
}

const (
	// leastMemory is what a server without clients takes, and some for clients.
	leastMemory = 32 << 20
	// mostQueued is the engine's bound of MaxQueuedBytes.
	mostQueued = 1 << 30
	mostDelay  = time.Hour
	mostDrain  = 24 * time.Hour
)

// setOptions translates words into options, and checks what the engine does not.
func (c *config) setOptions(w *written) error {
	o := &c.engine
	switch {
	case o.Path == "":
		return c.wrong("path", "want a path that begins with /")
	case o.MemoryLimit > 0 && o.MemoryLimit < leastMemory:
		return c.wrong("memory-limit", "want at least 32MiB")
	case c.drainDelay > mostDelay:
		return c.wrong("drain-delay", "want 0 to 1h")
	case c.drainTimeout > mostDrain:
		return c.wrong("drain-timeout", "want 1s to 24h")
	}
	if w.lang == "en" {
		o.Lang = engine.English
	}
	o.SlowPolicy = map[string]engine.SlowPolicy{"close": engine.CloseSlow, "drop-oldest": engine.DropOldest, "drop-new": engine.DropNew}[w.policy]
	if o.MaxQueuedTotal == 0 && o.MemoryLimit > 0 {
		o.MaxQueuedTotal = max(o.MemoryLimit/4, 1<<20)
	}
	o.OnMessage, o.NoWelcome = onMessage(c.onMessage)
	if c.onMessage == "echo" { // who may send a message may have it back, with a header
		most := int64(mostQueued - ws.HeaderLen(math.MaxInt))
		if o.MaxMessageBytes > most {
			return c.wrong("max-message", fmt.Sprintf("want at most %d with -on-message echo", most))
		}
		o.MaxQueuedBytes = max(o.MaxQueuedBytes, int(o.MaxMessageBytes)+ws.HeaderLen(math.MaxInt))
	}
	o.AllowOrigins, o.AllowHosts = w.origins, w.hosts
	return nil
}

func (c *config) readKeys(w *written) (err error) {
	c.apiKeys = w.keys
	if c.find("api-key-file").from != "" {
		var keys []string
		if c.keyFile, keys, err = openKeyFile(w.keyFile); err != nil {
			return usageError(c.source("api-key-file") + ": " + err.Error())
		}
		c.keyFile.more = w.keys
		c.apiKeys = append(keys, w.keys...)
	}
	if len(c.apiKeys) > httpapi.MaxKeys {
		return c.wrong("api-key", fmt.Sprintf("want at most %d keys, those of -api-key-file included", httpapi.MaxKeys))
	}
	if o := &c.engine; len(o.AllowHosts) == 0 && len(c.apiKeys) > 0 {
		// A key is for servers that others reach, and they by a name: through a proxy
		// on this machine, too.
		o.AllowHosts = []string{"*"}
	}
	return nil
}

func (c *config) readCertificate(w *written) (err error) {
	certFlag, keyFlag := c.source("tls-cert"), c.source("tls-key")
	switch {
	case w.tlsCert == "" && w.tlsKey == "":
		return nil
	case w.tlsCert == "":
		return usageError(keyFlag + ": want " + certFlag + ", too")
	case w.tlsKey == "":
		return usageError(certFlag + ": want " + keyFlag + ", too")
	}
	if c.certificate, err = loadCertificate(w.tlsCert, w.tlsKey); err != nil {
		return usageError(certFlag + ", " + keyFlag + ": " + err.Error())
	}
	c.engine.TLS = c.certificate.config()
	return nil
}

// checkListeners refuses to let the whole network push, or see keys go by.
func (c *config) checkListeners(*written) error {
	flag, addr := "addr", c.engine.Addr // the API's
	if c.apiAddr != "" {
		flag, addr = "api-addr", c.apiAddr
	}
	if err := c.checkAddr("addr", c.engine.Addr); err != nil {
		return err
	}
	if err := c.checkAddr(flag, addr); err != nil {
		return err
	}
	switch {
	case !private(addr) && len(c.apiKeys) == 0 && !c.insecure:
		return c.wrong(flag, "the API is not on a loopback address: set -api-key-file, or -api-addr for the API alone, or -insecure to let everyone push")
	case c.apiTLS == "auto":
	case c.apiAddr == "":
		return c.wrong("api-tls", "want -api-addr: the API at -addr speaks what clients speak")
	case c.apiTLS == "on" && c.engine.TLS == nil:
		return c.wrong("api-tls", "want -tls-cert and -tls-key")
	case c.apiTLS == "off" && c.engine.TLS != nil && !private(addr):
		return c.wrong("api-tls", "want -api-addr on a loopback address or a unix socket: keys would cross the network in clear")
	}
	return nil
}

// apiSpeaksTLS reports whether the API does.
func (c *config) apiSpeaksTLS() bool {
	_, unix := unixPath(c.apiAddr)
	return c.engine.TLS != nil && (c.apiTLS == "on" || c.apiTLS == "auto" && !unix)
}
