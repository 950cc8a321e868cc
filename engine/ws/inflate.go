package ws

import (
	"compress/flate"
	"io"
	"sync"
)

// deflateTail ends every compressed message for the reader. The first four bytes
// are those that the sender has left out (RFC 7692 section 7.2.2); an empty final
// block follows, since compress/flate reports io.EOF only after one.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// maxPayload is the most that the frames of a message may carry together. Data
// that does not compress is longer than what it inflates to, by less than an
// eighth in every compressor's own bound.
func (d *Decoder) maxPayload(compressed bool) int64 {
	limit := d.limit()
	if !compressed {
		return limit
	}
	return limit + limit/8 + 64
}

// inflate replaces the payload of a compressed message (RFC 7692 section 7.2.2).
// It stops at the byte that is over the limit or that no text can have: what a
// message may inflate to does not matter, what it is allowed to does.
func (d *Decoder) inflate(ev Event) (Event, error) {
	out := d.inflated[:0]
	limit := d.limit()
	text := utf8Start

	f := inflaters.Get().(*inflater)
	defer f.release()
	f.src = deflateSource{ev.Payload, deflateTail}
	// A sender may have nothing to say and say it with no byte at all, instead of
	// the one of RFC 7692 section 7.2.3.6.
	done := len(ev.Payload) == 0
	for !done {
		f.reset()
		for {
			if len(out) == cap(out) {
				out = growInflated(out, len(ev.Payload), limit)
			}
			// One byte over the limit is enough to know, and the most: what is wrong
			// must not depend on the size of a buffer that was kept.
			room := out[len(out):cap(out)]
			if over := limit + 1 - int64(len(out)); over < int64(len(room)) {
				room = room[:over]
			}
			n, err := f.reader.Read(room)
			if ev.Opcode == OpText {
				if text = text.next(room[:n]); text == utf8Invalid {
					return Event{}, ErrText
				}
			}
			if out = out[:len(out)+n]; int64(len(out)) > limit {
				d.inflated = out
				return Event{}, ErrTooBig
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return Event{}, ErrDeflate
			}
		}
		// A sender may end each flush with a final block (RFC 7692 section 7.2.3.4):
		// what it wrote after that is another stream.
		done = len(f.src.message) == 0
	}
	if text != utf8Start {
		return Event{}, ErrText
	}
	d.inflated, ev.Payload = out, out
	d.Inflated += int64(len(out))
	return ev, nil
}

// growInflated returns out with room for more. It starts from the compressed
// length and doubles, up to one byte over limit.
func growInflated(out []byte, compressed int, limit int64) []byte {
	room := max(minGrow, 2*compressed, 2*cap(out))
	if int64(room) > limit {
		room = int(limit) + 1
	}
	grown := make([]byte, len(out), room)
	copy(grown, out)
	return grown
}

// inflaters are shared by all connections: one is in use only while a message is
// being inflated, and holds 44 KB.
var inflaters = sync.Pool{New: func() any {
	f := new(inflater)
	f.reader = flate.NewReader(&f.src)
	return f
}}

// An inflater is a reusable reader of compressed messages.
type inflater struct {
	src    deflateSource
	reader io.ReadCloser
}

// reset begins a stream where src is.
func (f *inflater) reset() {
	// Of what NewReader returns, and without an error for a nil dictionary.
	_ = f.reader.(flate.Resetter).Reset(&f.src, nil)
}

// release forgets the message and puts f back.
func (f *inflater) release() {
	f.src = deflateSource{}
	inflaters.Put(f)
}

// A deflateSource reads a message and then its tail, one byte at a time when
// asked to, so that compress/flate takes none that it does not need.
type deflateSource struct {
	message []byte
	tail    string
}

func (s *deflateSource) Read(p []byte) (n int, err error) {
	n = copy(p, s.message)
	s.message = s.message[n:]
	m := copy(p[n:], s.tail)
	s.tail = s.tail[m:]
	if n+m == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n + m, nil
}

func (s *deflateSource) ReadByte() (c byte, err error) {
	if len(s.message) > 0 {
		c, s.message = s.message[0], s.message[1:]
		return c, nil
	}
	if len(s.tail) > 0 {
		c, s.tail = s.tail[0], s.tail[1:]
		return c, nil
	}
	return 0, io.EOF
}
