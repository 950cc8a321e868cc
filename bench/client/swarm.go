// Package client is many WebSocket clients on one event loop: they connect, check
// what they receive, and cost a few hundred bytes each.
//
// # Goroutines
//
// One poller goroutine reads for all connections. Everything is guarded by the
// Swarm's one lock, which is hardly ever waited for; the methods of a Swarm may
// be called from any goroutine.
package client

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"carillon/bench/stamp"
	"carillon/engine/ws"
)

// Config configures a Swarm.
type Config struct {
	// Conns is how many connections there may be.
	Conns int
	// Addr is the host:port to connect to.
	Addr string
	// TLS has the connections encrypted; nil for plain ones.
	TLS *tls.Config
	// Request says what connection i asks for and sends first.
	Request func(i int) Request
	// ReadyMessages is how many messages a client waits for after its handshake
	// before it counts as connected, such as a welcome.
	ReadyMessages int
	// IDKey is the JSON key whose string value, in the first message with such a
	// key, is the client's id. Empty: there are no ids.
	IDKey string
	// Sources is how many source addresses, 127.0.0.2 and so on, connections take in
	// turn, so that ports do not run out; 0 leaves it to the system.
	Sources int
	// InFlight bounds the connections that are being made at once.
	InFlight int
	// Timeout bounds the making of one connection.
	Timeout time.Duration
	// Number gives connection i its index among all swarms' connections.
	Number func(i int) uint32
}

// A Request is how one connection introduces itself.
type Request struct {
	Target  string   // of the request line
	Host    string   // of the Host header
	Headers []string // whole lines without their end
	Hello   []string // text messages to send after the handshake
	// Streams that the client belongs to; -1 for none.
	System, Group int32
}

// A Swarm is many clients.
type Swarm struct {
	// Immutable after New.
	cfg   Config
	addr  unix.Sockaddr // of the server
	poll  *poller
	ended chan struct{} // closed when the poller goroutine has ended
	// The poller goroutine ends when waker is closed.
	wake, waker *os.File
	key         string // of all handshakes; one is as good as many for measuring
	accept      string
	slots       chan struct{} // of connections being made

	mu       sync.Mutex // guards the following fields
	conns    []conn
	byFD     []*conn       // by descriptor
	tracks   []stamp.Track // stamp.Kinds for each connection
	counts   Counts
	latency  recorder // of messages, from when they were due
	connect  recorder // of connections, from when they were due
	complain []string
	last     int64         // when a stamp was last delivered
	decoders []*ws.Decoder // free ones, at most maxFreeDecoders
	frame    []byte        // scratch, for what is sent
	plain    []byte        // scratch, for what is decrypted; nil without TLS
	greeting string        // the first message without an id, as far as it is shown
	echo     *echoing
	round    int64 // deliveries between two signals on rounds; 0 for none
	nextSig  int64
	rounds   chan struct{} // capacity 1
	nextPing int           // the connection, up to lastPing, that Ping is to have ping next
	lastPing int
}

const (
	maxFreeDecoders = 256
	maxComplaints   = 8
	readBufferBytes = 64 << 10
)

// LowestLatency, HighestLatency and LatencyDigits are how latencies are recorded,
// in µs: with three digits, up to twenty minutes.
const (
	LowestLatency  = 1
	HighestLatency = 1_200_000_000
	LatencyDigits  = 3
)

// NewHistogram makes one for latencies in µs.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(LowestLatency, HighestLatency, LatencyDigits)
}

// A recorder is a histogram in use, and one that was taken.
type recorder struct{ current, taken *hdrhistogram.Histogram }

func newRecorder() recorder { return recorder{NewHistogram(), NewHistogram()} }

// record adds a latency given in nanoseconds.
func (r *recorder) record(ns int64) {
	_ = r.current.RecordValue(min(max(ns/1000, LowestLatency), HighestLatency))
}

// take returns what was recorded since the last call; nil if that is nothing.
func (r *recorder) take() *hdrhistogram.Histogram {
	if r.current.TotalCount() == 0 {
		return nil
	}
	r.current, r.taken = r.taken, r.current
	r.current.Reset()
	return r.taken
}

// Counts is what a swarm has seen so far.
type Counts struct {
	Connected int64 // now
	Failed    int64 // attempts to connect that came to nothing
	Messages  int64 // that arrived, of any kind
	Bytes     int64 // of the messages with a stamp
	Delivered int64 // stamps in them
	Sent      int64 // by the clients themselves
	Pings     int64 // answered
	Pongs     int64 // that answer a Ping
	// What went wrong.
	Lost       int64
	Duplicated int64
	Reordered  int64
	Wrong      int64 // stamps that were meant for somebody else
	Broken     int64 // connections that ended though they should not
}

// Plus adds up.
func (c Counts) Plus(o Counts) Counts { return c.combine(o, 1) }

// Minus is what was added since o.
func (c Counts) Minus(o Counts) Counts { return c.combine(o, -1) }

func (c Counts) combine(o Counts, sign int64) Counts {
	return Counts{
		Connected: c.Connected + sign*o.Connected, Failed: c.Failed + sign*o.Failed,
		Messages: c.Messages + sign*o.Messages, Bytes: c.Bytes + sign*o.Bytes,
		Delivered: c.Delivered + sign*o.Delivered, Sent: c.Sent + sign*o.Sent, Pings: c.Pings + sign*o.Pings, Pongs: c.Pongs + sign*o.Pongs,
		Lost: c.Lost + sign*o.Lost, Duplicated: c.Duplicated + sign*o.Duplicated,
		Reordered: c.Reordered + sign*o.Reordered, Wrong: c.Wrong + sign*o.Wrong, Broken: c.Broken + sign*o.Broken,
	}
}

// New starts a swarm without connections.
func New(cfg Config) (*Swarm, error) {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	s := &Swarm{
		cfg:     cfg,
		key:     base64.StdEncoding.EncodeToString(raw[:]),
		slots:   make(chan struct{}, max(cfg.InFlight, 1)),
		conns:   make([]conn, cfg.Conns),
		tracks:  make([]stamp.Track, cfg.Conns*int(stamp.Kinds)),
		latency: newRecorder(),
		connect: newRecorder(),
		rounds:  make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
	s.accept = ws.AcceptKey(s.key)
	if cfg.TLS != nil {
		s.plain = make([]byte, readBufferBytes)
	}
	for i := range s.conns {
		s.conns[i] = conn{swarm: s, index: uint32(i)}
	}
	var err error
	if s.addr, err = resolve(cfg.Addr); err != nil {
		return nil, err
	}
	if s.poll, err = newPoller(); err != nil {
		return nil, fmt.Errorf("event loop: %w", err)
	}
	if s.wake, s.waker, err = os.Pipe(); err == nil {
		err = s.poll.add(int(s.wake.Fd()), false)
	}
	if err != nil {
		s.poll.close()
		return nil, fmt.Errorf("event loop: %w", err)
	}
	go s.run()
	return s, nil
}

// Close ends the event loop and every connection. The swarm cannot be used again.
func (s *Swarm) Close() {
	_ = s.waker.Close()
	<-s.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.conns {
		if c := &s.conns[i]; c.fd != 0 {
			if c.try == nil { // or the attempt ends with an error
				c.state = leaving
			}
			c.over(io.EOF)
		}
	}
	s.poll.close()
	_ = s.wake.Close()
}

// A Delta is what has happened since the last one.
type Delta struct {
	Counts
	Latency, Connect *hdrhistogram.Histogram // nil if nothing was recorded
	Complaints       []string                // the first few of all
	Last             int64                   // when a stamp was last delivered, on stamp.Now
}

// Take returns the counts so far, and the histograms and complaints since it was
// last called. The histograms are valid until it is called again.
func (s *Swarm) Take() Delta {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := Delta{Counts: s.counts, Complaints: s.complain, Last: s.last, Latency: s.latency.take(), Connect: s.connect.take()}
	s.complain = nil
	return d
}

// Rounds returns a channel that gets a value whenever n more stamps were
// delivered. n is 0 for never.
func (s *Swarm) Rounds(n int64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round, s.nextSig = n, s.counts.Delivered+n
	return s.rounds
}

// IDs returns the id of each connection, empty for those that have none.
func (s *Swarm) IDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, len(s.conns))
	for i := range s.conns {
		ids[i] = s.conns[i].id
	}
	return ids
}

// Greeting is the beginning of the first message that had no id in it; empty if there
// was none.
func (s *Swarm) Greeting() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.greeting
}

// complainf keeps the first few complaints. s.mu must be held.
func (s *Swarm) complainf(format string, v ...any) {
	if len(s.complain) < maxComplaints {
		s.complain = append(s.complain, fmt.Sprintf(format, v...))
	}
}
