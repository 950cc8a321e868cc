package ws

import "bytes"

// PeekRequestLine tells what the front of a request asks for before its head is
// complete, so that a caller can decide early whose request it is. complete is
// true once method and path are known, which is before the end of the line; path
// is as in Request. Before that, method is nil or already known, and path is nil.
// Both lie in b, but for a path that is implied.
//
// err is a *HandshakeError if b cannot become a request line; it is the one that
// ParseRequest returns for it.
func PeekRequestLine(b []byte) (method, path []byte, complete bool, err error) {
	var line requestLine
	_, err = line.parse(b)
	if err != nil && err != ErrIncomplete {
		return nil, nil, false, err
	}
	if line.method == 0 {
		return nil, nil, false, nil
	}
	method = b[:line.method:line.method]
	if line.target == (span{}) {
		return method, nil, false, nil
	}
	path = b[line.path.from:line.path.to:line.path.to]
	if len(path) == 0 && line.authority != (span{}) && string(method) != "CONNECT" {
		path = []byte{'/'}
	}
	return method, path, true, nil
}

// A requestLine is the place of the parts of a request line (RFC 9112 section 3).
// Parts that have not arrived are zero.
type requestLine struct {
	method                 int  // its length
	target, proto          span // as sent
	authority, path, query span // parts of the target
}

// parse reads the request line at the front of b and returns the offset after it.
// With ErrIncomplete, the parts that are delimited are set.
func (l *requestLine) parse(b []byte) (int, error) {
	i := 0
	for i < len(b) && isToken[b[i]] {
		i++
	}
	switch {
	case i == len(b):
		return 0, ErrIncomplete
	case b[i] != ' ' || i == 0:
		return 0, errRequestLine()
	}
	l.method = i
	i++

	start := i
	for i < len(b) && isTarget(b[i]) {
		i++
	}
	switch {
	case i == len(b):
		return 0, ErrIncomplete
	case b[i] != ' ':
		return 0, errTarget()
	}
	if !l.split(b, span{start, i}) {
		return 0, errTarget()
	}
	i++

	start = i
	for _, want := range []byte("HTTP/0.0\r\n") {
		switch {
		case i == len(b):
			return 0, ErrIncomplete
		case want == '0' && b[i] >= '0' && b[i] <= '9':
		case b[i] == want:
		case b[i] == '\n' || want == '\n':
			return 0, errLineEnding()
		default:
			return 0, errRequestLine()
		}
		i++
	}
	l.proto = span{start, i - 2}
	if major := b[start+len("HTTP/")]; major != '1' {
		return 0, errHTTPVersion()
	}
	return i, nil
}

// isTarget reports whether c may stand in a request target. RFC 3986 has a
// shorter list, but browsers send "|" and others as they are. There is no
// fragment in a request.
func isTarget(c byte) bool { return c > ' ' && c < 0x7F && c != '#' }

// split finds the parts of the target at t, in the four forms of RFC 9112
// section 3.2.
func (l *requestLine) split(b []byte, t span) bool {
	target, rest := b[t.from:t.to], t.from
	switch method := string(b[:l.method]); {
	case method == "CONNECT":
		l.target, l.authority, l.path = t, t, span{t.to, t.to}
		return validAuthority(string(target))
	case len(target) > 0 && target[0] == '/':
	case method == "OPTIONS" && string(target) == "*":
		l.target, l.path = t, t
		return true
	default:
		n := schemeLen(target)
		if n == 0 {
			return false
		}
		end := bytes.IndexAny(target[n:], "/?")
		if end < 0 {
			end = len(target) - n
		}
		if !validAuthority(string(target[n : n+end])) {
			return false
		}
		l.authority = span{t.from + n, t.from + n + end}
		rest = l.authority.to
	}
	l.target, l.path, l.query = t, span{rest, t.to}, span{t.to, t.to}
	if q := bytes.IndexByte(b[rest:t.to], '?'); q >= 0 {
		l.path.to, l.query.from = rest+q, rest+q+1
	}
	return true
}

// schemeLen returns the length of the "http://" or "https://" at the front of an
// absolute-form target (RFC 6455 section 4.1), or 0.
func schemeLen(target []byte) int {
	for _, scheme := range [...]string{"http://", "https://"} {
		if n := len(scheme); len(target) >= n && equalFold(string(target[:n]), scheme) {
			return n
		}
	}
	return 0
}

// validAuthority reports whether s is a host with an optional port (RFC 3986
// section 3.2), without user information, which RFC 9110 section 4.2.4 has
// refused.
func validAuthority(s string) bool {
	host, port := s, ""
	for i := len(s) - 1; i >= 0 && s[i] != ']'; i-- {
		if s[i] == ':' {
			host, port = s[:i], s[i+1:]
			break
		}
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		for _, c := range []byte(host[1 : n-1]) {
			if !isHost[c] && c != ':' {
				return false
			}
		}
		return true
	}
	for _, c := range []byte(host) {
		if !isHost[c] {
			return false
		}
	}
	return host != ""
}
