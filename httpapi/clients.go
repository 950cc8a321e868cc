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
		e.message = c.notifyBound(system, id, group)
	}
	return c.answer(http.StatusOK, e.appendTo(nil, c.api.lang).bool("added", added).end())
}

// notifyBound tells the group's members, the new one among them, and returns the
// message's id. The client is bound whether or not they can be told, so that a
// failure is no error of the call.
func (c *call) notifyBound(system string, id engine.ID, group string) string {
	var user string
	if client, ok := c.api.eng.Client(id); ok {
		user = client.User()
	}
	ctx, cancel := c.waiting()
	defer cancel()
	report, err := c.api.eng.Push(ctx, engine.ToGroup(system, group), engine.Message{
		Code: engine.CodeBound,
		Data: newObject(nil).str("client_id", id.String()).str("user_id", user).end(),
	})
	if err != nil {
		c.api.log.Warn().Err(err).Msg("group not told of its new member")
	}
	return report.MessageID
}

func (c *call) unbind() error {
	system, id, group := c.system(), c.id(), c.group()
	if err := c.err(); err != nil {
		return err
	}
	removed, err := c.api.eng.Unbind(system, id, group)
	if err != nil {
		return err
	}
	e := envelope{system: system, client: id.String(), group: group, code: engine.CodeLeft}
	return c.answer(http.StatusOK, e.appendTo(nil, c.api.lang).bool("removed", removed).end())
}

func (c *call) closeClient() error {
	system, id := c.system(), c.id()
	reason, _ := c.text("reason", false)
	if err := c.err(); err != nil {
		return err
	}
	if err := c.api.eng.Close(system, id, reason); err != nil {
		return err
	}
	e := envelope{system: system, client: id.String(), code: engine.CodeClosed}
	return c.answer(http.StatusOK, e.appendTo(nil, c.api.lang).end())
}

func (c *call) client() error {
	id := c.id()
	system, inSystem := c.optionalSystem()
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
		q.System, _ = c.optionalSystem()
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
		c.fail(badField("limit", "an integer from 1 to "+strconv.Itoa(maxPage)))
		return 0
	}
	return int(n)
}
