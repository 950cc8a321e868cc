package ws

// MaxTemplateID is the longest id that a Template takes, in bytes.
const MaxTemplateID = 0xFFFF

// A Template is a message for many receivers that differs between them in one
// place: their id. It is encoded, and if need be compressed, once. It does not
// change, and may be used by any number of goroutines.
type Template struct {
	op             Opcode
	deflated       bool
	prefix, suffix []byte // as they stand in the frame
}

// NewTemplate returns a template of the message prefix, id, suffix. It keeps the
// slices.
func NewTemplate(op Opcode, prefix, suffix []byte) *Template {
	return &Template{op: op, prefix: prefix, suffix: suffix}
}

// NewDeflatedTemplate returns a template of the same message for receivers with
// permessage-deflate. windowBits is the smallest that any of them negotiated, as
// in AppendDeflated.
//
// Prefix and suffix are two streams, each flushed to a byte boundary, and the id
// stands between them uncompressed in a stored block (RFC 7692 section 7.2.3 has
// examples of both). For that block the flush of the prefix is turned from an
// empty one into one with a length, which takes no byte more than plain flushing.
func NewDeflatedTemplate(op Opcode, prefix, suffix []byte, windowBits int) *Template {
	head := appendFlushed(nil, prefix, windowBits)
	return &Template{
		op:       op,
		deflated: true,
		prefix:   head[:len(head)-syncTail],
		suffix:   AppendDeflated(nil, suffix, windowBits),
	}
}

// Len returns the length of the frame for an id of n bytes.
func (t *Template) Len(n int) int {
	n = t.payloadLen(n)
	return HeaderLen(n) + n
}

// payloadLen is the length of the payload with an id of n bytes.
func (t *Template) payloadLen(n int) int {
	n += len(t.prefix) + len(t.suffix)
	if t.deflated {
		n += syncTail
	}
	return n
}

// Append appends the unmasked frame for id, which has to be of at most
// MaxTemplateID bytes: it panics on a longer one. It allocates only what dst
// lacks; Len tells how much that is. end is where the id ends: another id of the
// same length may be written over it.
func (t *Template) Append(dst, id []byte) (b []byte, end int) {
	if len(id) > MaxTemplateID {
		panic("ws: template id too long")
	}
	dst = AppendHeader(dst, t.op, true, t.deflated, t.payloadLen(len(id)))
	dst = append(dst, t.prefix...)
	if t.deflated {
		dst = appendStoredLen(dst, len(id))
	}
	dst = append(dst, id...)
	return append(dst, t.suffix...), len(dst)
}
