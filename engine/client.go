package engine

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/lesismal/nbio"

	"carillon/engine/wheel"
	"carillon/registry"
)

// A Client is one WebSocket connection, from its handshake on. Its methods may
// be called from any goroutine, also after it has closed.
type Client struct {
	// What a push looks at comes first: it costs about as much as the cache lines
	// that it touches.

	// Immutable once the client is open.
	member registry.Member[*Client]
	loop   *loop
	nc     *nbio.Conn
	tls    *tlsStream // nil without TLS
	spoken uint8      // speaksEnvelope and so on
	window uint8      // of the client's inflater, as in ws.NegotiateDeflate; 0: no compression

	// Guarded by mu, which stands below them.
	state  clientState
	reason CloseReason
	flags  clientFlags
	port   uint16 // of ip, and like it
	mu     sync.Mutex
	out    *outQueue // what the kernel did not take; nil while the client keeps up
	marks  marks

	msgsOut, bytesOut atomic.Uint64
	msgsIn, bytesIn   atomic.Uint64

	lastSeen atomic.Uint32       // tick of the last bytes read
	due      uint32              // tick of the ping that waits for an answer, or 0; unless it is open, that of its deadline; guarded by mu
	timer    wheel.Links[Client] // the loop's wheel's

	// The poller's.
	in   atomic.Pointer[reader] // nil between messages
	rate inboundRate

	begun atomic.Uint32 // tick of the unfinished message, 0: none

	hs atomic.Pointer[handshake] // nil once open

	// Immutable once the client is open.
	user unique.Handle[string] // behind the subprotocol that Authenticate chose; zero without either
	ip   [16]byte              // of the peer, or of what a trusted proxy says that its peer is; netip.Addr would be half as much again, and a pointer

	data atomic.Pointer[any] // the embedding program's
}

type clientState uint8

const (
	stateHandshake clientState = iota
	stateOpen
	stateClosing // takes no more messages; the closing handshake runs
	stateClosed  // the socket is gone
)

type clientFlags uint16

const (
	flagOpened         clientFlags = 1 << iota // OnOpen has returned
	flagReported                               // OnClose was called or will be
	flagGotClose                               // no answer to our close frame is to be waited for
	flagShutWrite                              // FIN sent
	flagCounted                                // in the engine's addrLimits, as open
	flagCountedRefused                         // there, as refused
	flagUntracked                              // no longer in the engine's counts
	flagHanded                                 // with net/http, which counts it out
	flagTold                                   // CloseWith tells its groups that it leaves
)

// SubprotocolRaw is the WebSocket subprotocol whose clients get the data of a
// message without the envelope. They are not welcomed, nor told who joins and leaves: a
// client's id is in the header Carillon-Client-Id of the handshake's answer, which pages
// in browsers cannot read.
const SubprotocolRaw = "carillon.raw"

// ID is the client's id, unique for all time.
func (c *Client) ID() ID { return ID(c.member.ID()) }

// System is the name of the client's system.
func (c *Client) System() string { return c.member.System() }

// User is the user's name, empty if the client did not say.
func (c *Client) User() string {
	_, user := c.names()
	return user
}

// Groups are the names of the client's groups at this moment, or, once it has ended,
// when it did.
func (c *Client) Groups() []string { return c.member.Groups() }

// Subprotocol is what the answer to the handshake named: SubprotocolRaw, what
// Authenticate chose, or nothing.
func (c *Client) Subprotocol() string {
	if c.raw() {
		return SubprotocolRaw
	}
	subprotocol, _ := c.names()
	return subprotocol
}

// SetData keeps a value of the embedding program's with the client, for as long as the
// engine or anybody else has the client. Data returns the last one, nil if there is none.
// A client without one pays 8 bytes for the place; a table of one's own would take more
// of each that has one, and longer to find it (BenchmarkClientData).
func (c *Client) SetData(v any) { c.data.Store(&v) }

// Data is what SetData was given last.
func (c *Client) Data() any {
	if v := c.data.Load(); v != nil {
		return *v
	}
	return nil
}

// RemoteAddr is the client's address: the peer's, or what a trusted proxy said
// that its own peer's is. It is a *net.TCPAddr, and the zone of a link-local address
// is not kept; or a *net.UnixAddr, whose name is @, of a peer at a unix socket.
func (c *Client) RemoteAddr() net.Addr {
	return addrOf(c.remote())
}

func (c *Client) remote() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(c.ip).Unmap(), c.port)
}

func (c *Client) setRemote(a netip.AddrPort) { c.ip, c.port = a.Addr().As16(), a.Port() }

// ConnectedAt is when the client got its id, to the millisecond.
func (c *Client) ConnectedAt() time.Time { return c.ID().time() }

// Cursor is the client's place in the order of Engine.Clients.
func (c *Client) Cursor() Cursor { return Cursor{c.member.Cursor()} }

// ClientStats counts what one client sent (in) and was sent (out). Bytes are the
// socket's, frame headers included; messages are whole text and binary ones.
type ClientStats struct {
	BytesIn, BytesOut       uint64
	MessagesIn, MessagesOut uint64
	// QueuedBytes wait in the server because the client does not read.
	QueuedBytes int
}

// Stats are the client's counters at this moment.
func (c *Client) Stats() ClientStats {
	c.mu.Lock()
	queued := c.queuedLocked()
	c.mu.Unlock()
	return ClientStats{
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		MessagesIn: c.msgsIn.Load(), MessagesOut: c.msgsOut.Load(),
		QueuedBytes: queued,
	}
}

// Close closes the client with a close frame of code 3500, which asks it not to
// reconnect, and the given text, of which at most 123 bytes are sent. It is out
// of every list when Close returns; pushes that were made before and messages that
// wait for it are sent first. It reports whether this call was the one that closed it.
func (c *Client) Close(text string) bool {
	return c.end(CloseBackend, text)
}
