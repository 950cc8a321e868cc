package engine

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// HalfSurrogate returns the first \u escape in valid JSON that is half of a surrogate
// pair, empty if there is none. Parsers make different things of it: some fail, others
// make of two different strings the same one.
func HalfSurrogate(json string) (escape string) {
	s := json
	for {
		i := strings.IndexByte(s, '\\') // in strings only
		if i < 0 {
			return ""
		}
		if s[i+1] != 'u' {
			s = s[i+2:]
			continue
		}
		escape, s = s[i:i+6], s[i+6:]
		r := escapedRune(escape)
		if !utf16.IsSurrogate(r) {
			continue
		}
		if !strings.HasPrefix(s, `\u`) || utf16.DecodeRune(r, escapedRune(s)) == utf8.RuneError {
			return escape
		}
		s = s[6:]
	}
}

// escapedRune reads the escape at the front of s.
func escapedRune(s string) rune {
	n, _ := strconv.ParseUint(s[2:6], 16, 16)
	return rune(n)
}
