package engine

import (
	"bytes"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lesismal/nbio"

	"carillon/engine/ws"
)

// memSockets are sockets without a kernel, for as many clients as memory holds. What
// a client is sent is looked at and counted, and its peer answers pings and close
// frames. Each takes 22 bytes here, whatever it is sent. Clients go by number,
// from 0; their descriptors lie above all that are real, and nbio hears of none.
type memSockets struct {
	e       *Engine
	first   int // descriptor of client 0
	pollers []*memPoller
	closer  *memPoller // nbio has one goroutine that tells of closed connections
	conns   []*nbio.Conn
	peers   []atomic.Uint32

	welcomed, pings, pongs, closes atomic.Int64
	pushed                         [4]atomic.Int64 // by the data of the message, a digit
	wrong                          atomic.Int64    // what should not have been written, or to another client
}

// What a peer knows.
const (
	peerWelcome uint32 = 1 << iota
	peerGot1           // the push whose data is 1
	peerGot2
	peerDeaf  // it answers nothing
	peerEnded // the connection is gone

	peerPing uint32 = 1 << 8 // one ping: they are counted from this bit on
)

// Events of a peer.
const (
	eventPong uint8 = 1 << iota
	eventClose
	eventEnd
)

// newMemSockets gives e sockets for n clients. It is called before e is started, as
// memSockets.start is after.
func newMemSockets(e *Engine, n int) *memSockets {
	loops := len(e.loops)
	s := &memSockets{
		e: e, first: 1 << 20 / loops * loops,
		conns: make([]*nbio.Conn, n), peers: make([]atomic.Uint32, n),
	}
	next, what := make([]int32, n), make([]uint8, n)
	for i := range loops {
		s.pollers = append(s.pollers, newMemPoller(s, i, next, what))
	}
	s.closer = newMemPoller(s, 0, make([]int32, n), make([]uint8, n))
	e.sockets = s
	return s
}

func (s *memSockets) all() []*memPoller {
	return append(s.pollers[:len(s.pollers):len(s.pollers)], s.closer)
}

func (s *memSockets) start() {
	for _, p := range s.all() {
		go p.run()
	}
}

func (s *memSockets) stop() {
	for _, p := range s.all() {
		close(p.work)
	}
}

// each runs f on every poller at once, after what has happened until then.
func (s *memSockets) each(pollers []*memPoller, f func(*memPoller)) {
	var done sync.WaitGroup
	for _, p := range pollers {
		done.Add(1)
		p.work <- func() {
			defer done.Done()
			f(p)
		}
	}
	done.Wait()
}

func (s *memSockets) number(c *Client) int { return c.nc.Hash() - s.first }

func (s *memSockets) poller(n int) *memPoller { return s.pollers[n%len(s.pollers)] }

// watch implements sockets.
func (s *memSockets) watch(c *Client) {
	n := s.number(c)
	s.conns[n] = c.nc
	s.peers[n].Store(0)
}

// listen implements sockets; it is for clients that authenticate.
func (s *memSockets) listen(*Client, bool) { s.wrong.Add(1) }

// await implements sockets: nothing waits.
func (s *memSockets) await(*Client, bool) { s.wrong.Add(1) }

// progress implements sockets.
func (s *memSockets) progress(*Client) (p progress, ok bool) { return p, false }

// close implements sockets; the peer's end is told otherwise.
func (s *memSockets) close(*Client) { s.wrong.Add(1) }

// write implements sockets: everything is taken.
func (s *memSockets) write(c *Client, b []byte) (written int, wait bool) {
	n := s.number(c)
	peer := &s.peers[n]
	seen := peer.Load()
	if seen&peerEnded != 0 {
		return 0, false
	}
	event := uint8(0)
	switch b[0] {
	case 'H':
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) || peer.Or(peerWelcome)&peerWelcome != 0 || !names(b, c) {
			s.wrong.Add(1)
		}
		s.welcomed.Add(1)
	case 0x80 | byte(ws.OpText):
		_, data, _ := bytes.Cut(b, []byte(`"data":`))
		number := min(data[0]-'0', 3)
		once := map[byte]uint32{1: peerGot1, 2: peerGot2}[number]
		if !names(b, c) || once != 0 && peer.Or(once)&once != 0 {
			s.wrong.Add(1)
		}
		s.pushed[number].Add(1)
	case 0x80 | byte(ws.OpPing):
		peer.Add(peerPing)
		s.pings.Add(1)
		event = eventPong
	case 0x80 | byte(ws.OpPong):
		s.pongs.Add(1)
	case 0x80 | byte(ws.OpClose):
		s.closes.Add(1)
		event = eventClose
	default:
		s.wrong.Add(1)
	}
	if event != 0 && seen&peerDeaf == 0 {
		s.poller(n).push(n, event)
	}
	return len(b), false
}

// names reports whether b has c's id.
func names(b []byte, c *Client) bool {
	var scratch [20]byte
	return bytes.Contains(b, strconv.AppendUint(scratch[:0], uint64(c.ID()), 10))
}

// shut implements sockets. The peer's FIN follows ours at once.
func (s *memSockets) localAddr(c *Client) net.Addr { return c.loop.e.Addr() }

func (s *memSockets) shut(c *Client, _ int) {
	n := s.number(c)
	if s.peers[n].Load()&peerEnded == 0 {
		s.poller(n).push(n, eventEnd)
	}
}

// A memPoller plays one of nbio's goroutines for the clients of one loop, or for all
// when it is to tell that connections are closed. Its queue has room for each
// client once, and never grows.
type memPoller struct {
	s     *memSockets
	index int
	work  chan func()
	wake  chan struct{} // capacity 1: the queue is not empty
	watch callWatch

	regulars []int // clients that ping all the time

	mu          sync.Mutex // guards the following fields
	first, last int        // clients of the queue, plus 1; 0: none
	next        []int32    // by client, as first and last
	what        []uint8    // by client: the events; 0: it is not in the queue
}

func newMemPoller(s *memSockets, index int, next []int32, what []uint8) *memPoller {
	return &memPoller{s: s, index: index, work: make(chan func()), wake: make(chan struct{}, 1), next: next, what: what}
}

// push queues an event of client n.
func (p *memPoller) push(n int, event uint8) {
	p.mu.Lock()
	if p.what[n] == 0 {
		if p.last == 0 {
			p.first = n + 1
		} else {
			p.next[p.last-1] = int32(n + 1)
		}
		p.last, p.next[n] = n+1, 0
	}
	p.what[n] |= event
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *memPoller) pop() (n int, events uint8) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == 0 {
		return 0, 0
	}
	n = p.first - 1
	if p.first = int(p.next[n]); p.first == 0 {
		p.last = 0
	}
	events, p.what[n] = p.what[n], 0
	return n, events
}

// run runs until work is closed.
func (p *memPoller) run() {
	runtime.LockOSThread() // for the watch
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for turn := 0; ; turn++ {
		select {
		case f, ok := <-p.work:
			if !ok {
				return
			}
			p.watch.rest()
			p.handle()
			f()
		case <-p.wake:
			p.watch.rest()
			p.handle()
		case <-pace.C:
			p.watch.rest()
			for i := range min(8, len(p.regulars)) {
				p.receive("ping read", p.regulars[(8*turn+i)%len(p.regulars)], clientPing)
			}
		}
	}
}

var (
	clientPing  = []byte("\x89\x80\x00\x00\x00\x00")
	clientPong  = []byte("\x8a\x80\x00\x00\x00\x00")
	clientClose = []byte("\x88\x82\x00\x00\x00\x00\x03\xe8")
)

func (p *memPoller) handle() {
	for n, events := p.pop(); events != 0; n, events = p.pop() {
		if p == p.s.closer {
			p.closed(n)
			continue
		}
		if events&eventPong != 0 {
			p.receive("pong read", n, clientPong)
		}
		if events&eventClose != 0 {
			p.receive("close read", n, clientClose)
		}
		if events&eventEnd != 0 {
			p.s.peers[n].Or(peerEnded)
			p.s.closer.push(n, eventEnd)
		}
	}
}

// receive has the engine read b of client n.
func (p *memPoller) receive(what string, n int, b []byte) {
	if p.s.peers[n].Load()&peerEnded == 0 {
		p.watch.time(what, func() { read(p.s.conns[n], b) })
	}
}

// read has the client of nc take b, as it does what it reads itself.
func read(nc *nbio.Conn, b []byte) {
	c := nc.Session().(*Client)
	c.loop.beginTurn()
	c.input(b)
	c.loop.endTurn(c)
}

// closed tells the engine that client n is gone.
func (p *memPoller) closed(n int) {
	nc := p.s.conns[n]
	p.s.conns[n] = nil
	p.watch.time("closed", func() { onClosed(nc, syscall.ECONNRESET) })
}

// connect opens the loop's own of the clients from from to to, each asked for with
// the query that it is given.
func (p *memPoller) connect(from, to int, query func(b []byte, n int) []byte) {
	head, tail, _ := bytes.Cut([]byte(upgrade), []byte("%s"))
	var request, asked []byte
	for n := from; n < to; n++ {
		if n%len(p.s.pollers) != p.index {
			continue
		}
		asked = query(asked[:0], n)
		request = append(append(append(request[:0], head...), asked...), tail...)
		ip := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		p.watch.time("accept", func() { p.s.e.add(p.s.first+n, netip.AddrPortFrom(ip, 50_000)) })
		p.receive("request read", n, request)
	}
}
