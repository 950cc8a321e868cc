package ws

import "strconv"

// A HandshakeError is a request that is refused, with the HTTP answer for it.
type HandshakeError struct {
	Status  int           // HTTP status code
	Reason  string        // short and stable, a metric's label
	Message string        // one line for the client's developer
	Header  []HeaderField // what the answer must carry
}

// Error returns the status, the reason and the message.
func (e *HandshakeError) Error() string {
	return "ws: handshake refused: " + strconv.Itoa(e.Status) + " " + e.Reason + ": " + e.Message
}

// Is makes errors.Is match any HandshakeError with the same reason.
func (e *HandshakeError) Is(target error) bool {
	t, ok := target.(*HandshakeError)
	return ok && t.Reason == e.Reason
}

// AppendTo appends the answer, with the message as its body. It is for any method but
// HEAD; see AppendHTTPErrorToHEAD.
func (e *HandshakeError) AppendTo(dst []byte) []byte {
	return AppendHTTPError(dst, e.Status, "text/plain; charset=utf-8", e.Message+"\n", e.Header...)
}

func errRequestLine() error {
	return &HandshakeError{400, "request_line", "malformed request line", nil}
}

func errTarget() error {
	return &HandshakeError{400, "target", "malformed request target", nil}
}

func errHTTPVersion() error {
	return &HandshakeError{505, "http_version", "HTTP/1.1 is spoken here", nil}
}

func errLineEnding() error {
	return &HandshakeError{400, "line_ending", "lines end in CRLF", nil}
}

func errHeaderName() error {
	return &HandshakeError{400, "header_name", "malformed header name", nil}
}

func errHeaderValue() error {
	return &HandshakeError{400, "header_value", "control character in a header value", nil}
}

func errTooManyHeaders() error {
	return &HandshakeError{431, "header_count", "too many header lines", nil}
}

func errMethod() error {
	return &HandshakeError{405, "method", "a WebSocket handshake is a GET", []HeaderField{{"Allow", "GET"}}}
}

func errHTTPTooOld() error {
	return &HandshakeError{400, "http_1_0", "a WebSocket handshake needs HTTP/1.1", nil}
}

func errHost() error {
	return &HandshakeError{400, "host", "exactly one valid Host header is needed", nil}
}

func errBody() error {
	return &HandshakeError{400, "body", "a WebSocket handshake has no body", nil}
}

func errUpgrade() error {
	return &HandshakeError{426, "upgrade", "this is a WebSocket endpoint: Upgrade: websocket is needed",
		[]HeaderField{{"Upgrade", "websocket"}}}
}

func errConnection() error {
	return &HandshakeError{400, "connection", "Connection: Upgrade is needed", nil}
}

func errVersion() error {
	return &HandshakeError{426, "version", "exactly one Sec-WebSocket-Version: 13 is needed",
		[]HeaderField{{"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}}}
}

func errKey() error {
	return &HandshakeError{400, "key", "exactly one Sec-WebSocket-Key of 16 bytes in base64 is needed", nil}
}

func errOrigin() error {
	return &HandshakeError{400, "origin_count", "more than one Origin header", nil}
}
