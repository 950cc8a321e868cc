package ws

import "iter"

// isToken holds the characters of a token (RFC 9110 section 5.6.2).
var isToken = charset("!#$%&'*+-.^_`|~", true)

// isHost holds the characters of a registered name (RFC 3986 section 3.2.2).
var isHost = charset("-._~%!$&'()*+,;=", true)

// charset returns a set of the characters of s, and of ASCII letters and digits.
func charset(s string, alnum bool) (set [256]bool) {
	for _, c := range []byte(s) {
		set[c] = true
	}
	for c := range 256 {
		if alnum && (c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z') {
			set[c] = true
		}
	}
	return set
}

// validToken reports whether s is a token.
func validToken(s string) bool {
	for i := range len(s) {
		if !isToken[s[i]] {
			return false
		}
	}
	return s != ""
}

// lower returns c in lower case if it is an ASCII letter.
func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold compares in any case of ASCII letters. strings.EqualFold also
// equates some letters outside of ASCII with some in it.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// trimBlank removes spaces and tabs around s.
func trimBlank(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// elements yields the parts of s between separators, without the whitespace
// around them. A separator inside a quoted string is part of it. An empty element
// is no element of a list (RFC 9110 section 5.6.1): no caller looks for one.
func elements(s string, separator byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := 0; i <= len(s); i++ {
			switch {
			case i == len(s) || s[i] == separator && !quoted:
				if !yield(trimBlank(s[start:i])) {
					return
				}
				start = i + 1
			case s[i] == '"':
				quoted = !quoted
			case s[i] == '\\' && quoted && i+1 < len(s):
				i++
			}
		}
	}
}

// hasToken reports whether one of the lines named name lists token, in any case.
func (r *Request) hasToken(name, token string) bool {
	for v := range r.Values(name) {
		for e := range elements(v, ',') {
			if equalFold(e, token) {
				return true
			}
		}
	}
	return false
}
