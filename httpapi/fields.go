package httpapi

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"carillon/engine"
)

// fields are what a request says. Its methods read one field each and keep the
// first error for err, so that a handler reads all it needs and then asks once.
// It belongs to the goroutine of the request.
type fields struct {
	json   bool                // values are JSON text, not strings
	values map[string][]string // by name, in the order in which they came
	bad    error
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
		f.fail(badField(name, "one value, not several"))
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
		s, whole := unquote(v)
		if !whole {
			f.fail(badField(name, "a string without half surrogate pairs"))
		}
		return s, true
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

// name returns a name that, if present, is not empty and not too long.
func (f *fields) name(name string) (v string, ok bool) {
	v, ok = f.text(name, name == "system_id")
	if ok && (v == "" || len(v) > engine.MaxNameBytes) {
		f.fail(badField(name, fmt.Sprintf("1 to %d bytes", engine.MaxNameBytes)))
	}
	return v, ok
}

// system returns system_id, whose absence has a code of its own.
func (f *fields) system() string {
	system, ok := f.optionalSystem()
	if !ok {
		f.fail(noSystem())
	}
	return system
}

// optionalSystem does not take an empty system_id for an absent one: a caller
// that lost the name must not get everybody's clients.
func (f *fields) optionalSystem() (string, bool) {
	if v, ok := f.text("system_id", true); ok && v == "" {
		f.fail(noSystem())
	}
	return f.name("system_id")
}

func noSystem() *problem {
	return &problem{
		status: http.StatusBadRequest, code: engine.CodeNoSystem,
		field: "system_id", detail: "want the name of a system",
	}
}

func (f *fields) group() string {
	group, ok := f.name("group_name")
	if !ok {
		f.fail(badField("group_name", "the name of a group"))
	}
	return group
}

// id returns client_id.
func (f *fields) id() engine.ID {
	v, _ := f.text("client_id", true)
	id, err := engine.ParseID(v)
	if err != nil {
		f.fail(err)
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
		if id, err := engine.ParseID(v); err == nil {
			return []engine.ID{id}, nil
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

// flag returns an optional boolean: true and false, in a form also 1 and 0.
func (f *fields) flag(name string) bool {
	v, ok := f.one(name)
	switch {
	case !ok, v == "false", f.json && v == "null", !f.json && v == "0":
		return false
	case v == "true", !f.json && v == "1":
		return true
	}
	f.fail(badField(name, "true or false"))
	return false
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
			if err := checkJSON("params", params, maxDepth-1); err != nil {
				f.fail(err)
			}
		}
		m.Params = []byte(params)
	}
	return m, echo
}
