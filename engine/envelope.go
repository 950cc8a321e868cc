package engine

import (
	"strconv"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/valyala/fastjson"

	"carillon/engine/ws"
)

// A frame is one message, encoded once for all its receivers, and compressed once
// if any of them asked for that. It is immutable and shared: by the workers that
// send it and by the queues of slow clients.
//
// Receivers of the envelope differ in system_id and client_id only, which come
// first in it; the rest is common. A renderer puts the two together.
type frame struct {
	// tail is the envelope from behind the client id's digits to its end, and plain
	// the template that ends in it. Nil if there is no envelope: then everyone gets
	// verbatim.
	tail  []byte
	plain *ws.Template
	// verbatim is a whole WebSocket frame, and payload what it carries: for clients of
	// SubprotocolRaw, or for all. Nil if such clients get nothing.
	verbatim, payload []byte

	small compressed
}

const (
	envelopeHead = `{"system_id":`
	envelopeID   = `,"client_id":"`
)

// size is what the frame keeps in memory, in bytes; with compress it has the most that
// compressed forms may take.
func (f *frame) size(compress bool) int64 {
	n := int(unsafe.Sizeof(*f)) + cap(f.tail) + cap(f.verbatim)
	if f.plain != nil {
		n += int(unsafe.Sizeof(*f.plain))
	}
	if compress {
		n += len(f.tail) + len(f.verbatim)
	}
	return int64(n)
}

// newFrame encodes m. group and id are the envelope's group_name and message_id.
func newFrame(m Message, group, id string, l Lang) *frame {
	if m.Kind == Binary {
		f := new(frame)
		f.setVerbatim(ws.OpBinary, m.Data)
		return f
	}
	if m.Code == 0 {
		m.Code = CodeSent
	}
	f := newEnvelope(m.Code, m, group, id, l)
	if m.Code == CodeSent || m.Code == CodeRead { // raw clients have no use for events
		f.setVerbatim(ws.OpText, rawData(m))
	}
	return f
}

func (f *frame) setVerbatim(op ws.Opcode, payload []byte) {
	f.verbatim = ws.AppendFrame(nil, op, payload)
	f.payload = f.verbatim[len(f.verbatim)-len(payload):]
}

// newEnvelope encodes the envelope alone, with the given code.
func newEnvelope(code Code, m Message, group, id string, l Lang) *frame {
	b := make([]byte, 0, 128+len(group)+len(m.Data)+len(m.Data)/8+len(m.Params))
	b = append(b, `","message_id":"`...)
	b = append(b, id...)
	b = append(b, `","group_name":`...)
	b = AppendJSONString(b, group)
	b = append(b, `,"code":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"msg":`...)
	b = AppendJSONString(b, code.Text(l))
	b = append(b, `,"data":`...)
	b = appendData(b, m)
	b = append(b, `,"params":`...)
	if len(m.Params) > 0 {
		b = append(b, m.Params...)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, '}')
	return &frame{tail: b, plain: ws.NewTemplate(ws.OpText, nil, b)}
}

// appendData appends the value of "data".
func appendData(b []byte, m Message) []byte {
	switch {
	case m.Kind == Text:
		return AppendJSONString(b, string(m.Data))
	case len(m.Data) == 0:
		return append(b, "null"...)
	}
	return append(b, m.Data...)
}

// rawData is what a client of SubprotocolRaw gets: the text itself, be it given
// as Text or as a JSON string, and the JSON text of any other value.
func rawData(m Message) []byte {
	if m.Kind == JSON && len(m.Data) > 0 && m.Data[0] == '"' {
		if v, err := fastjson.ParseBytes(m.Data); err == nil {
			if s, err := v.StringBytes(); err == nil && utf8.Valid(s) {
				return s
			}
		}
	}
	return m.Data
}

// AppendJSONString appends s, which must be UTF-8, as a JSON string. It escapes what
// JSON demands (RFC 8259 section 7) and no more, so that data looks as it was sent.
// It is our own because fastjson (1.6.10) quotes control characters as Go does, which is not
// JSON, and encoding/json allocates and escapes HTML.
func AppendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		ch := s[i]
		if ch >= ' ' && ch != '"' && ch != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch ch {
		case '"', '\\':
			b = append(b, '\\', ch)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}

// A renderer turns frames into the bytes that one client gets, in a buffer of its
// own. From one receiver to the next of the same frame it overwrites the digits
// of the client id and copies nothing else. It belongs to one goroutine.
type renderer struct {
	t      *ws.Template // what buf was made from
	system string
	digits int
	at     int // where the client id stands in buf
	buf    []byte

	touched uint64 // keeps the compiler from leaving out what touch does
}

// render returns f as c gets it, empty if c gets nothing. The bytes are valid
// until the next call and must not be changed.
func (r *renderer) render(f *frame, c *Client) []byte {
	if f.tail == nil || c.raw() {
		return f.verbatimFor(c)
	}
	t := f.envelopeFor(c)
	var scratch [20]byte
	id := strconv.AppendUint(scratch[:0], c.member.ID(), 10)
	if system := c.System(); r.t != t || r.digits != len(id) || r.system != system {
		r.build(t, system, len(id))
	}
	copy(r.buf[r.at:], id)
	return r.buf
}

func (r *renderer) build(t *ws.Template, system string, digits int) {
	var scratch [256]byte
	head := append(scratch[:0], envelopeHead...)
	head = AppendJSONString(head, system)
	head = append(head, envelopeID...)
	head = append(head, "00000000000000000000"[:digits]...)
	b, end := t.Append(r.buf[:0], head)
	*r = renderer{t: t, system: system, digits: digits, at: end - digits, buf: b}
}

// maxPooled bounds the scratch buffers that pools keep.
const maxPooled = 64 << 10

var renderers = sync.Pool{New: func() any { return new(renderer) }}

func (r *renderer) release() {
	if cap(r.buf) > maxPooled {
		r.buf = nil
	}
	*r = renderer{buf: r.buf[:0]} // let go of the frame
	renderers.Put(r)
}
