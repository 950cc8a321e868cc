package httpapi

import (
	"bytes"
	"io"
	"mime/multipart"
	"slices"
	"strconv"
	"strings"

	"carillon/engine"
)

// maxFields bounds the fields of a form or a query.
const maxFields = 10_000

// decodeForm is for a body and for a query, which is what errors call it.
func decodeForm(what, text string, known []string) (*fields, error) {
	f := newFields(known)
	if strings.Count(text, "&") >= maxFields {
		return nil, tooManyFields(what)
	}
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := engine.Unescape(what, rawName)
		switch {
		case err != nil:
		case name == "":
			err = badField(what, "a name for each value")
		default:
			err = f.check(name)
		}
		if err != nil {
			return nil, err
		}
		value, err := engine.Unescape(name, rawValue)
		if err == nil {
			err = f.add(name, value)
		}
		if err != nil {
			return nil, err
		}
	}
	return f, f.order()
}

func tooManyFields(what string) *problem {
	return badField(what, "at most "+strconv.Itoa(maxFields)+" fields")
}

// decodeMultipart keeps everything in memory: the body is there already.
func decodeMultipart(body []byte, boundary string, known []string) (*fields, error) {
	f := newFields(known)
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for n := 0; ; n++ {
		part, err := parts.NextPart()
		if err == io.EOF {
			return f, f.order()
		}
		if n == maxFields {
			return nil, tooManyFields("body")
		}
		malformed := badField("body", "a complete multipart form whose parts have names")
		if err != nil || part.FormName() == "" {
			return nil, malformed
		}
		name := part.FormName()
		if err := f.check(name); err != nil {
			return nil, err
		}
		if part.FileName() != "" {
			return nil, badField(name, "a value, not a file")
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, malformed
		}
		if err := f.add(name, string(value)); err != nil {
			return nil, err
		}
	}
}

// check refuses a field that the call does not know.
func (f *fields) check(name string) error {
	if base, _, indexed := engine.CutIndex(name); indexed && isList(base) {
		name = base
	}
	if !slices.Contains(f.known, name) {
		return noSuchField(name, f.known)
	}
	return nil
}

// An element of a list may come by itself, under NAME, NAME[] or NAME[n].
type element struct {
	n     int
	value string
}

// add takes a field of a form, whose name was checked. Elements without a number come
// behind all before them.
func (f *fields) add(name, value string) error {
	base, index, indexed := engine.CutIndex(name)
	if !indexed {
		base = name
	}
	if !isList(base) {
		f.values[name] = append(f.values[name], value)
		return nil
	}
	e := element{f.next[base], value}
	if index != "" {
		n, err := strconv.ParseUint(index, 10, 31)
		if err != nil {
			return badField(shown(name), base+"[] or "+base+"[0], "+base+"[1] and so on")
		}
		e.n = int(n)
	}
	f.next[base] = max(f.next[base], e.n+1)
	f.elements[base] = append(f.elements[base], e)
	return nil
}

// order puts the elements of each list into the order of their numbers.
func (f *fields) order() error {
	for name, list := range f.elements {
		slices.SortStableFunc(list, func(a, b element) int { return a.n - b.n })
		for i, e := range list {
			if i > 0 && e.n == list[i-1].n {
				return engine.Twice(name + "[" + strconv.Itoa(e.n) + "]")
			}
			f.values[name] = append(f.values[name], e.value)
		}
	}
	return nil
}
