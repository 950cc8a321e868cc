package engine

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A server answers in two halves: the engine refuses handshakes, and package httpapi
// calls. What follows is for both, so that the same mistake is the same everywhere, and
// told in the same words.

// Details of answers that both halves give.
const (
	// DetailHost is for a Host that AllowHosts does not have.
	DetailHost = "want an IP address, localhost or a configured name (AllowHosts, -allow-host) of the server"

	wantSystem = "the name of a system"
	wantGroup  = "the name of a group"
)

// DetailMethod is for another method than allow has, which is an Allow header's value.
func DetailMethod(allow string) string { return "want " + strings.ReplaceAll(allow, ", ", " or ") }

// DetailPath is for a path that is nothing, and was meant for path, where clients
// connect.
func DetailPath(path string) string { return "want " + path + ", where WebSocket clients connect" }

// CheckName checks the name of a system or a group: 1 to MaxNameBytes bytes of UTF-8.
func CheckName(field, name string) error {
	switch {
	case name == "" && field == "system_id":
		return errNoSystem
	case name == "":
		return &FieldError{field, wantGroup}
	case !fits(name):
		return &FieldError{field, fmt.Sprintf("1 to %d bytes of UTF-8", MaxNameBytes)}
	}
	return nil
}

var errNoSystem = &FieldError{"system_id", wantSystem}

func checkUser(name string) error {
	if !fits(name) {
		return &FieldError{"user_id", fmt.Sprintf("at most %d bytes of UTF-8", MaxNameBytes)}
	}
	return nil
}

func fits(name string) bool { return len(name) <= MaxNameBytes && utf8.ValidString(name) }

func tooManyGroups(limit int) error {
	return &FieldError{"group_name", fmt.Sprintf("at most %d groups for one client", limit)}
}

// Twice is the error about a field that comes more than once and may not.
func Twice(field string) *FieldError { return &FieldError{field, "one value, not several"} }

// ParseFlag reads a flag of a query or a form: true and 1, false and 0, in any case, as
// the languages of callers write them.
func ParseFlag(field, word string) (bool, error) {
	switch {
	case word == "1", strings.EqualFold(word, "true"):
		return true, nil
	case word == "0", strings.EqualFold(word, "false"):
		return false, nil
	}
	return false, &FieldError{field, "true or false, not " + Quote(word)}
}

// Unescape decodes what a query or a form says of a field, its name or its value.
func Unescape(field, raw string) (string, error) {
	if strings.Contains(raw, ";") { // some take it for an ampersand
		return "", &FieldError{field, `a ";" percent-encoded, as %3B`}
	}
	text, err := url.QueryUnescape(raw)
	if bad := url.EscapeError(""); errors.As(err, &bad) {
		return "", &FieldError{field, "percent-encoded text, in which % is %25: " + Quote(string(bad)) + " is no escape"}
	}
	return text, err
}

// CutIndex cuts the brackets off a name such as group_name[] and group_name[0], as which
// PHP and others write the elements of a list.
func CutIndex(name string) (base, index string, found bool) {
	open := strings.IndexByte(name, '[')
	if open <= 0 || name[len(name)-1] != ']' {
		return name, "", false
	}
	return name[:open], name[open+1 : len(name)-1], true
}

// maxQuoted is how many bytes of what somebody sent an error repeats.
const maxQuoted = 40

// Quote is a word of a caller's as an error may repeat it: in quotes, in UTF-8 and not
// long.
func Quote(word string) string {
	short, rest := word, ""
	if len(word) > maxQuoted {
		short, rest = word[:maxQuoted], "…"
		for n := 0; n < utf8.UTFMax && !utf8.ValidString(short) && utf8.ValidString(word); n++ {
			short = short[:len(short)-1] // a character is not cut in two
		}
	}
	return strconv.Quote(strings.ToValidUTF8(short, "?")) + rest
}
