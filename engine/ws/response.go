package ws

import "strconv"

// AppendSwitchingProtocols appends the answer that accepts a handshake (RFC 6455
// section 4.2.2). key is the request's; subprotocol and extensions are left out
// if empty; extra lines follow.
func AppendSwitchingProtocols(dst []byte, key, subprotocol, extensions string, extra ...HeaderField) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, key)
	dst = append(dst, '\r', '\n')
	if subprotocol != "" {
		dst = appendField(dst, "Sec-WebSocket-Protocol", subprotocol)
	}
	if extensions != "" {
		dst = appendField(dst, "Sec-WebSocket-Extensions", extensions)
	}
	for _, f := range extra {
		dst = appendField(dst, f.Name, f.Value)
	}
	return append(dst, '\r', '\n')
}

// AppendHTTPError appends a complete HTTP/1.1 answer that ends the connection.
// extra lines follow the four of its own: Content-Type, Content-Length,
// X-Content-Type-Options and Connection. A Date, which RFC 9110 section 6.6.1 asks
// of whoever has a clock, is one of them: the package reads none.
func AppendHTTPError(dst []byte, status int, contentType, body string, extra ...HeaderField) []byte {
	return append(appendErrorHead(dst, status, contentType, len(body), extra), body...)
}

// AppendHTTPErrorToHEAD is AppendHTTPError for a HEAD request, whose answer has no
// body (RFC 9110 section 9.3.2). Nor has it a Content-Length, which would have to be
// GET's: where the method is what is refused, GET has another answer.
func AppendHTTPErrorToHEAD(dst []byte, status int, contentType string, extra ...HeaderField) []byte {
	return appendErrorHead(dst, status, contentType, -1, extra)
}

// appendErrorHead leaves the Content-Length out if it is negative.
func appendErrorHead(dst []byte, status int, contentType string, contentLength int, extra []HeaderField) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, statusText(status)...)
	dst = append(dst, '\r', '\n')
	dst = appendField(dst, "Content-Type", contentType)
	if contentLength >= 0 {
		dst = appendField(dst, "Content-Length", strconv.Itoa(contentLength))
	}
	dst = append(dst, "X-Content-Type-Options: nosniff\r\nConnection: close"...)
	for _, f := range extra {
		if equalFold(f.Name, "Upgrade") {
			dst = append(dst, ", upgrade"...) // RFC 9110 section 7.8 wants it named
		}
	}
	dst = append(dst, '\r', '\n')
	for _, f := range extra {
		dst = appendField(dst, f.Name, f.Value)
	}
	return append(dst, '\r', '\n')
}

// appendField appends a header line. Control characters in the value become
// spaces, and a line whose name is not a token is left out: nothing that a caller
// passes on can end the line or the head.
func appendField(dst []byte, name, value string) []byte {
	if !validToken(name) {
		return dst
	}
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	for _, c := range []byte(value) {
		if c < ' ' || c == 0x7F {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\r', '\n')
}

// statusText returns the reason phrase of a refusal. It may be empty (RFC 9112
// section 4).
func statusText(status int) string {
	switch status {
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 426:
		return "Upgrade Required"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	case 505:
		return "HTTP Version Not Supported"
	}
	return ""
}
