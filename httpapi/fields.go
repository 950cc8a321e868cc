package httpapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"carillon/engine"
)

// fields are what a request says. Its methods read one field each and keep the
// first error for err, so that a handler reads all it needs and then asks once.
// It belongs to the goroutine of the request.
type fields struct {
	known  []string            // that the call takes: there are no others
	json   bool                // values are JSON text, not strings
	values map[string][]string // by name, in the order in which they came
	bad    error

	// Of lists in a form, until all are there.
	elements map[string][]element
	next     map[string]int // number of an element without one
}

func newFields(known []string) *fields {
	return &fields{known: known, values: map[string][]string{}, elements: map[string][]element{}, next: map[string]int{}}
}

// err is the first error of the methods called so far.
func (f *fields) err() error { return f.bad }

func (f *fields) fail(err error) {
	if f.bad == nil {
		f.bad = err
	}
}

// one returns the field as it came. It is an error if it came twice.
func (f *fields) one(name string) (v string, ok bool) {
	vs := f.values[name]
	if len(vs) > 1 {
		f.fail(engine.Twice(name))
	}
	if len(vs) == 0 {
		return "", false
	}
	return vs[0], true
}

// text returns a string field, which in JSON may also be an integer if the field
// is an id.
func (f *fields) text(name string, id bool) (v string, ok bool) {
	v, ok = f.one(name)
	switch {
	case !ok || f.json && v == "null":
		return "", false
	case !f.json:
		if !utf8.ValidString(v) {
			f.fail(badField(name, "UTF-8"))
		}
		return v, true
	case v[0] == '"':
		return unquote(v), true
	case id && isInteger(v):
		return v, true
	case id:
		f.fail(badField(name, "a string or an integer"))
	default:
		f.fail(badField(name, "a string"))
	}
	return "", true
}

// isInteger reports whether JSON text is a number without fraction and exponent.
func isInteger(v string) bool {
	return strings.Trim(strings.TrimPrefix(v, "-"), "0123456789") == ""
}

// name returns a name that, if present, is one. That a system's is empty is not as if it
// were absent: a caller that lost the name must not get everybody's clients.
func (f *fields) name(name string) (v string, ok bool) {
	if f.json {
		v, ok = f.text(name, true)
	} else {
		v, ok = f.one(name)
	}
	if ok {
		if err := engine.CheckName(name, v); err != nil {
			f.fail(err)
		}
	}
	return v, ok
}

func (f *fields) system() string { return f.required("system_id") }

func (f *fields) group() string { return f.required("group_name") }

func (f *fields) required(name string) string {
	v, ok := f.name(name)
	if !ok {
		f.fail(engine.CheckName(name, ""))
	}
	return v
}

// id returns client_id.
func (f *fields) id() engine.ID {
	v, ok := f.text("client_id", true)
	id, err := engine.ParseID(v)
	if bad := (*engine.FieldError)(nil); errors.As(err, &bad) {
		if ok {
			bad.Want += ", not " + engine.Quote(v)
		}
		f.fail(bad)
	}
	return id
}

// ids returns a list of at most engine.MaxTargets client ids: in JSON an array
// of strings or integers, in a form any number of such arrays or plain ids.
func (f *fields) ids(name string) (ids []engine.ID, ok bool) {
	vs := f.values[name]
	if f.json {
		v, ok := f.one(name)
		if !ok || v == "null" {
			return nil, false
		}
	}
	for _, v := range vs {
		more, err := parseIDs(name, v, f.json)
		if err == nil && len(ids)+len(more) > engine.MaxTargets {
			err = tooManyIDs(name)
		}
		if err != nil {
			f.fail(err)
			return nil, true
		}
		ids = append(ids, more...)
	}
	return ids, len(vs) > 0
}

func tooManyIDs(field string) error {
	return badField(field, fmt.Sprintf("at most %d client ids", engine.MaxTargets))
}

func parseIDs(field, v string, valid bool) ([]engine.ID, error) {
	bad := badField(field, "an array of client ids, which are decimal integers from 1 to 9223372036854775807")
	if !valid {
		v = strings.TrimPrefix(v, byteOrderMark)
		if id, err := engine.ParseID(v); err == nil {
			return []engine.ID{id}, nil
		}
		if !strings.HasPrefix(strings.TrimLeft(v, jsonSpace), "[") {
			return nil, badField(field, "a client id or an array of them, not "+engine.Quote(v))
		}
		if err := checkJSON(field, v, 1); err != nil {
			return nil, err
		}
	}
	// A comma stands nowhere but between ids: count before parsing.
	if strings.Count(v, ",") >= engine.MaxTargets {
		return nil, tooManyIDs(field)
	}
	p := parsers.Get()
	defer parsers.Put(p)
	list, err := p.Parse(v)
	if err != nil || list.Type() != fastjson.TypeArray {
		return nil, bad
	}
	values := list.GetArray()
	ids := make([]engine.ID, len(values))
	for i, value := range values {
		digits := value.GetStringBytes()
		if value.Type() == fastjson.TypeNumber {
			digits = value.MarshalTo(nil)
		}
		if ids[i], err = engine.ParseID(string(digits)); err != nil {
			return nil, bad
		}
	}
	return ids, nil
}

// flag returns an optional boolean: in JSON true and false, in a form what
// engine.ParseFlag takes.
func (f *fields) flag(name string) bool {
	v, ok := f.one(name)
	switch {
	case !ok, f.json && v == "null":
		return false
	case !f.json:
		on, err := engine.ParseFlag(name, v)
		if err != nil {
			f.fail(err)
		}
		return on
	case v != "true" && v != "false":
		f.fail(badField(name, "true or false, not "+quoted(v)))
	}
	return v == "true"
}

// quoted is a JSON value as an error repeats it.
func quoted(v string) string {
	if v[0] == '"' {
		v = unquote(v)
		return engine.Quote(v)
	}
	return shown(v)
}

// message returns what to push, and its data as JSON text for the answer.
func (f *fields) message() (m engine.Message, echo string) {
	data, ok := f.one("data")
	if !ok {
		f.fail(badField("data", "what to send"))
		return m, ""
	}
	if f.json {
		m.Data, echo = []byte(data), data
	} else {
		if !utf8.ValidString(data) {
			f.fail(badField("data", "UTF-8"))
		}
		m.Kind, m.Data, echo = engine.Text, []byte(data), string(engine.AppendJSONString(nil, data))
	}
	if f.flag("binary") {
		encoded, ok := f.text("data", false)
		bytes, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil || !ok {
			f.fail(badField("data", "a string in standard base64"))
		}
		m.Kind, m.Data = engine.Binary, bytes
	}
	if params, ok := f.one("params"); ok {
		if !f.json {
			params = strings.TrimPrefix(params, byteOrderMark)
			if err := checkJSON("params", params, maxDepth-1); err != nil {
				f.fail(err)
			}
		}
		m.Params = []byte(params)
	}
	return m, echo
}
