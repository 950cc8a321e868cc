package engine

import (
	"context"
	"sync"
	"time"
)

// Who joins and who leaves is told to groups where that was asked for: Identity.Notify,
// Options.NotifyLeave and CloseOptions.Notify. A connection comes and goes on a poller
// and a housekeeper, which must not wait for others: so a notifier tells of it, behind
// what was pushed to the group before.

// Bounds of a notifier.
const (
	// maxTellings is how many groups may be due to be told, all together; of what comes
	// above, nobody is told.
	maxTellings = 1 << 16
	// maxTellers is how many systems are told at a time. One whose pushes wait holds up
	// one of them.
	maxTellers = 16
)

// A telling is one group that is to be told of one client.
type telling struct {
	c     *Client
	group string
	code  Code
	id    string // of the message: all groups that are told the same get it under one id
}

// A notifier tells the groups of a system one after the other, so that of all that it
// has to tell, one push at a time waits with those of the backend. It owns goroutines
// only while there is something to tell.
type notifier struct {
	e *Engine

	mu      sync.Mutex // guards the following fields
	due     map[string][]telling
	turn    []string // the systems in due that nobody is telling, the next one first
	n       int      // tellings in due
	tellers int
	warned  time.Time
}

// post has the groups of c told. It does not block.
func (n *notifier) post(c *Client, code Code) {
	if n.e.phase.Load() != phaseRunning { // everybody leaves
		return
	}
	groups := c.Groups()
	if len(groups) == 0 {
		return
	}
	id, err := n.e.ids.next()
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.n+len(groups) > maxTellings {
		if time.Since(n.warned) > time.Second {
			n.warned = time.Now()
			n.e.log.Warn().Int("waiting", n.n).Msg("too many clients come and go: their groups are not told of all")
		}
		return
	}
	system := c.System()
	list, known := n.due[system]
	for _, g := range groups {
		list = append(list, telling{c, g, code, messageID(id)})
	}
	if n.due == nil {
		n.due = map[string][]telling{}
	}
	n.due[system] = list
	n.n += len(groups)
	if known {
		return
	}
	n.turn = append(n.turn, system)
	if n.tellers < maxTellers {
		n.tellers++
		n.e.wg.Go(n.work)
	}
}

// work tells the systems in turn until there is nothing left.
func (n *notifier) work() {
	for {
		n.mu.Lock()
		if len(n.turn) == 0 {
			n.tellers--
			n.mu.Unlock()
			return
		}
		system := n.turn[0]
		n.turn = n.turn[1:]
		next := n.due[system][0]
		n.mu.Unlock()

		n.tell(next)

		n.mu.Lock()
		n.n--
		list := n.due[system]
		if list[0] = (telling{}); len(list) > 1 {
			n.due[system] = list[1:]
			n.turn = append(n.turn, system)
		} else {
			delete(n.due, system)
		}
		n.mu.Unlock()
	}
}

func (n *notifier) tell(t telling) {
	if t.code == CodeBound && !t.c.member.InGroup(t.group) { // has left again, of which they may know
		return
	}
	// The only errors are those of a server that is full or shuts down.
	_, _ = n.e.Push(n.e.ctx, ToGroup(t.c.System(), t.group), t.message())
}

func (t telling) message() Message {
	m := MembershipMessage(t.code, t.c.ID(), t.c.User())
	m.id = t.id
	return m
}

// MembershipMessage tells a group that a client has joined it (CodeBound) or left it
// (CodeLeft): its data is {"client_id":"…","user_id":"…"}.
func MembershipMessage(code Code, id ID, user string) Message {
	b := append([]byte(`{"client_id":"`), id.String()...)
	b = append(b, `","user_id":`...)
	return Message{Code: code, Data: append(AppendJSONString(b, user), '}')}
}

// tellLeft tells the groups of a client that has just ended, as post does, but waits for
// it as Push does. It returns the message's id, empty without a group.
func (e *Engine) tellLeft(ctx context.Context, c *Client) string {
	groups := c.Groups()
	if len(groups) == 0 {
		return ""
	}
	id, err := e.ids.next()
	if err != nil {
		return ""
	}
	t := telling{c: c, code: CodeLeft, id: messageID(id)}
	for _, t.group = range groups {
		if _, err := e.Push(ctx, ToGroup(c.System(), t.group), t.message()); err != nil {
			e.log.Warn().Err(err).Msg("a group was not told of a client that was closed")
			return ""
		}
	}
	return t.id
}
