package ws

import (
	"encoding/binary"
	"math"
)

// DefaultMaxMessage is the limit of a Decoder whose MaxMessage is zero.
const DefaultMaxMessage = 1 << 20

// maxKept bounds the buffers that Decoder.Reset keeps for the next connection:
// one long message must not stay in the pool.
const maxKept = 64 << 10

// minGrow is the first capacity of a buffer for a message that arrives in parts.
const minGrow = 512

// A Kind tells what an Event is.
type Kind uint8

// The kinds of event.
const (
	None    Kind = iota // all input is consumed; the next event needs more
	Message             // a whole text or binary message
	Ping                // to be answered with a pong of the same payload
	Pong                // answers a ping, or nothing
	Close               // the peer closes; the last event
	Paused              // MaxFrames were read, and there is more input
)

// An Event is one message or control frame.
type Event struct {
	Kind Kind
	// Opcode is OpText or OpBinary for a Message.
	Opcode Opcode
	// Payload is what a Message, Ping or Pong carries. It lies in the input given
	// to Next or in the Decoder: it is valid, and the caller's to change, until
	// the input is reused or Next or Reset is called.
	Payload []byte
	// Code is why the peer closes: CloseNoStatus if it did not say. Close only.
	Code CloseCode
	// Reason is valid UTF-8 of at most MaxCloseReason bytes. Close only.
	Reason string
}

// A Decoder turns the bytes of one connection into events, and refuses what
// breaks RFC 6455 as early as the bytes allow. Where the bytes are cut makes no
// difference. The zero Decoder is ready to use, as a server's. It belongs to one
// goroutine at a time.
type Decoder struct {
	// Set before the first call of Next; Reset keeps them.

	// MaxMessage is the largest message accepted, in bytes, all its fragments
	// together and inflated. Zero or less means DefaultMaxMessage.
	MaxMessage int64
	// Client makes it a client's decoder: it expects unmasked frames.
	Client bool
	// Deflate says that permessage-deflate was negotiated, without context
	// takeover by the peer: messages may be compressed (RFC 7692).
	Deflate bool
	// Skim says that nothing counts any more but the peer's close frame: what other
	// frames carry is passed over, and not unmasked, gathered, inflated or checked. It
	// may be set between calls of Next.
	Skim bool

	// MaxFrames is how many frames, counted in Frames, Next reads before it reports
	// Paused, so that a call is soon over whatever its input. Zero means any number.
	MaxFrames int

	// Frames counts the frames whose header was read, and Inflated the bytes that
	// messages were inflated to. The caller may set them to 0.
	Frames   int
	Inflated int64

	// The header of the frame being read.
	head    [maxHeaderLen]byte // what has arrived of it, when not all has
	headLen int

	// The frame being read, once its header is complete.
	inFrame bool
	op      Opcode
	fin     bool
	key     uint32 // for the next byte of payload; 0 if unmasked
	left    int64  // bytes of payload to come

	// The message being read.
	message    Opcode // OpText or OpBinary, OpContinuation between messages
	compressed bool
	declared   int64 // payload of its frames so far, as their headers say
	text       utf8State
	buf        []byte // payload that had to be gathered

	control    [MaxControlPayload]byte
	controlLen int

	inflated []byte // the last compressed message
	closed   bool   // a close frame was delivered
	err      error  // sticky
}

// Reset makes d ready for another connection and keeps its options and, up to
// 64 KiB each, its buffers. It ends the validity of the last event's payload.
func (d *Decoder) Reset() {
	keep := Decoder{MaxMessage: d.MaxMessage, Client: d.Client, Deflate: d.Deflate, MaxFrames: d.MaxFrames}
	if cap(d.buf) <= maxKept {
		keep.buf = d.buf[:0]
	}
	if cap(d.inflated) <= maxKept {
		keep.inflated = d.inflated[:0]
	}
	*d = keep
}

// Idle reports whether d is between messages and holds nothing of the
// connection: a fresh Decoder with the same options would do as well from here
// on, so that d can be Reset and used for another one. It is false after a
// close frame or an error, which the connection must not forget.
func (d *Decoder) Idle() bool {
	return d.message == OpContinuation && !d.inFrame && d.headLen == 0 && !d.closed && d.err == nil
}

// Next consumes input up to the end of the next event and returns what is left of
// it. Call it again with rest until the event's Kind is None: then everything is
// consumed, and the next bytes of the connection continue where these ended.
//
// The input is unmasked in place. A frame that lies wholly in it is delivered
// there, without a copy or an allocation.
//
// After a close frame Next consumes everything and reports nothing. An error is a
// ProtocolError; it ends the connection, and every further call returns it.
func (d *Decoder) Next(in []byte) (ev Event, rest []byte, err error) {
	if d.err != nil {
		return Event{}, nil, d.err
	}
	if d.closed {
		return Event{}, nil, nil
	}
	for {
		if !d.inFrame {
			if in, err = d.readHeader(in); err != nil {
				return d.fail(err)
			}
			if !d.inFrame {
				return Event{}, nil, nil
			}
		}
		part := in[:min(int64(len(in)), d.left)]
		in = in[len(part):]
		d.left -= int64(len(part))
		if d.Skim && d.op != OpClose {
			d.pass()
			if d.inFrame {
				return Event{}, nil, nil
			}
			if d.MaxFrames > 0 && d.Frames >= d.MaxFrames && len(in) > 0 {
				return Event{Kind: Paused}, in, nil
			}
			continue
		}
		if d.key != 0 {
			d.key = mask(part, d.key)
		}
		if d.op.IsControl() {
			ev, err = d.readControl(part)
		} else {
			ev, err = d.readData(part)
		}
		if err != nil {
			return d.fail(err)
		}
		d.inFrame = d.left > 0
		if ev.Kind != None || d.inFrame {
			return ev, in, nil
		}
		if d.MaxFrames > 0 && d.Frames >= d.MaxFrames && len(in) > 0 {
			return Event{Kind: Paused}, in, nil
		}
	}
}

// pass forgets the bytes of a frame that is skimmed over.
func (d *Decoder) pass() {
	d.inFrame = d.left > 0
	d.buf, d.inflated = nil, nil
	if !d.inFrame && d.fin && !d.op.IsControl() {
		d.message = OpContinuation
	}
}

// Trim gives back what an earlier message, of any connection, has left in the buffers
// and an unfinished one does not need. It ends the validity of the last event's payload.
func (d *Decoder) Trim() {
	d.inflated = nil
	if d.message == OpContinuation {
		d.buf = nil
	}
	if cap(d.buf) > max(2*len(d.buf), minGrow) {
		d.buf = append(make([]byte, 0, max(len(d.buf), minGrow)), d.buf...)
	}
}

// Held is how many bytes of memory d keeps for an unfinished message.
func (d *Decoder) Held() int {
	if d.Idle() {
		return 0
	}
	return cap(d.buf) + cap(d.inflated)
}

// fail makes err the answer to this call and all that follow.
func (d *Decoder) fail(err error) (Event, []byte, error) {
	d.err = err
	return Event{}, nil, err
}

// readHeader consumes a frame header, and sets inFrame if it is complete.
func (d *Decoder) readHeader(in []byte) (rest []byte, err error) {
	if d.headLen == 0 {
		n, err := d.parseHeader(in)
		if n == 0 && err == nil {
			d.headLen = copy(d.head[:], in)
			return nil, nil
		}
		return in[n:], err
	}
	held := d.headLen
	d.headLen += copy(d.head[held:], in)
	n, err := d.parseHeader(d.head[:d.headLen])
	if n == 0 {
		return nil, err
	}
	d.headLen = 0
	return in[n-held:], err
}

// parseHeader reads a frame header from the front of b and returns its length,
// or 0 if b ends before it does. What is wrong is told as soon as its bytes are
// there.
func (d *Decoder) parseHeader(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	op, fin := Opcode(b[0]&0x0F), b[0]&finBit != 0
	compressed := b[0]&rsv1Bit != 0
	switch {
	case b[0]&(rsv2Bit|rsv3Bit) != 0:
		return 0, ErrReservedBits
	case compressed && (!d.Deflate || op != OpText && op != OpBinary):
		return 0, ErrReservedBits
	case !op.known():
		return 0, ErrReservedOpcode
	case op.IsControl():
		if !fin {
			return 0, ErrControlFragmented
		}
	case op == OpContinuation:
		if d.message == OpContinuation {
			return 0, ErrContinuation
		}
	case d.message != OpContinuation:
		return 0, ErrInterleaved
	}

	if len(b) < 2 {
		return 0, nil
	}
	masked, length := b[1]&maskBit != 0, uint64(b[1]&^maskBit)
	switch {
	case masked && d.Client:
		return 0, ErrMasked
	case !masked && !d.Client:
		return 0, ErrUnmasked
	case op.IsControl() && length > MaxControlPayload:
		return 0, ErrControlTooLong
	case op == OpClose && length == 1:
		return 0, ErrCloseLength
	}

	n = 2
	switch length {
	case len16:
		if n = 4; len(b) < n {
			return 0, nil
		}
		if length = uint64(binary.BigEndian.Uint16(b[2:])); length < len16 {
			return 0, ErrLength
		}
	case len64:
		if n = 10; len(b) < n {
			return 0, nil
		}
		if length = binary.BigEndian.Uint64(b[2:]); length <= 0xFFFF || length>>63 != 0 {
			return 0, ErrLength
		}
	}
	declared := int64(0)
	if op == OpContinuation {
		declared = d.declared
		compressed = d.compressed
	}
	if !op.IsControl() && length > uint64(d.maxPayload(compressed)-declared) {
		return 0, ErrTooBig
	}

	key := uint32(0)
	if masked {
		if n += 4; len(b) < n {
			return 0, nil
		}
		key = binary.LittleEndian.Uint32(b[n-4:])
	}
	d.Frames++
	d.inFrame, d.op, d.fin, d.key, d.left = true, op, fin, key, int64(length)
	switch op {
	case OpText, OpBinary:
		d.message, d.compressed, d.text = op, compressed, utf8Start
		d.buf = d.buf[:0]
		d.declared = int64(length)
	case OpContinuation:
		d.declared += int64(length)
	default:
		d.controlLen = 0
	}
	return n, nil
}

// limit is MaxMessage with its default, and with room for sums.
func (d *Decoder) limit() int64 {
	if d.MaxMessage <= 0 {
		return DefaultMaxMessage
	}
	return min(d.MaxMessage, math.MaxInt64/2)
}

// readControl takes part, the next bytes of a control frame's payload.
func (d *Decoder) readControl(part []byte) (Event, error) {
	body := part
	if d.left > 0 || d.controlLen > 0 {
		d.controlLen += copy(d.control[d.controlLen:], part)
		body = d.control[:d.controlLen]
	}
	complete := d.left == 0
	if d.op == OpClose {
		if err := checkClose(body, complete); err != nil {
			return Event{}, err
		}
	}
	if !complete {
		return Event{}, nil
	}
	switch d.op {
	case OpPing:
		return Event{Kind: Ping, Payload: body}, nil
	case OpPong:
		return Event{Kind: Pong, Payload: body}, nil
	}
	d.closed = true
	if len(body) == 0 {
		return Event{Kind: Close, Code: CloseNoStatus}, nil
	}
	return Event{Kind: Close, Code: CloseCode(binary.BigEndian.Uint16(body)), Reason: string(body[2:])}, nil
}

// readData takes part, the next bytes of a message's payload.
func (d *Decoder) readData(part []byte) (Event, error) {
	complete := d.fin && d.left == 0
	if d.message == OpText && !d.compressed {
		d.text = d.text.next(part)
		if d.text == utf8Invalid || complete && d.text != utf8Start {
			return Event{}, ErrText
		}
	}
	payload := part
	if !complete || len(d.buf) > 0 {
		d.gather(part)
		payload = d.buf
	}
	if !complete {
		return Event{}, nil
	}
	ev := Event{Kind: Message, Opcode: d.message, Payload: payload}
	d.message = OpContinuation
	if d.compressed {
		return d.inflate(ev)
	}
	return ev, nil
}

// gather appends part to d.buf. The capacity follows what has arrived, at most
// doubling: a header that announces a long payload costs the peer that payload
// before it costs us the memory.
func (d *Decoder) gather(part []byte) {
	need := len(d.buf) + len(part)
	if need > cap(d.buf) {
		room := max(need, 2*cap(d.buf), minGrow)
		if d.fin && int64(room) > int64(need)+d.left {
			room = int(int64(need) + d.left) // the last frame says where it ends
		}
		grown := make([]byte, len(d.buf), room)
		copy(grown, d.buf)
		d.buf = grown
	}
	d.buf = append(d.buf, part...)
}
