// Package engine serves WebSocket clients on an event loop (nbio's epoll or
// kqueue core) and fans messages out to them: one client, several, a group, a
// whole system, or everybody. It needs no HTTP API; package httpapi is one.
//
//	e, err := engine.New(engine.Options{OnMessage: handle})
//	err = e.Start()
//	report, err := e.Push(ctx, engine.ToGroup("shop", "vip"), engine.Message{Data: []byte(`{"n":1}`)})
//	err = e.Shutdown(ctx)
//
// # One client's life
//
//	accept ─▶ (TLS) ─▶ request head ─▶ Authenticate ─▶ joins the registry, 101 and welcome ─▶ OnOpen ─▶ OnMessage* ─▶ OnClose
//	                      │                 │
//	                      └─ net/http       └─ refused: 4xx, no callback
//
// The welcome is an envelope of code 0. Its params say what the client was taken for,
// {"groups":["vip"],"user_id":"ann"}, with at most 64 of its groups. Where Identity.Notify
// or Options.NotifyLeave asks for it, the members of a group then hear of those who join
// it by connecting (CodeBound) and of those who leave (CodeLeft), each with the data of
// MembershipMessage, behind what was pushed to the group before. At most 65,536 such
// tellings wait; above that, the log says that some were left out.
//
// # Memory
//
// A connection that is idle owns no goroutine, no timer, no map and no buffer. With a
// system and a group, and without TLS, it keeps 507 bytes of heap in 3.2 objects
// (go test -run NONE -bench Heap -benchtime 1x ./engine), and 8 more:
//
//	bytes  what
//	224    Client: state, counters, address, links of the wheel, its registry.Member
//	208    nbio.Conn, with the lock that guards the descriptor
//	 34    entries of 16 bytes in two of the registry's tables, in the system and in
//	       the group
//	 20    the registry's index of ids, with the room that its pages have
//	 16    the link from the client to its group
//	  4    the registry's directories
//	  8    nbio's table by descriptor, made at the start for all there can be
//
// The names of systems and groups are kept once, by the registry, and those of users
// by package unique.
//
// # Goroutines
//
// Connections are spread over Options.Pollers loops by descriptor, for life. A
// loop is three goroutines: nbio's poller reads and calls OnOpen and OnMessage;
// the worker writes pushes to many clients; the housekeeper turns the timing
// wheel, drains queues of slow clients, and calls OnClose. A TLS handshake has a
// goroutine while it lasts. Methods of Engine and
// Client may be called from any goroutine, callbacks included, except
// Shutdown. From a callback use Post rather than Push, which waits.
//
// # Order
//
// Two pushes to one target, the second made after the first returned, reach each
// client in that order; so do pushes to a system and to groups of it. Beyond that
// no order is promised: a push to one client overtakes a running push to a
// million.
//
// A push is for those whom its target has when it is admitted, which it is when Post
// returns, or when somebody has it. A client that is closed, or bound to a group or taken
// out of it, gets first what it has not got yet of the pushes that were admitted before,
// if the worker has not come to it; and who connects or is bound does not get them. That
// is done by whoever changes the client, before the change: it takes as long as sending
// what waits, at most MaxPendingPushes messages of its system and as many to all. Clients
// that go away by themselves, or are cut off for not reading, are passed over.
//
// # Lock order
//
//	Client.mu ▶ registry's locks
//	Client.mu ▶ the wheel's lock
//	Client.mu ▶ directJob.mu
//	Client.mu ▶ tlsShake.mu ▶ nbio.Conn's lock ▶ writeWatch.mu
//	Client.mu ▶ loop.mu
//	Client.mu ▶ backlog.mu
//	Client.mu ▶ addrLimits.mu
//	scheduler.mu ▶ taskQueue.mu
//
// No lock is held while a callback runs. Neither scheduler.mu nor taskQueue.mu is held
// together with a Client.mu.
package engine
