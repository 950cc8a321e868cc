package httpapi

import (
	"net/http"
	"slices"
	"strconv"

	"carillon/engine"
)

func (c *call) bind() error {
	system, id, group := c.system(), c.id(), c.group()
	notify := c.flag("notify")
	if err := c.err(); err != nil {
		return err
	}
	added, err := c.api.eng.Bind(system, id, group)
	if err != nil {
		return err
	}
	e := envelope{system: system, client: id.String(), group: group, code: engine.CodeBound}
	if added && notify {
		e.message = c.tell(e, id)
	}
	return c.answer(http.StatusOK, e.appendTo(nil, c.api.lang).bool("added", added).end())
}

// tell tells the members of e's group what has become of the client, and returns the
// message's id. It is done whether or not they can be told, so that a failure is no error
// of the call.
func (c *call) tell(e envelope, id engine.ID) string {
	var user string
	if client, ok := c.api.eng.Client(id); ok {
		user = client.User()
	}
	ctx, cancel := c.waiting()
	defer cancel()
	report, err := c.api.eng.Push(ctx, engine.ToGroup(e.system, e.group), engine.MembershipMessage(e.code, id, user))
	if err != nil {
		c.api.log.Warn().Err(err).Msg("group not told who joined or left")
	}
	return report.MessageID
}

func (c *call) unbind() error {
	system, id, group := c.system(), c.id(), c.group()
	notify := c.flag("notify")
	if err := c.err(); err != nil {
		return err
	}
	removed, err := c.api.eng.Unbind(system, id, group)
	if err != nil {
		return err
	}
	e := envelope{system: system, client: id.String(), group: group, code: engine.CodeLeft}
	if removed && notify {
		e.message = c.tell(e, id)
	}
	return c.answer(http.StatusOK, e.appendTo(nil, c.api.lang).bool("removed", removed).end())
}

func (c *call) closeClient() error {
	system, id := c.system(), c.id()
	o := engine.CloseOptions{Code: c.closeCode(), Notify: c.flag("notify")}
	o.Reason, _ = c.text("reason", false)
	if err := c.err(); err != nil {
		return err
	}
	ctx, cancel := c.waiting()
	defer cancel()
	e := envelope{system: system, client: id.String(), code: engine.CodeClosed}
	var err error
	if e.message, err = c.api.eng.CloseWith(ctx, system, id, o); err != nil {
		return err
	}
	return c.answer(http.StatusOK, e.appendTo(nil, c.api.lang).end())
}

// closeCode is the close frame's, 0 if the call leaves it to the engine.
func (c *call) closeCode() int {
	v, ok := c.text("code", true)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n != 1000 && (n < 3000 || n > 4999) {
		c.fail(badField("code", "1000, or 3000 to 4999, not "+engine.Quote(v)))
	}
	return int(n)
}

func (c *call) client() error {
	id := c.id()
	system, inSystem := c.name("system_id")
	if err := c.err(); err != nil {
		return err
	}
	client, ok := c.api.eng.Client(id)
	if !ok || inSystem && client.System() != system {
		return engine.ErrNoClient
	}
	stats := client.Stats()
	return c.answer(http.StatusOK, newObject(nil).
		str("client_id", id.String()).
		str("system_id", client.System()).
		str("user_id", client.User()).
		strs("groups", slices.Sorted(slices.Values(client.Groups()))).
		str("connected_at", client.ConnectedAt().UTC().Format("2006-01-02T15:04:05.000Z07:00")).
		str("remote_addr", client.RemoteAddr().String()).
		str("subprotocol", client.Subprotocol()).
		uint("bytes_in", stats.BytesIn).
		uint("bytes_out", stats.BytesOut).
		uint("messages_in", stats.MessagesIn).
		uint("messages_out", stats.MessagesOut).
		int("queued_bytes", stats.QueuedBytes).
		end())
}

// Bounds of a page of clients.
const (
	defaultPage = 100
	maxPage     = 1000
)

func (c *call) clients() error {
	var q engine.Query
	var inGroup bool
	q.Group, inGroup = c.name("group_name")
	if inGroup { // a group's name means nothing without its system's
		q.System = c.system()
	} else {
		q.System, _ = c.name("system_id")
	}
	all := q
	if v, ok := c.one("cursor"); ok {
		var err error
		if q.After, err = engine.ParseCursor(v); err != nil {
			c.fail(err)
		}
	}
	limit := c.limit()
	if err := c.err(); err != nil {
		return err
	}
	ids := make([]string, 0, limit)
	var last, next engine.Cursor
	for client := range c.api.eng.Clients(q) {
		if len(ids) == limit { // there is one more
			next = last
			break
		}
		ids, last = append(ids, client.ID().String()), client.Cursor()
	}
	cursor := ""
	if next != (engine.Cursor{}) {
		cursor = next.String()
	}
	return c.answer(http.StatusOK, newObject(nil).
		int("total", c.api.eng.Count(all)).strs("clients", ids).str("cursor", cursor).end())
}

func (c *call) limit() int {
	v, ok := c.one("limit")
	if !ok {
		return defaultPage
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n < 1 || n > maxPage {
		c.fail(badField("limit", "an integer from 1 to "+strconv.Itoa(maxPage)+", not "+engine.Quote(v)))
		return 0
	}
	return int(n)
}
