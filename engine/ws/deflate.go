package ws

import (
	"compress/flate"
	"encoding/binary"
	"slices"
	"sync"
)

// MaxWindowBits is the base-two logarithm of DEFLATE's largest window, 32 KiB
// (RFC 7692 section 7.1.2).
const MaxWindowBits = 15

// minWindowBits is the smallest window that can be negotiated, 256 bytes.
const minWindowBits = 8

// syncTail is what a flush ends with: the lengths of an empty stored block. A
// compressed message is sent without it (RFC 7692 section 7.2.1).
const syncTail = 4

// AppendDeflated appends the payload of a compressed message (RFC 7692 section
// 7.2.1), without context takeover. windowBits is what
// NegotiateDeflate returned for the receiver; anything outside of 8-15 means
// MaxWindowBits. The first frame that carries it has RSV1 set.
func AppendDeflated(dst, payload []byte, windowBits int) []byte {
	dst = appendFlushed(dst, payload, windowBits)
	return dst[:len(dst)-syncTail]
}

// AppendDeflatedFrame appends an unmasked frame that is a whole message, its
// payload compressed by AppendDeflated.
func AppendDeflatedFrame(dst []byte, op Opcode, payload []byte, windowBits int) []byte {
	// The header's length depends on that of what follows: it is made last, and
	// moved to the front of it.
	start := len(dst)
	dst = AppendDeflated(dst, payload, windowBits)
	n := len(dst) - start
	dst = slices.Grow(dst, HeaderLen(n))[:len(dst)+HeaderLen(n)]
	copy(dst[start+HeaderLen(n):], dst[start:start+n])
	AppendHeader(dst[:start], op, true, true, n)
	return dst
}

// appendFlushed appends payload compressed and flushed to a byte boundary, the
// tail of the flush included.
func appendFlushed(dst, payload []byte, windowBits int) []byte {
	d := deflaters.Get().(*deflater)
	d.dst = dst
	// compress/flate has one size of window. For a smaller one the payload is cut
	// into streams of that length, of which none looks back into another.
	window := len(payload)
	if windowBits >= minWindowBits && windowBits < MaxWindowBits {
		window = min(window, 1<<windowBits)
	}
	for {
		d.writer.Reset(d)
		// Writing to a deflater cannot fail.
		_, _ = d.writer.Write(payload[:window])
		_ = d.writer.Flush()
		if payload = payload[window:]; len(payload) == 0 {
			break
		}
		window = min(window, len(payload))
	}
	dst, d.dst = d.dst, nil
	deflaters.Put(d)
	return dst
}

// deflaters are shared by all connections: one is in use only while a message is
// being compressed, and holds 0.6 MB.
//
// They compress with flate.BestSpeed. On messages of this size it comes within a
// few bytes of the slower levels, whose tables take longer to clear than the
// message takes to compress.
var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.writer, _ = flate.NewWriter(d, flate.BestSpeed) // the level is valid
	return d
}}

// A deflater is a reusable compressor and what it writes to.
type deflater struct {
	dst    []byte
	writer *flate.Writer
}

func (d *deflater) Write(p []byte) (int, error) {
	d.dst = append(d.dst, p...)
	return len(p), nil
}

// appendStoredLen appends the lengths of a stored block of n bytes (RFC 1951
// section 3.2.4).
func appendStoredLen(dst []byte, n int) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(n))
	return binary.LittleEndian.AppendUint16(dst, ^uint16(n))
}
