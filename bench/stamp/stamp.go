// Package stamp marks what the load generator pushes and checks what arrives: a
// stamp says when a message was due, to whom, and which of its stream it is; a
// Track finds what is lost, doubled or out of order.
//
// A stamp is plain ASCII, so that it survives any envelope a server puts around
// it, and is found by searching for its first four bytes.
package stamp

import (
	"bytes"
	"encoding/hex"
)

// A Kind says what a stream is addressed to. A receiver is in one system and one
// group, so that it hears at most one stream of each kind.
type Kind uint8

// The kinds of stream.
const (
	All    Kind = iota // everybody; the target is 0
	System             // the target is the system's index
	Group              // the target is the group's index
	Client             // the target is the receiver's index
	Own                // a client's own messages, that come back to it
	Kinds              // how many there are
)

const letters = "asgco"

// String names the kind as an API would.
func (k Kind) String() string {
	if k < Kinds {
		return [Kinds]string{"all", "system", "group", "client", "own"}[k]
	}
	return "unknown"
}

// A Stamp identifies one message.
type Stamp struct {
	Kind   Kind
	Target uint32
	// Seq counts the messages of the stream of this Kind and Target, from 0.
	Seq uint32
	// At is when the message was due to be sent, in nanoseconds of the monotonic
	// clock, which all processes of the machine share.
	At int64
}

const marker = "cb1."

// Len is the length of a stamp, in bytes: the marker, the kind, the target, the
// sequence number and the time, in hexadecimal digits of fixed number.
const Len = len(marker) + 1 + 8 + 1 + 8 + 1 + 16 + 1

// Append appends a payload of size bytes that begins with s; one of Len if size is
// less.
func (s Stamp) Append(dst []byte, size int) []byte {
	start := len(dst)
	dst = append(dst, marker...)
	dst = append(dst, letters[s.Kind])
	dst = appendHex(dst, uint64(s.Target), 8)
	dst = append(dst, '.')
	dst = appendHex(dst, uint64(s.Seq), 8)
	dst = append(dst, '.')
	dst = appendHex(dst, uint64(s.At), 16)
	dst = append(dst, '.')
	for len(dst)-start < size {
		dst = append(dst, 'x')
	}
	return dst
}

func appendHex(dst []byte, v uint64, digits int) []byte {
	const hexDigits = "0123456789abcdef"
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

// Next finds the first stamp in b and returns what follows it. A message may have
// several: some servers put what waits for a client into one.
func Next(b []byte) (s Stamp, rest []byte, ok bool) {
	for {
		i := bytes.Index(b, []byte(marker))
		if i < 0 || len(b)-i < Len {
			return Stamp{}, nil, false
		}
		if s, ok = parse(b[i : i+Len]); ok {
			return s, b[i+Len:], true
		}
		b = b[i+len(marker):]
	}
}

func parse(b []byte) (s Stamp, ok bool) {
	b = b[len(marker):]
	kind := bytes.IndexByte([]byte(letters), b[0])
	if kind < 0 || b[9] != '.' || b[18] != '.' || b[35] != '.' {
		return s, false
	}
	target, ok1 := parseHex(b[1:9])
	seq, ok2 := parseHex(b[10:18])
	at, ok3 := parseHex(b[19:35])
	return Stamp{Kind(kind), uint32(target), uint32(seq), int64(at)}, ok1 && ok2 && ok3
}

func parseHex(b []byte) (v uint64, ok bool) {
	var raw [8]byte
	n, err := hex.Decode(raw[:], b)
	for _, c := range raw[:n] {
		v = v<<8 | uint64(c)
	}
	return v, err == nil
}
