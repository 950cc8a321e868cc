package ws

// A ProtocolError is what Decoder.Next returns for input that ends a connection.
// Its values are the Err variables below: compare with errors.Is, or take the
// fields with errors.As.
type ProtocolError struct {
	Code   CloseCode // the code to close the connection with
	Reason string    // short and stable: the close frame's reason, a metric's label
}

// Error returns the reason with the package's prefix.
func (e ProtocolError) Error() string { return "ws: " + e.Reason }

// What a peer can do wrong. The sections are those of RFC 6455 unless another is
// named.
var (
	// ErrReservedBits: a reserved bit without the extension that uses it (5.2).
	ErrReservedBits = ProtocolError{CloseProtocolError, "reserved bits set"}
	// ErrReservedOpcode: an opcode that is not defined (5.2).
	ErrReservedOpcode = ProtocolError{CloseProtocolError, "reserved opcode"}
	// ErrUnmasked: a client's frame without a mask (5.1).
	ErrUnmasked = ProtocolError{CloseProtocolError, "frame not masked"}
	// ErrMasked: a server's frame with a mask (5.1).
	ErrMasked = ProtocolError{CloseProtocolError, "frame masked"}
	// ErrControlFragmented: a control frame without FIN (5.5).
	ErrControlFragmented = ProtocolError{CloseProtocolError, "control frame fragmented"}
	// ErrControlTooLong: a control frame over MaxControlPayload (5.5).
	ErrControlTooLong = ProtocolError{CloseProtocolError, "control frame too long"}
	// ErrContinuation: a continuation frame outside of a message (5.4).
	ErrContinuation = ProtocolError{CloseProtocolError, "continuation without a message"}
	// ErrInterleaved: a new message inside a fragmented one (5.4).
	ErrInterleaved = ProtocolError{CloseProtocolError, "message inside a message"}
	// ErrLength: a length not in its shortest form, or with the top bit set (5.2).
	ErrLength = ProtocolError{CloseProtocolError, "bad length encoding"}
	// ErrCloseLength: a close frame with half a code (5.5.1).
	ErrCloseLength = ProtocolError{CloseProtocolError, "bad close frame"}
	// ErrCloseCode: a close code that may not be sent (7.4).
	ErrCloseCode = ProtocolError{CloseProtocolError, "bad close code"}
	// ErrCloseReason: a close reason that is not UTF-8 (5.5.1).
	ErrCloseReason = ProtocolError{CloseInvalidPayload, "close reason is not UTF-8"}
	// ErrText: a text message that is not UTF-8 (8.1).
	ErrText = ProtocolError{CloseInvalidPayload, "text is not UTF-8"}
	// ErrTooBig: a message over Decoder.MaxMessage, all its fragments counted.
	ErrTooBig = ProtocolError{CloseMessageTooBig, "message too big"}
	// ErrDeflate: a compressed message that cannot be inflated (RFC 7692
	// section 7.2.2).
	ErrDeflate = ProtocolError{CloseInvalidPayload, "bad compressed data"}
)
