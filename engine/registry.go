package engine

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"carillon/engine/ws"
	"carillon/registry"
)

// member finds an open client of a system. That it is another system's is not
// told: the answer is the same as for none.
func (e *Engine) member(system string, id ID) (*Client, error) {
	m := e.reg.Lookup(uint64(id))
	if m == nil || m.System() != system {
		return nil, ErrNoClient
	}
	return m.Value, nil
}

// Client finds an open client of any system.
func (e *Engine) Client(id ID) (*Client, bool) {
	if m := e.reg.Lookup(uint64(id)); m != nil {
		return m.Value, true
	}
	return nil, false
}

// Bind puts a client into a group of its system, and reports whether it was not
// in it before. The client does not get what was pushed to the group before. It fails
// with ErrNoClient, or a *FieldError for a bad name or one group too many.
func (e *Engine) Bind(system string, id ID, group string) (added bool, err error) {
	c, err := e.named(system, id, group)
	if err != nil {
		return false, err
	}
	if !c.member.InGroup(group) {
		c.settle(false)
	}
	added, err = e.reg.Bind(&c.member, group)
	switch {
	case errors.Is(err, registry.ErrNotLive):
		err = ErrNoClient
	case errors.Is(err, registry.ErrGroups):
		err = tooManyGroups(e.opts.MaxGroups)
	}
	return added, err
}

// Unbind takes a client out of a group, and reports whether it was in it. The client
// gets what was pushed to the group before.
func (e *Engine) Unbind(system string, id ID, group string) (removed bool, err error) {
	c, err := e.named(system, id, group)
	if err != nil {
		return false, err
	}
	if c.member.InGroup(group) {
		c.settle(false)
	}
	removed, err = e.reg.Unbind(&c.member, group)
	if errors.Is(err, registry.ErrNotLive) {
		err = ErrNoClient
	}
	return removed, err
}

func (e *Engine) named(system string, id ID, group string) (*Client, error) {
	if err := CheckName("system_id", system); err != nil {
		return nil, err
	}
	if err := CheckName("group_name", group); err != nil {
		return nil, err
	}
	return e.member(system, id)
}

// A Cursor is a client's place in the order of Clients. The zero Cursor comes
// before all.
type Cursor struct{ c registry.Cursor }

// String is the cursor as text, to be read by ParseCursor: digits and a dot.
func (c Cursor) String() string { return c.c.String() }

// ParseCursor reads a cursor's String; what is none gives a *FieldError.
func ParseCursor(s string) (Cursor, error) {
	c, err := registry.ParseCursor(s)
	if err != nil {
		return Cursor{}, &FieldError{"cursor", "a cursor from an earlier page"}
	}
	return Cursor{c}, nil
}

// A Query chooses clients: of a group, of a system (Group empty), or all (System
// empty too).
type Query struct {
	System, Group string
	After         Cursor
}

func (e *Engine) set(q Query) registry.Set[*Client] {
	switch {
	case q.Group != "":
		return e.reg.Group(q.System, q.Group)
	case q.System != "":
		return e.reg.System(q.System)
	}
	return e.reg.All()
}

// Clients yields the clients of a query behind q.After, in an order that does not
// change while clients come and go: those there all the time are seen exactly
// once, the others at most once. It takes no lock; to stop early and go on later
// from the last client's Cursor costs nothing.
func (e *Engine) Clients(q Query) iter.Seq[*Client] {
	return func(yield func(*Client) bool) {
		for m := range e.set(q).Members(q.After.c) {
			if !yield(m.Value) {
				return
			}
		}
	}
}

// Count is how many clients a query has, at once.
func (e *Engine) Count(q Query) int { return e.set(q).Len() }

// Close is Client.Close for a client of the given system: ErrNoClient if there is
// none, a *FieldError for a reason of more than 123 bytes or that is not UTF-8.
func (e *Engine) Close(system string, id ID, reason string) error {
	_, err := e.CloseWith(context.Background(), system, id, CloseOptions{Reason: reason})
	return err
}

// CloseOptions are the choices of CloseWith.
type CloseOptions struct {
	// Code is the close frame's: 1000, or 3000 to 4999. By convention 3000 to 3499 ask a
	// client to reconnect, and 3500 to 3999 ask it not to. Default 3500.
	Code int
	// Reason is the close frame's text, at most 123 bytes of UTF-8.
	Reason string
	// Notify tells the members of the groups that the client was in of it, as a message
	// with CodeLeft. CloseWith then waits for that as Push does.
	Notify bool
}

// CloseWith is Close with a choice. With Notify it returns the id of the message that the
// groups got; that they could not be told is no error.
func (e *Engine) CloseWith(ctx context.Context, system string, id ID, o CloseOptions) (messageID string, err error) {
	if err := CheckName("system_id", system); err != nil {
		return "", err
	}
	if err := checkCloseText(o.Reason); err != nil {
		return "", err
	}
	if o.Code = cmp.Or(o.Code, int(closeCodeBackend)); o.Code != int(ws.CloseNormal) && (o.Code < 3000 || o.Code > 4999) {
		return "", &FieldError{"code", "1000, or 3000 to 4999"}
	}
	c, err := e.member(system, id)
	if err != nil {
		return "", err
	}
	// Whoever ends it now, it is told of here, and here only.
	if o.Notify && !c.takeLeave() {
		return "", ErrNoClient
	}
	closed := c.endWithCode(CloseBackend, ws.CloseCode(o.Code), o.Reason)
	if o.Notify {
		messageID = e.tellLeft(ctx, c)
	}
	if !closed {
		return "", ErrNoClient
	}
	return messageID, nil
}
