package engine

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine/proxied"
	"carillon/engine/socketfile"
	"carillon/engine/ws"
)

// Options configures New. The zero value serves ws://127.0.0.1:9991/ws.
type Options struct {
	// Addr is the TCP address to listen on, or unix:/path for a unix socket, which is
	// as good as loopback. A socket that a process left behind there is replaced, and
	// Shutdown removes it. Default 127.0.0.1:9991.
	Addr string
	// Listener, if set, is used instead of Addr: a *net.TCPListener or *net.UnixListener,
	// such as an inherited one. Start takes it over, and Shutdown closes it; the file of a
	// unix socket stays. Default: none.
	Listener net.Listener
	// SocketMode are the permissions of a unix socket: who may write may connect.
	// Default 0660.
	SocketMode fs.FileMode
	// Path is where clients connect. Default /ws. Other requests go to HTTP.
	Path string
	// ServeHTTP says that somebody serves the listener HTTP. Without it, a request
	// that is not for Path is answered 404.
	ServeHTTP bool

	// Pollers is how many goroutines read sockets, and how many fan messages out:
	// each poller's connections have one fan-out worker. Default: one per CPU that
	// Go uses; at most 256.
	Pollers int
	// NodeID goes into every id and must differ between servers whose ids meet.
	// 0 to MaxNodeID; default 0. Ids repeat if the system's clock is set back and the
	// process is started anew before it is again where it was; without a restart, a
	// clock that is set back does no harm.
	NodeID int

	// MaxConnections bounds open sockets, those in the handshake included; over it
	// a handshake is answered 503. Default: no bound but the process's descriptors.
	MaxConnections int
	// MemoryLimit is what the process should stay under, in bytes; set GOMEMLIMIT to
	// the same. A handshake that 90 % of it has no room for is answered 503; the
	// kernel's part of each connection counts. Default: none.
	MemoryLimit int64
	// MaxPerIP bounds the open connections of one address, HandshakesPerIP its
	// handshakes in a second; over either, a handshake is answered 429, and with TLS
	// closed before it begins. An IPv6 address counts as its /64, and loopback has no
	// limits. Default: no limits.
	MaxPerIP        int
	HandshakesPerIP int
	// TrustedProxies may say whom a connection is from, by a header of the PROXY
	// protocol, version 1 or 2, or by X-Forwarded-For or Forwarded (RFC 7239); that is
	// then the address for MaxPerIP, HandshakesPerIP and Client.RemoteAddr. They have no
	// limits themselves. Of several hops it is the last that is not one of them, and
	// where a hop says no address, the one behind it. If both lines are there,
	// X-Forwarded-For counts: a proxy that writes it mostly passes on a client's own
	// Forwarded, so one that writes Forwarded has to take X-Forwarded-For out. A PROXY
	// header of others is refused. Default: none.
	TrustedProxies []netip.Prefix
	// TrustUnix makes the peers of a unix socket TrustedProxies, too. They have no
	// address, and so no limits by it, whether trusted or not. Default: they are not.
	TrustUnix bool
	// TLS makes Addr a TLS listener. It needs a certificate or a way to get one;
	// NextProtos is set to HTTP/1.1. It is not changed. Default: no TLS.
	TLS *tls.Config
	// HandshakeTimeout bounds the time from accept to the end of the request head,
	// that of TLS included. Default 10s, at least 1s; whole seconds, as all timeouts
	// here.
	HandshakeTimeout time.Duration
	// MaxHandshakeBytes bounds the request head. Default 16 KiB.
	MaxHandshakeBytes int
	// MessageTimeout bounds the time from the first byte of a client's message to its
	// last; over it the client is closed with 1008. Default 60s.
	MessageTimeout time.Duration
	// AuthTimeout bounds a call of Authenticate. Default 5s.
	AuthTimeout time.Duration
	// MaxAuthenticating bounds concurrent calls of Authenticate; 64 times as many
	// handshakes may wait, more are answered 503. Default 64.
	MaxAuthenticating int

	// AllowOrigins are the pages that browsers may connect from, such as
	// https://*.example.com, or * for all. Default: pages of the same host and port,
	// as AllowHosts has it; and pages of localhost and loopback addresses, if the request
	// is made to such a host, comes from loopback, and bears no proxy's header (Via,
	// Forwarded, X-Forwarded-For and the like). Who sends no Origin is no browser, and
	// not concerned.
	AllowOrigins []string
	// PagePort is another port of the same host whose pages may connect by default: that
	// of an API on a listener of its own, which serves a page. Default: none.
	PagePort int
	// AllowHosts are the names under which pages of the same host may connect, such as
	// push.example.com, *.example.com for all below it, or * for any. IP addresses and
	// localhost always may. This is against DNS rebinding: a page whose own name was
	// pointed at this server. Default: any name, but none while Addr is a loopback
	// address; behind a proxy on the same machine that passes the public Host on, name
	// it.
	AllowHosts []string

	// MaxMessageBytes bounds a message from a client, over all its fragments; a
	// longer one closes with 1009. A compressed one counts inflated. Default 64 KiB.
	MaxMessageBytes int64
	// Compress accepts permessage-deflate (RFC 7692) from clients that offer it. It
	// saves their bandwidth and costs the server's CPU. Default: off.
	Compress bool
	// CompressMin is the least size that is worth compressing, of a push's envelope
	// or of what Echo sends, in bytes. Default 512.
	CompressMin int
	// MaxInboundMessages and MaxInboundBytes bound what one client may send in a
	// second; over either it is closed with 1008. Each frame counts as a message: pings,
	// pongs and fragments too. Bytes are the socket's, those of TLS included, and those
	// that compressed messages are inflated to. Default: 100,000, and 64 times
	// MaxMessageBytes, at least 4 MiB; negative: no bound.
	MaxInboundMessages int
	MaxInboundBytes    int
	// MaxQueuedBytes bounds what waits for one client that does not read, behind the
	// message that is being written, which may be longer; over it SlowPolicy decides.
	// What the kernel holds does not count. Default 64 KiB.
	MaxQueuedBytes int
	// SlowPolicy is what happens to a client over MaxQueuedBytes. Default CloseSlow.
	SlowPolicy SlowPolicy
	// MaxQueuedTotal bounds what waits for all clients together, and what they have sent
	// in part: heads, handshakes, messages; over it those that hold most are cut off. A
	// message that many wait for is held once but counts for each. Default 512 MiB.
	MaxQueuedTotal int64
	// MaxGroups bounds the groups of one client. Default 64.
	MaxGroups int
	// MaxPendingPushes bounds the pushes to one system (ToAll counts as one more
	// system) that wait for their turn; more fail with ErrBusy. Default 1024.
	MaxPendingPushes int
	// MaxPendingBytes bounds what all pushes that wait keep in memory: messages, their
	// compressed forms, lists of clients to leave out, and what each takes by itself,
	// half a kilobyte or so. One that is longer is admitted alone. Default 64 MiB.
	MaxPendingBytes int64

	// PingInterval is how long a client may be silent before it is pinged. The first
	// ping comes up to half an interval early, at random, so that clients which
	// connected together are not pinged together. Default 25s, below the idle timeouts of
	// usual proxies: HAProxy's packaged configuration has 50s, nginx 60s.
	PingInterval time.Duration
	// PongTimeout is how long a pinged client may go on being silent before it is
	// closed. One that goes on taking what it is sent has its time from then. Default 60s.
	PongTimeout time.Duration
	// CloseTimeout bounds the closing handshake, and what a closing client may take
	// to read what waits for it. Default 5s.
	CloseTimeout time.Duration
	// DrainRate is how many clients Shutdown closes a second. Default: as many as it
	// takes to be through in three quarters of the time it has, but at least 1,000.
	DrainRate int

	// Lang is the language of "msg". Default Chinese.
	Lang Lang
	// NotifyLeave tells the members of a client's groups that it has left, however it
	// ended, as a message with CodeLeft; but not at a shutdown. Default: only
	// CloseOptions.Notify does.
	NotifyLeave bool
	// NoWelcome leaves out the envelope that greets a client.
	NoWelcome bool
	// Logger gets what an operator needs to know. Default: nothing is logged.
	Logger *zerolog.Logger

	// Authenticate says who a client is, or refuses it with an error: a
	// *RefuseError chooses the answer, a *FieldError is answered 400 as QueryIdentity's
	// are, one of a context that has ended 503, and any other 401. It runs on a
	// goroutine of its own and may block until ctx ends. Default: QueryIdentity,
	// which does not block and runs on the poller.
	Authenticate func(ctx context.Context, h *Handshake) (Identity, error)
	// OnOpen is called once per client, before its first OnMessage. It runs on the
	// goroutine of Authenticate, if there is one, and otherwise like OnMessage on the
	// poller that owns the client. It must not block.
	OnOpen func(c *Client)
	// OnMessage is called for each whole message; kind is Text or Binary. One
	// client's calls come one at a time and in order. data is valid until OnMessage
	// returns. It must not block.
	OnMessage func(c *Client, kind Kind, data []byte)
	// OnClose is called once per opened client, after its OnOpen, when it can no
	// longer be reached. It runs on a housekeeping goroutine of the poller and must
	// not block; it may overlap with an OnMessage that had begun before.
	OnClose func(c *Client, why CloseReason)
}

const maxPollers = 256

func (o Options) withDefaults() (Options, error) {
	switch o.Listener.(type) {
	case nil, *net.TCPListener, *net.UnixListener:
	default:
		return o, &OptionError{"Listener", fmt.Sprintf("%T", o.Listener), "a *net.TCPListener or *net.UnixListener"}
	}
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:9991")
	o.Path = cmp.Or(o.Path, "/ws")
	o.Pollers = cmp.Or(o.Pollers, min(runtime.GOMAXPROCS(0), maxPollers))
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, 10*time.Second)
	o.MaxHandshakeBytes = cmp.Or(o.MaxHandshakeBytes, 16<<10)
	o.MessageTimeout = cmp.Or(o.MessageTimeout, 60*time.Second)
	o.AuthTimeout = cmp.Or(o.AuthTimeout, 5*time.Second)
	o.MaxAuthenticating = cmp.Or(o.MaxAuthenticating, 64)
	o.MaxMessageBytes = cmp.Or(o.MaxMessageBytes, 64<<10)
	o.CompressMin = cmp.Or(o.CompressMin, 512)
	o.MaxInboundMessages = cmp.Or(o.MaxInboundMessages, 100_000)
	o.MaxInboundBytes = cmp.Or(o.MaxInboundBytes, int(min(max(64*o.MaxMessageBytes, 4<<20), math.MaxInt32)))
	for _, limit := range []*int{&o.MaxInboundMessages, &o.MaxInboundBytes} {
		if *limit < 0 {
			*limit = math.MaxInt32
		}
	}
	o.MaxQueuedBytes = cmp.Or(o.MaxQueuedBytes, 64<<10)
	o.MaxQueuedTotal = cmp.Or(o.MaxQueuedTotal, 512<<20)
	o.MaxGroups = cmp.Or(o.MaxGroups, 64)
	o.MaxPendingPushes = cmp.Or(o.MaxPendingPushes, 1024)
	o.MaxPendingBytes = cmp.Or(o.MaxPendingBytes, 64<<20)
	o.PingInterval = cmp.Or(o.PingInterval, 25*time.Second)
	o.PongTimeout = cmp.Or(o.PongTimeout, 60*time.Second)
	o.CloseTimeout = cmp.Or(o.CloseTimeout, 5*time.Second)
	o.SocketMode = cmp.Or(o.SocketMode, 0o660)
	if o.Logger == nil {
		nop := zerolog.Nop()
		o.Logger = &nop
	}
	if !validAddr(o.Addr) {
		return o, &OptionError{"Addr", o.Addr, "host:port, such as 127.0.0.1:9991 or :9991, or unix:/path"}
	}
	if o.SocketMode&^fs.ModePerm != 0 {
		return o, &OptionError{"SocketMode", fmt.Sprintf("%#o", uint32(o.SocketMode)), "permissions such as 0660"}
	}
	if !strings.HasPrefix(o.Path, "/") || strings.ContainsAny(o.Path, "?# ") {
		return o, &OptionError{"Path", o.Path, "a path that begins with /, without ?, # and blanks"}
	}
	for _, p := range o.AllowOrigins {
		if !ws.ValidOriginPattern(p) {
			return o, &OptionError{"AllowOrigins", p, "an origin such as https://*.example.com, or *"}
		}
	}
	for _, h := range o.AllowHosts {
		if !ws.ValidHostName(h) {
			return o, &OptionError{"AllowHosts", h, "a name without a port, such as push.example.com, or *"}
		}
	}
	o.TrustedProxies = slices.Clone(o.TrustedProxies)
	for i, p := range o.TrustedProxies {
		if !p.IsValid() {
			return o, &OptionError{"TrustedProxies", p.String(), "networks"}
		}
		o.TrustedProxies[i] = proxied.Network(p)
	}
	if t := o.TLS; t != nil && len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		return o, &OptionError{"TLS", "", "a certificate, or a way to get one"}
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"HandshakeTimeout", o.HandshakeTimeout}, {"MessageTimeout", o.MessageTimeout}, {"AuthTimeout", o.AuthTimeout},
		{"PingInterval", o.PingInterval}, {"PongTimeout", o.PongTimeout}, {"CloseTimeout", o.CloseTimeout},
	} {
		if d.d < tick || d.d > 24*time.Hour {
			return o, &OptionError{d.name, d.d.String(), "1s to 24h"}
		}
	}
	for _, n := range []struct {
		name   string
		n      int64
		lo, hi int64
		text   func(int64) string
	}{
		{"Pollers", int64(o.Pollers), 1, maxPollers, decimal},
		{"NodeID", int64(o.NodeID), 0, MaxNodeID, decimal},
		{"MaxConnections", int64(o.MaxConnections), 0, 1 << 31, decimal},
		{"MemoryLimit", o.MemoryLimit, 0, 1 << 50, byteSize},
		{"PagePort", int64(o.PagePort), 0, 1<<16 - 1, decimal},
		{"MaxPerIP", int64(o.MaxPerIP), 0, 1 << 31, decimal},
		{"HandshakesPerIP", int64(o.HandshakesPerIP), 0, 1 << 31, decimal},
		{"MaxHandshakeBytes", int64(o.MaxHandshakeBytes), 512, 1 << 20, byteSize},
		{"MaxAuthenticating", int64(o.MaxAuthenticating), 1, 1 << 16, decimal},
		{"DrainRate", int64(o.DrainRate), 0, 1 << 31, decimal},
		{"MaxMessageBytes", o.MaxMessageBytes, 1, 1 << 30, byteSize},
		{"CompressMin", int64(o.CompressMin), 1, 1 << 30, byteSize},
		{"MaxInboundMessages", int64(o.MaxInboundMessages), 1, math.MaxInt32, decimal},
		{"MaxInboundBytes", int64(o.MaxInboundBytes), 1, math.MaxInt32, byteSize},
		{"MaxQueuedBytes", int64(o.MaxQueuedBytes), 1 << 10, 1 << 30, byteSize},
		{"SlowPolicy", int64(o.SlowPolicy), int64(CloseSlow), int64(DropNew), decimal},
		{"MaxQueuedTotal", o.MaxQueuedTotal, 1 << 20, 1 << 50, byteSize},
		{"MaxGroups", int64(o.MaxGroups), 1, 1 << 16, decimal},
		{"MaxPendingPushes", int64(o.MaxPendingPushes), 1, 1 << 20, decimal},
		{"MaxPendingBytes", o.MaxPendingBytes, 1 << 20, 1 << 40, byteSize},
	} {
		if n.n < n.lo || n.n > n.hi {
			return o, &OptionError{n.name, n.text(n.n), n.text(n.lo) + " to " + n.text(n.hi)}
		}
	}
	return o, nil
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// byteSize is n in the largest unit that it is a whole number of.
func byteSize(n int64) string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if size := int64(1) << (40 - 10*i); n >= size && n%size == 0 {
			return decimal(n/size) + unit
		}
	}
	return decimal(n)
}

// unixPath is the path of an address that names a unix socket.
func unixPath(addr string) (path string, ok bool) { return strings.CutPrefix(addr, "unix:") }

func validAddr(addr string) bool {
	if path, ok := unixPath(addr); ok {
		return path != "" && path[0] != '@' && len(path) <= socketfile.MaxPath && strings.IndexByte(path, 0) < 0
	}
	_, _, err := net.SplitHostPort(addr)
	return err == nil
}

// tick is the resolution of every timeout, and of the coarse clock.
const tick = time.Second

// ticks rounds up: a timeout never ends early.
func ticks(d time.Duration) uint32 { return uint32((d + tick - 1) / tick) }
