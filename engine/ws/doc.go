// Package ws is the WebSocket protocol (RFC 6455, with permessage-deflate of
// RFC 7692) as pure functions over byte slices: the request head, the handshake,
// frames, UTF-8 and close codes. It opens no socket, starts no goroutine, reads
// no clock and writes no log.
//
// A server hands what it has read to [ParseRequest], [Request.CheckUpgrade] and
// then, for the life of the connection, to [Decoder.Next]. The Append functions
// encode into a slice of the caller's. The same package is the client's side:
// set Decoder.Client and send with [AppendMaskedFrame].
//
// # Memory
//
// The Decoder delivers a frame that lies wholly in the input without copying it:
// it is unmasked in the caller's buffer. Only what is split over several reads
// or frames is gathered in the Decoder. A connection between two messages needs
// no Decoder at all: see [Decoder.Idle].
//
// # Goroutines
//
// Functions are safe for concurrent use. A Request is not changed once parsed, so
// reading it is too. A Decoder belongs to one goroutine at a time. A Template may
// be shared once it is made.
package ws
