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
	quick := c.noReport()
	m, echo := c.message()
	if err := c.err(); err != nil {
		return err
	}
	e := envelope{system: system, client: id.String(), code: engine.CodeSent, data: echo}
	if quick {
		return c.post(engine.ToClient(system, id), m, e)
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
	e.message = report.MessageID
	return c.answer(http.StatusOK, appendReport(e.appendTo(nil, c.api.lang), report).end())
}

func (c *call) pushToClients() error {
	system := c.system()
	ids, ok := c.ids("client_ids")
	if !ok {
		c.fail(badField("client_ids", "an array of client ids"))
	}
	quick := c.noReport()
	m, echo := c.message()
	if err := c.err(); err != nil {
		return err
	}
	t, e := engine.ToClients(system, ids...), envelope{system: system, code: engine.CodeSent, data: echo}
	if quick {
		return c.post(t, m, e)
	}
	ctx, cancel := c.waiting()
	defer cancel()
	report, err := c.api.eng.Push(ctx, t, m)
	if err != nil {
		return err
	}
	if len(ids) > 1 { // 10,000 times the data may be gigabytes
		e.data = ""
	}
	// And without, 10 MB, which are written as they are made.
	c.begin(http.StatusOK, "application/json", -1)
	e.message = report.MessageID
	b := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		o := report.Outcomes[i]
		e.client, e.code = id.String(), outcomeCode(o)
		b = appendReport(e.appendTo(b, c.api.lang), reportOf(o)).end()
		if len(b) >= 32<<10 {
			if _, err := c.w.Write(b); err != nil {
				return nil // as in answer
			}
			b = b[:0]
		}
	}
	_, _ = c.w.Write(append(b, ']', '\n'))
	return nil
}

// reportOf is the report of a push to one client.
func reportOf(o engine.Outcome) (r engine.Report) {
	switch o {
	case engine.NoClient:
		return r
	case engine.Written:
		r.Written = 1
	case engine.Queued:
		r.Queued = 1
	case engine.Dropped:
		r.Dropped = 1
	}
	r.Matched = 1
	return r
}

func appendReport(o object, r engine.Report) object {
	return append(newObject(o.key("report")).int("matched", r.Matched).int("written", r.Written).
		int("queued", r.Queued).int("dropped", r.Dropped), '}')
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

func (c *call) pushToAll() error { return c.pushToMany(engine.ToAll(), envelope{}) }

func (c *call) pushToMany(t engine.Target, e envelope) error {
	quick := c.noReport()
	m, echo := c.message()
	if err := c.err(); err != nil {
		return err
	}
	e.code, e.data = engine.CodeSent, echo
	if quick {
		return c.post(t, m, e)
	}
	ctx, cancel := c.waiting()
	defer cancel()
	report, err := c.api.eng.Push(ctx, t, m)
	if err != nil {
		return err
	}
	e.message = report.MessageID
	return c.answer(http.StatusOK, appendReport(e.appendTo(nil, c.api.lang), report).end())
}

// noReport reports whether the caller does not wait for what becomes of the push.
func (c *call) noReport() bool {
	how, set := c.text("report", false)
	if set && how != "none" {
		c.fail(badField("report", `"none", or no such field, not `+engine.Quote(how)))
	}
	return set
}

// post admits a push, and answers 202.
func (c *call) post(t engine.Target, m engine.Message, e envelope) error {
	ctx, cancel := c.waiting()
	defer cancel()
	var err error
	if e.message, err = c.api.eng.Post(ctx, t, m); err != nil {
		return err
	}
	return c.answer(http.StatusAccepted, e.appendTo(nil, c.api.lang).end())
}
