package engine

import (
	"errors"
	"fmt"
	"time"

	"carillon/engine/ws"
)

// refuse answers the handshake with an error, and closes. An error that says nothing
// about the handshake is the server's own, and is logged as such. label goes with
// errors that bring none. It runs on whichever goroutine owns the phase.
func (c *Client) refuse(err error, label string) {
	e := c.loop.e
	var (
		answer  = RefuseError{Status: 500, Code: CodeInternal}
		event   = e.log.Debug
		header  []ws.HeaderField
		refusal *RefuseError
		proto   *ws.HandshakeError
		field   *FieldError
	)
	switch {
	case errors.As(err, &refusal):
		answer = *refusal
		if answer.Code == 0 {
			answer.Code = CodeUnauthorized
		}
	case errors.As(err, &proto):
		answer = RefuseError{Status: proto.Status, Code: CodeConnectFailed, Detail: proto.Message}
		answer.Field = headerAtFault[proto.Reason]
		header, label = proto.Header, proto.Reason
		if proto.Status == 405 {
			answer.Code, answer.Detail = CodeBadMethod, DetailMethod(proto.Header[0].Value)
		}
	case errors.As(err, &field):
		answer = RefuseError{Status: 400, Code: field.Code(), Field: field.Field, Detail: field.Detail()}
	default:
		event, label = e.log.Error, labelInternal
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateHandshake {
		return
	}
	e.refused.add(label)
	event().Err(err).Str("reason", label).Stringer("remote", c.RemoteAddr()).Msg("handshake refused")
	c.state = stateClosing
	c.setDeadlineLocked(e.closeTicks)
	c.flags |= flagGotClose // there is no closing handshake to wait for
	hs := c.hs.Load()
	e.freeRoom(hs)
	e.backlog.set(&hs.holding, 0)
	c.writeBytesLocked(answer.appendAnswer(nil, e.opts.Lang, hs.noBody, header...))
	if c.out == nil {
		c.finishWritingLocked()
	}
}

// giveUp ends a connection without an answer, and counts it, if it is not open yet.
func (c *Client) giveUp(label string) {
	c.mu.Lock()
	ended := c.state == stateHandshake
	if ended {
		c.state = stateClosing
		c.setDeadlineLocked(c.loop.e.closeTicks)
		c.flags |= flagGotClose
		c.loop.e.freeRoom(c.hs.Load())
		c.loop.e.refused.add(label)
	}
	c.mu.Unlock()
	if ended {
		c.cut()
	}
}

// headerAtFault is the "field" of an answer to a request that is no handshake, by the
// reason of its ws.HandshakeError.
var headerAtFault = map[string]string{
	"host": "Host", "upgrade": "Upgrade", "connection": "Connection", "version": "Sec-WebSocket-Version",
	"key": "Sec-WebSocket-Key", "origin_count": "Origin", "body": "body",
}

const labelInternal = "internal error"

// dateFormat is that of RFC 9110 section 5.6.7, for times in UTC.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// AppendAnswer appends e as a whole HTTP answer that ends the connection.
func (e *RefuseError) AppendAnswer(b []byte, l Lang) []byte { return e.appendAnswer(b, l, false) }

// appendAnswer appends the HTTP answer, with the API's error object as its body, which
// the answer to a HEAD lacks. Its headers are those of the API's answers.
func (e *RefuseError) appendAnswer(b []byte, l Lang, noBody bool, header ...ws.HeaderField) []byte {
	header = append(header, ws.HeaderField{Name: "Date", Value: time.Now().UTC().Format(dateFormat)},
		ws.HeaderField{Name: "Cache-Control", Value: "no-store"})
	if e.Status == 503 || e.Status == 429 {
		header = append(header, ws.HeaderField{Name: "Retry-After", Value: "1"})
	}
	if noBody {
		return ws.AppendHTTPErrorToHEAD(b, e.Status, contentType, header...)
	}
	return ws.AppendHTTPError(b, e.Status, contentType, string(e.appendJSON(nil, l)), header...)
}

// contentType is the API's, too: RFC 8259 section 11 has no charset.
const contentType = "application/json"

// appendJSON appends the API's error object.
func (e *RefuseError) appendJSON(b []byte, l Lang) []byte {
	b = fmt.Appendf(b, `{"code":%d,"msg":`, e.Code)
	b = AppendJSONString(b, e.Code.Text(l))
	b = append(b, `,"field":`...)
	b = AppendJSONString(b, e.Field)
	b = append(b, `,"detail":`...)
	b = AppendJSONString(b, e.Detail)
	return append(b, '}', '\n')
}
