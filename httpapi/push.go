package httpapi

import (
	"context"
	"net/http"

	"carillon/engine"
)

// waiting bounds how long the call waits for a push; the push itself goes on. The
// request's own context will not do: net/http ends it when the caller sends FIN, which
// says that no further request comes, and not that nobody reads the answer. Who is gone
// altogether costs a connection of those that are bounded, for as long as its push.
func (c *call) waiting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.r.Context()), c.api.timeout)
}

func (c *call) pushToClient() error {
	system, id := c.system(), c.id()
	m, echo := c.message()
	if err := c.err(); err != nil {
		return err
	}
	ctx, cancel := c.waiting()
	defer cancel()
	report, err := c.api.eng.Push(ctx, engine.ToClient(system, id), m)
	switch {
	case err != nil:
		return err
	case report.Matched == 0:
		return engine.ErrNoClient
	case report.Dropped > 0:
		return &problem{
			status: http.StatusServiceUnavailable, code: engine.CodeSendFailed, field: "client_id",
			detail: "the client's connection could not take the message",
		}
	}
	e := envelope{system: system, client: id.String(), message: report.MessageID, code: engine.CodeSent, data: echo}
	return c.answer(http.StatusOK, e.appendTo(nil, c.api.lang).end())
}

func (c *call) pushToClients() error {
	system := c.system()
	ids, ok := c.ids("client_ids")
	if !ok {
		c.fail(badField("client_ids", "an array of client ids"))
	}
	m, echo := c.message()
	if err := c.err(); err != nil {
		return err
	}
	ctx, cancel := c.waiting()
	defer cancel()
	report, err := c.api.eng.Push(ctx, engine.ToClients(system, ids...), m)
	if err != nil {
		return err
	}
	// One result repeats the data: 10,000 of them may be gigabytes, and are
	// written as they are made.
	c.begin(http.StatusOK, "application/json", -1)
	e := envelope{system: system, message: report.MessageID, data: echo}
	b := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		e.client, e.code = id.String(), outcomeCode(report.Outcomes[i])
		b = e.appendTo(b, c.api.lang).end()
		if len(b) >= 32<<10 {
			if _, err := c.w.Write(b); err != nil {
				return nil // as in answer
			}
			b = b[:0]
		}
	}
	_, _ = c.w.Write(append(b, ']'))
	return nil
}

func outcomeCode(o engine.Outcome) engine.Code {
	switch o {
	case engine.NoClient:
		return engine.CodeNoClient
	case engine.Dropped:
		return engine.CodeSendFailed
	}
	return engine.CodeSent
}

func (c *call) pushToGroup() error {
	system, group := c.system(), c.group()
	exclude, _ := c.ids("exclude")
	return c.pushToMany(engine.ToGroup(system, group, exclude...), envelope{system: system, group: group})
}

func (c *call) pushToSystem() error {
	system := c.system()
	exclude, _ := c.ids("exclude")
	return c.pushToMany(engine.ToSystem(system, exclude...), envelope{system: system})
}

func (c *call) pushToAll() error {
	if _, ok := c.one("exclude"); ok { // better no push than one to those excluded
		c.fail(badField("exclude", "no such field in this call"))
	}
	return c.pushToMany(engine.ToAll(), envelope{})
}

func (c *call) pushToMany(t engine.Target, e envelope) error {
	how, set := c.text("report", false)
	if set && how != "none" {
		c.fail(badField("report", `"none" or nothing`))
	}
	m, echo := c.message()
	if err := c.err(); err != nil {
		return err
	}
	e.code, e.data = engine.CodeSent, echo
	ctx, cancel := c.waiting()
	defer cancel()
	if set {
		var err error
		if e.message, err = c.api.eng.Post(ctx, t, m); err != nil {
			return err
		}
		return c.answer(http.StatusAccepted, e.appendTo(nil, c.api.lang).end())
	}
	report, err := c.api.eng.Push(ctx, t, m)
	if err != nil {
		return err
	}
	e.message = report.MessageID
	counts := newObject(nil).int("matched", report.Matched).int("written", report.Written).
		int("queued", report.Queued).int("dropped", report.Dropped).end()
	return c.answer(http.StatusOK, e.appendTo(nil, c.api.lang).raw("report", string(counts)).end())
}
