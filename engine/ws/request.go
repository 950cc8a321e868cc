package ws

import (
	"encoding/binary"
	"errors"
	"iter"
	"math/bits"
)

// ErrIncomplete is returned for a request head that has not arrived in full. All
// of it that has is well-formed.
var ErrIncomplete = errors.New("ws: request head incomplete")

// MaxHeaders is the largest number of header lines in a request head. More are
// refused with status 431.
const MaxHeaders = 100

// A HeaderField is one line of an HTTP header.
type HeaderField struct{ Name, Value string }

// A Request is the head of an HTTP/1 request. Its strings are copies that share
// one allocation: keeping one keeps them all.
type Request struct {
	Method string
	// Target is the request target as sent (RFC 9112 section 3.2), Path and
	// RawQuery its parts. Percent-encoding is left alone. The path of an
	// absolute-form target without one is "/"; an authority-form target, which
	// only CONNECT has, has none.
	Target, Path, RawQuery string
	// Host is the authority of an absolute-form target, which takes precedence
	// (RFC 9112 section 3.2.2), otherwise the value of the first Host line.
	Host string
	// Proto is the version, as in "HTTP/1.1".
	Proto string

	fields []HeaderField
}

// Header returns the value of the first line with this name, in any case, without
// the whitespace around it. ok tells an empty value from an absent line.
func (r *Request) Header(name string) (value string, ok bool) {
	for i := range r.fields {
		if f := &r.fields[i]; equalFold(f.Name, name) {
			return f.Value, true
		}
	}
	return "", false
}

// Values yields the value of every line with this name, in any case, in the order
// of the request.
func (r *Request) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range r.fields {
			if f := &r.fields[i]; equalFold(f.Name, name) && !yield(f.Value) {
				return
			}
		}
	}
}

// Headers yields every header line, name and value, in the order of the request.
func (r *Request) Headers() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for i := range r.fields {
			if !yield(r.fields[i].Name, r.fields[i].Value) {
				return
			}
		}
	}
}

// Origin returns the value of the Origin header, empty if there is none. A
// browser always sends one with an upgrade (RFC 6455 section 4.1).
func (r *Request) Origin() string {
	v, _ := r.Header("Origin")
	return v
}

// ParseRequest parses an HTTP/1 request head (RFC 9112) from the front of b and
// returns its length n, the empty line included; b[n:] follows it on the
// connection. It returns ErrIncomplete while b holds a part of a head and a
// *HandshakeError once it cannot become one; the same one wherever b is cut.
//
// It is strict where leniency lets two parsers disagree: lines end in CRLF and
// nothing else, no folded lines, no space before a colon, one space between the
// parts of the request line, no control characters. It takes any method and
// HTTP/1 version: whether the request is a WebSocket upgrade is for
// [Request.CheckUpgrade].
//
// It does not bound the length of a head. The caller does, by what it reads.
func ParseRequest(b []byte) (r Request, n int, err error) {
	var line requestLine
	if n, err = line.parse(b); err != nil {
		return Request{}, 0, err
	}
	var lines [MaxHeaders]headerLine
	count := 0
	for {
		end, err := endOfHead(b, n)
		if err != nil {
			return Request{}, 0, err
		}
		if end > 0 {
			n = end
			break
		}
		if count == MaxHeaders {
			return Request{}, 0, errTooManyHeaders()
		}
		if n, err = lines[count].parse(b, n); err != nil {
			return Request{}, 0, err
		}
		count++
	}

	head := string(b[:n])
	r = Request{
		Method:   head[:line.method],
		Target:   line.target.of(head),
		Path:     line.path.of(head),
		RawQuery: line.query.of(head),
		Host:     line.authority.of(head),
		Proto:    line.proto.of(head),
		fields:   make([]HeaderField, count),
	}
	if r.Path == "" && r.Host != "" && r.Method != "CONNECT" {
		r.Path = "/"
	}
	for i := range r.fields {
		r.fields[i] = HeaderField{lines[i].name.of(head), lines[i].value.of(head)}
	}
	if line.authority == (span{}) {
		r.Host, _ = r.Header("Host")
	}
	return r, n, nil
}

// A span is a part of the head. Offsets, unlike strings, can be kept before the
// head is copied.
type span struct{ from, to int }

func (s span) of(head string) string { return head[s.from:s.to] }

// A headerLine is the place of a field's name and trimmed value.
type headerLine struct{ name, value span }

// endOfHead returns the offset after the empty line if b has it at i, and 0 if
// another line begins there.
func endOfHead(b []byte, i int) (int, error) {
	switch {
	case i == len(b):
		return 0, ErrIncomplete
	case b[i] != '\r':
		return 0, nil
	}
	return endOfLine(b, i)
}

// endOfLine returns the offset after the CRLF at b[i], which is a carriage return.
func endOfLine(b []byte, i int) (int, error) {
	switch {
	case i+1 == len(b):
		return 0, ErrIncomplete
	case b[i+1] != '\n':
		return 0, errLineEnding()
	}
	return i + 2, nil
}

// parse reads a header line at b[i] and returns the offset after it.
func (h *headerLine) parse(b []byte, i int) (int, error) {
	h.name.from = i
	for i < len(b) && isToken[b[i]] {
		i++
	}
	switch {
	case i == len(b):
		return 0, ErrIncomplete
	case b[i] == '\n':
		return 0, errLineEnding()
	case b[i] != ':' || i == h.name.from:
		// A space here is a folded line or one before the colon.
		return 0, errHeaderName()
	}
	h.name.to = i
	i++
	for i < len(b) && isBlank(b[i]) {
		i++
	}
	h.value.from = i
	for {
		i = skipText(b, i)
		if i == len(b) {
			return 0, ErrIncomplete
		}
		if b[i] != '\t' {
			break
		}
		i++
	}
	switch b[i] {
	case '\r':
	case '\n':
		return 0, errLineEnding()
	default:
		return 0, errHeaderValue()
	}
	next, err := endOfLine(b, i)
	for i > h.value.from && isBlank(b[i-1]) {
		i--
	}
	h.value.to = i
	return next, err
}

// skipText returns the offset of the first control character from b[i] on, or
// len(b).
func skipText(b []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		// The top bit of each byte: below 0x20, or equal to 0x7F. A borrow can
		// only flag bytes above one that is rightly flagged, and the lowest counts.
		del := w ^ 0x7F*ones
		if found := ((w-0x20*ones)&^w | (del-ones)&^del) & tops; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] >= 0x20 && b[i] != 0x7F {
		i++
	}
	return i
}

// isBlank reports whether c is a space or a tab, the optional whitespace of
// RFC 9110 section 5.6.3.
func isBlank(c byte) bool { return c == ' ' || c == '\t' }
