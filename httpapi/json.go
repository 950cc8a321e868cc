package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"carillon/engine"
)

// maxDepth bounds how deep JSON nests, the body's own object included, for which
// receivers get the envelope's. The strictest of the usual parsers stop at 64.
const maxDepth = 64

const jsonSpace = " \t\r\n"

// parsers read single fields: a string, or a list of ids. They are not given
// whole bodies, because a parsed value takes 80 bytes and more, so that 1 MiB of
// digits would become 40 MB; nor text that is not yet known to be valid, because
// fastjson accepts more than JSON, and the errors of its validator take time
// quadratic in the nesting.
var parsers fastjson.ParserPool

// decodeJSON cuts the body's object into its members. Their values stay JSON
// text, byte for byte, which is how data is delivered.
func decodeJSON(body []byte, known []string) (*fields, error) {
	s := strings.TrimLeft(string(body), jsonSpace)
	if err := checkJSON("body", s, maxDepth); err != nil {
		return nil, err
	}
	if s[0] != '{' {
		return nil, badField("body", "a JSON object")
	}
	f := &fields{known: known, json: true, values: map[string][]string{}}
	// The text is valid: where a comma, a colon or space stands, one may.
	for s = strings.TrimLeft(s[1:], jsonSpace); s[0] != '}'; s = strings.TrimLeft(s, jsonSpace+",") {
		n, _ := scanValue(s)
		key := s[:n]
		if half := engine.HalfSurrogate(key); half != "" {
			return nil, halfPair("body", half)
		}
		if key = unquote(key); !slices.Contains(known, key) {
			return nil, noSuchField(key, known)
		}
		s = strings.TrimLeft(s[n:], jsonSpace+":")
		n, _ = scanValue(s)
		if half := engine.HalfSurrogate(s[:n]); half != "" {
			return nil, halfPair(key, half)
		}
		f.values[key] = append(f.values[key], s[:n])
		s = s[n:]
	}
	return f, nil
}

// halfPair is about an escape that is half of a surrogate pair: two names must not become
// one, and who gets one as data must not fail over it.
func halfPair(field, half string) *problem {
	return badField(field, "whole surrogate pairs, not "+half+" alone")
}

// checkJSON returns an error of the field unless the text is one JSON value in
// UTF-8 that nests at most so deep.
func checkJSON(field, text string, deepest int) error {
	if !utf8.ValidString(text) {
		return badField(field, "UTF-8")
	}
	if !json.Valid([]byte(text)) {
		want := "JSON"
		if bad := (*json.SyntaxError)(nil); errors.As(json.Unmarshal([]byte(text), new(any)), &bad) {
			want = fmt.Sprintf("JSON: %v, at byte %d", bad, bad.Offset)
		}
		return badField(field, want)
	}
	if _, depth := scanValue(strings.TrimLeft(text, jsonSpace)); depth > deepest {
		return badField(field, fmt.Sprintf("JSON that nests at most %d deep", deepest))
	}
	return nil
}

// scanValue returns the length of the value that valid JSON begins with, and how
// deep it nests: 0 for a scalar.
func scanValue(s string) (n, depth int) {
	open := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if open == 0 {
				return i + 1, depth
			}
		case '{', '[':
			open++
			depth = max(depth, open)
		case '}', ']', ',', ' ', '\t', '\r', '\n':
			if open == 0 { // behind a number or a word
				return i, depth
			}
			if s[i] == '}' || s[i] == ']' {
				open--
				if open == 0 {
					return i + 1, depth
				}
			}
		}
	}
	return len(s), depth
}

// unquote returns the string that a valid JSON string stands for, which must have no
// HalfSurrogate.
func unquote(text string) string {
	inner := text[1 : len(text)-1]
	if !strings.Contains(inner, `\`) {
		return inner
	}
	p := parsers.Get()
	defer parsers.Put(p)
	v, err := p.Parse(text)
	if err != nil {
		return inner
	}
	return string(v.GetStringBytes())
}
