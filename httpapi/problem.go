package httpapi

import (
	"context"
	"errors"
	"net/http"

	"carillon/engine"
)

// A problem is an error with all that its answer says.
type problem struct {
	status int
	code   engine.Code
	field  string
	detail string
	header [2]string // one more header's name and value, if any
}

// Error implements error.
func (p *problem) Error() string { return "httpapi: " + p.field + ": " + p.detail }

func badField(field, want string) *problem {
	return &problem{status: http.StatusBadRequest, code: engine.CodeBadParameter, field: field, detail: "want " + want}
}

func wrongMethod(allow string) *problem {
	return &problem{
		status: http.StatusMethodNotAllowed, code: engine.CodeBadMethod,
		detail: engine.DetailMethod(allow), header: [2]string{"Allow", allow},
	}
}

// problemOf is the answer to an error of the engine, nil if it is a defect.
func problemOf(err error) *problem {
	var p *problem
	var bad *engine.FieldError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &bad):
		return &problem{status: http.StatusBadRequest, code: bad.Code(), field: bad.Field, detail: bad.Detail()}
	case errors.Is(err, engine.ErrNoClient):
		return &problem{
			status: http.StatusNotFound, code: engine.CodeNoClient, field: "client_id",
			detail: "want an open client of the system",
		}
	case errors.Is(err, engine.ErrBusy):
		return &problem{
			status: http.StatusServiceUnavailable, code: engine.CodeSendFailed,
			detail: "too many pushes wait, nothing was sent", header: [2]string{"Retry-After", "1"},
		}
	case errors.Is(err, engine.ErrShutdown):
		return &problem{
			status: http.StatusServiceUnavailable, code: engine.CodeInternal,
			detail: "the server is shutting down",
		}
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{
			status: http.StatusGatewayTimeout, code: engine.CodeSendFailed,
			detail: "the push takes longer than " + pushTimeout.String() + "; it goes on",
		}
	}
	return nil
}

// refuse answers with an error. A defect is logged, and its text kept from the
// peer. If the answer has begun, there is none. Whether the peer still waits is not
// for us to know: one that sent FIN may be reading.
func (c *call) refuse(err error) {
	p := problemOf(err)
	if p == nil {
		c.api.log.Error().Err(err).Str("path", c.r.URL.Path).Msg("request failed")
		p = &problem{status: http.StatusInternalServerError, code: engine.CodeInternal}
	}
	if c.status != 0 {
		return
	}
	if p.header[0] != "" {
		c.w.Header().Set(p.header[0], p.header[1])
		if p.header[0] == "Upgrade" && !c.mustClose() {
			c.w.Header().Set("Connection", "upgrade") // RFC 9110 section 7.8
		}
	}
	_ = c.answer(p.status, p.body(c.api.lang))
}

func (p *problem) body(l engine.Lang) []byte {
	return newObject(nil).int("code", int(p.code)).str("msg", p.code.Text(l)).
		str("field", p.field).str("detail", p.detail).end()
}
