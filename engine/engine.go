package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/nbio"
	"github.com/rs/zerolog"

	"carillon/registry"
)

// An Engine serves WebSocket clients at one address. Make one with New.
type Engine struct {
	opts Options // with defaults
	log  zerolog.Logger

	reg     *registry.Registry[*Client]
	ids     idSource
	nb      *nbio.Engine
	sockets sockets
	loops   []*loop
	fanout  *scheduler
	http    *httpListener
	auth    chan authJob
	addrs   *addrLimits // nil without any

	keepTime func() // turns the clock until ctx is done; a test has time of its own

	tls        *tls.Config // nil without TLS
	tlsRunning atomic.Int32
	tlsWaiting chan *tlsShake
	tlsStalled sync.Map // *tlsShake that runs, since which tick

	pingTicks, pongTicks, closeTicks, messageTicks uint32

	// Set by Start.
	ln       *listener
	loopback bool
	started  time.Time

	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of ours, but for:

	accepting sync.WaitGroup // accept
	adding    sync.RWMutex   // held for reading while a poller adds a connection

	phase atomic.Uint32 // phaseNew and so on
	conns atomic.Int64  // sockets that nbio has
	open  atomic.Int64  // those of them that are or were an open client's
	clock atomic.Uint32 // the tick; see tickNow

	room        atomic.Int64 // clients that there is memory for, until the next tick
	tide        memoryTide
	collectFrom uint32 // tick of the next collection for want of room; watchMemory's

	backlog backlog

	dropped    atomic.Uint64 // messages, by SlowPolicy
	compressed atomic.Uint64 // messages
	accepted   atomic.Uint64
	closed     [numCloseReasons]atomic.Uint64
	refused    reasonCounters
	warnProxy  sync.Once // of one that is not trusted
}

// The phases of an Engine, in their order.
const (
	phaseNew uint32 = iota
	phaseRunning
	phaseStopping
)

// New makes an engine. An error says which option is wrong.
func New(o Options) (*Engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		opts: o, log: *o.Logger,
		reg:       registry.New[*Client](o.Pollers),
		loops:     make([]*loop, o.Pollers),
		pingTicks: ticks(o.PingInterval), pongTicks: ticks(o.PongTimeout), closeTicks: ticks(o.CloseTimeout),
		messageTicks: ticks(o.MessageTimeout),
	}
	e.http = newHTTPListener(e)
	if e.ids, err = newIDSource(o.NodeID); err != nil {
		return nil, err
	}
	for i := range e.loops {
		e.loops[i] = newLoop(e, i)
	}
	e.reg.LimitGroups(o.MaxGroups)
	e.fanout = newScheduler(e.loops, o)
	if o.MaxPerIP > 0 || o.HandshakesPerIP > 0 {
		e.addrs = newAddrLimits(o)
	}
	if o.TLS != nil {
		e.tls = o.TLS.Clone()
		e.tls.NextProtos = []string{"http/1.1"} // RFC 6455 is about no other
		e.tlsWaiting = make(chan *tlsShake, maxTLSWaiting)
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := checkConn(); err != nil {
		return nil, err
	}
	e.nb = newNBIO(o, e.log)
	e.sockets = kernelSockets{e.nb}
	e.keepTime = e.tickClock
	return e, nil
}

// Start listens and serves. It returns once clients can connect, or with an error
// that wraps the listener's; an engine is started once.
func (e *Engine) Start() error {
	if e.phase.Load() != phaseNew {
		return errors.New("engine: started before")
	}
	if err := e.listen(); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	if err := e.startLoops(); err != nil {
		_ = e.ln.file.Close()
		e.closeWakers()
		return err
	}
	e.http.addr = e.ln.addr
	e.started = time.Now()
	e.watchMemory()
	e.phase.Store(phaseRunning)
	e.wg.Go(e.keepTime)
	for _, l := range e.loops {
		e.wg.Go(l.housekeep)
		e.wg.Go(l.work)
	}
	if e.opts.Authenticate != nil {
		e.auth = make(chan authJob, 64*e.opts.MaxAuthenticating)
		for range e.opts.MaxAuthenticating {
			e.wg.Go(e.authenticate)
		}
	}
	e.accepting.Go(e.accept)
	return nil
}

// startLoops starts the pollers. What may run out of descriptors comes first: once
// they run, it is only through watchWakers that they can be stopped.
func (e *Engine) startLoops() error {
	if err := e.openWakers(); err != nil {
		return err
	}
	if err := e.nb.Start(); err != nil {
		return fmt.Errorf("engine: event loop: %w", err)
	}
	return e.watchWakers()
}

// tickClock turns the clock as time passes.
func (e *Engine) tickClock() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			e.turn(uint32(time.Since(e.started) / tick))
		case <-e.ctx.Done():
			return
		}
	}
}

// turn sets the coarse clock, which makes reading it a load, and has the
// housekeepers turn their wheels.
func (e *Engine) turn(now uint32) {
	e.clock.Store(now)
	e.watchMemory()
	e.endStalled()
	for _, l := range e.loops {
		select {
		case l.turned <- struct{}{}:
		default:
		}
	}
}

// tickNow is the whole seconds since Start.
func (e *Engine) tickNow() uint32 { return e.clock.Load() }

// Addr is the listener's address. It is nil before Start.
func (e *Engine) Addr() net.Addr { return e.http.addr }

// HTTP is the listener of the connections whose request is not for Options.Path,
// for an http.Server; Options.ServeHTTP must be set. At most 1,024 of them are
// open at once, more are answered 503. It is closed by Shutdown.
func (e *Engine) HTTP() net.Listener { return e.http }

// Ready reports whether the engine accepts clients: after Start, until Shutdown.
func (e *Engine) Ready() bool { return e.phase.Load() == phaseRunning }

// Shutdown stops accepting, lets the pushes under way finish, and closes every
// client, behind the messages that wait for it, with code 3001 and the reason
// {"reconnect_ms":N}. It paces itself by Options.DrainRate. It returns when all
// are gone and all callbacks have returned, or with ctx's error when ctx is done
// first: then the rest were cut off. Calls after the first return ErrShutdown at once.
//
// A callback that does not return has its goroutine, and those that wait for it, live
// on after ctx is done; they end when it returns. OnClose may be called meanwhile.
func (e *Engine) Shutdown(ctx context.Context) error {
	if !e.phase.CompareAndSwap(phaseRunning, phaseStopping) {
		return ErrShutdown
	}
	_ = e.ln.file.Close()
	e.fanout.close()
	err := e.drain(ctx)
	e.cancel()
	stopped := make(chan struct{})
	go func() {
		e.stop()
		close(stopped)
	}()
	select {
	case <-stopped:
		return err
	case <-ctx.Done():
	}
	// To cut off who is left takes a moment, unless something holds it up.
	select {
	case <-stopped:
		return err
	case <-time.After(cutOffTime):
		_ = e.http.Close()
		return ctx.Err()
	}
}

// cutOffTime is what Shutdown takes beyond its context's end, at most.
const cutOffTime = 200 * time.Millisecond

// stop cuts off whoever is left and waits for all goroutines. A callback that does not
// return holds it up.
func (e *Engine) stop() {
	e.accepting.Wait() // or nbio would wait for a connection that it gets during Stop
	for _, l := range e.loops {
		l.tasks.close()
	}
	e.adding.Lock() // the same for one that a poller adds at the moment
	e.adding.Unlock() //lint:ignore SA2001 it has waited
	e.nb.Stop() // once only, or it panics
	for _, l := range e.loops {
		l.waker.runLeft()
	}
	_ = e.http.Close() // after the pollers, who hand connections to it
	for _, l := range e.loops {
		close(l.quit)
	}
	e.wg.Wait()
	for _, l := range e.loops {
		l.housekeep() // OnOpen may have ended behind it, on a goroutine of Authenticate
	}
	e.closeWakers()
}
