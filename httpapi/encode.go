package httpapi

import (
	"strconv"

	"carillon/engine"
)

// An object is the text of a JSON object that is still open. Its methods append
// a member, in the order of the calls.
type object []byte

func newObject(b []byte) object { return append(b, '{') }

func (o object) key(name string) object {
	if o[len(o)-1] != '{' {
		o = append(o, ',')
	}
	return append(engine.AppendJSONString(o, name), ':')
}

func (o object) str(name, v string) object       { return engine.AppendJSONString(o.key(name), v) }
func (o object) raw(name, json string) object    { return append(o.key(name), json...) }
func (o object) int(name string, n int) object   { return strconv.AppendInt(o.key(name), int64(n), 10) }
func (o object) bool(name string, v bool) object { return strconv.AppendBool(o.key(name), v) }
func (o object) uint(name string, n uint64) object {
	return strconv.AppendUint(o.key(name), n, 10)
}

func (o object) strs(name string, vs []string) object {
	o = append(o.key(name), '[')
	for i, v := range vs {
		if i > 0 {
			o = append(o, ',')
		}
		o = engine.AppendJSONString(o, v)
	}
	return append(o, ']')
}

func (o object) end() []byte { return append(o, '}') }

// An envelope is the answer's part that the original library had: what was asked
// for, and the code of what became of it.
type envelope struct {
	system, client, message, group string

	code engine.Code
	data string // JSON text; empty means null
}

func (e envelope) appendTo(b []byte, l engine.Lang) object {
	data := e.data
	if data == "" {
		data = "null"
	}
	return newObject(b).
		str("system_id", e.system).str("client_id", e.client).
		str("message_id", e.message).str("group_name", e.group).
		int("code", int(e.code)).str("msg", e.code.Text(l)).raw("data", data)
}
