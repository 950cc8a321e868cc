package ws

import (
	"iter"
	"strconv"
	"strings"
)

const (
	deflateName     = "permessage-deflate"
	deflateResponse = deflateName + "; server_no_context_takeover; client_no_context_takeover"
)

// NegotiateDeflate answers the offers in the Sec-WebSocket-Extensions lines of a
// request (RFC 7692 section 7.1): it takes the first valid one. response is the
// value of the answer's Sec-WebSocket-Extensions, and windowBits, 8-15, what
// AppendDeflated is to be told; they are empty and 0 if there is no such offer.
//
// Neither side keeps a compression context between messages, whether the offer
// says so or not: section 7.1.1 lets a server demand both, and an idle connection
// then holds no window. client_max_window_bits is taken and needs no answer, for
// an inflater's window is always the largest. An offer that is not valid
// (section 7) is skipped, and so is one for another extension.
func NegotiateDeflate(offers iter.Seq[string]) (windowBits int, response string) {
	for line := range offers {
		for offer := range elements(line, ',') {
			bits, ok := parseDeflateOffer(offer)
			switch {
			case !ok:
			case bits == 0:
				return MaxWindowBits, deflateResponse
			default:
				return bits, deflateResponse + "; server_max_window_bits=" + strconv.Itoa(bits)
			}
		}
	}
	return 0, ""
}

// parseDeflateOffer returns the server_max_window_bits of an offer, or 0 if it
// names none. ok is false if the offer is not a valid one of permessage-deflate.
func parseDeflateOffer(offer string) (serverBits int, ok bool) {
	var seen [4]bool
	first := true
	for part := range elements(offer, ';') {
		if first {
			if part != deflateName {
				return 0, false
			}
			first = false
			continue
		}
		name, value, hasValue := strings.Cut(part, "=")
		name = trimBlank(name)
		param := -1
		switch name {
		case "server_no_context_takeover":
			param = 0
		case "client_no_context_takeover":
			param = 1
		case "server_max_window_bits":
			param = 2
		case "client_max_window_bits":
			param = 3
		}
		if param < 0 || seen[param] {
			return 0, false
		}
		seen[param] = true
		bits := windowBits(unquote(trimBlank(value)))
		switch {
		case param < 2:
			ok = !hasValue
		case param == 2:
			serverBits, ok = bits, bits != 0
		default:
			ok = !hasValue || bits != 0 // only a hint what the client can do
		}
		if !ok {
			return 0, false
		}
	}
	return serverBits, true
}

// windowBits returns the value of a window parameter: a decimal of 8 to 15
// without leading zeros (RFC 7692 section 7.1.2), or 0.
func windowBits(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < minWindowBits || n > MaxWindowBits || s != strconv.Itoa(n) {
		return 0
	}
	return n
}

// unquote returns what a quoted string stands for, and anything else as it is. A
// string that does not end gives "", which is no value of a parameter.
func unquote(s string) string {
	if s == "" || s[0] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			if i+1 < len(s) {
				return ""
			}
			return b.String()
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return ""
}
