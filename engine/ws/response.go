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
// X-Content-Type-Options and Connection. There is no Date, since the package
// reads no clock.
func AppendHTTPError(dst []byte, status int, contentType, body string, extra ...HeaderField) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, statusText(status)...)
	dst = append(dst, '\r', '\n')
	dst = appendField(dst, "Content-Type", contentType)
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\nX-Content-Type-Options: nosniff\r\nConnection: close"...)
	for _, f := range extra {
		if equalFold(f.Name, "Upgrade") {
			dst = append(dst, ", upgrade"...) // RFC 9110 section 7.8 wants it named
		}
	}
	dst = append(dst, '\r', '\n')
	for _, f := range extra {
		dst = appendField(dst, f.Name, f.Value)
	}
	dst = append(dst, '\r', '\n')
	return append(dst, body...)
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
