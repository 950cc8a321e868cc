package ws

import (
	"encoding/binary"
	"unicode/utf8"
)

// A CloseCode says why a connection was closed (RFC 6455 section 7.4).
type CloseCode uint16

// Close codes of RFC 6455 section 7.4.1 and of the registry it opens.
const (
	CloseNormal           CloseCode = 1000
	CloseGoingAway        CloseCode = 1001
	CloseProtocolError    CloseCode = 1002
	CloseUnsupportedData  CloseCode = 1003
	CloseNoStatus         CloseCode = 1005 // never sent: the close frame had no code
	CloseAbnormal         CloseCode = 1006 // never sent: there was no close frame
	CloseInvalidPayload   CloseCode = 1007
	ClosePolicyViolation  CloseCode = 1008
	CloseMessageTooBig    CloseCode = 1009
	CloseMissingExtension CloseCode = 1010
	CloseInternalError    CloseCode = 1011
	CloseServiceRestart   CloseCode = 1012
	CloseTryAgainLater    CloseCode = 1013
	CloseBadGateway       CloseCode = 1014
	CloseTLSHandshake     CloseCode = 1015 // never sent: TLS failed
)

// MaxCloseReason is the longest reason of a close frame in bytes: a control
// payload without the code.
const MaxCloseReason = MaxControlPayload - 2

// ValidOnWire reports whether a close frame may carry the code: 1000-1003,
// 1007-1014 and 3000-4999 (RFC 6455 section 7.4).
func (c CloseCode) ValidOnWire() bool {
	switch {
	case c >= 1000 && c <= 1003, c >= 1007 && c <= 1014, c >= 3000 && c <= 4999:
		return true
	}
	return false
}

// AppendClose appends an unmasked close frame (RFC 6455 section 5.5.1). A reason
// over MaxCloseReason is cut between two characters; bytes of it that are not
// UTF-8 become U+FFFD. A code that may not be sent, CloseNoStatus among them,
// gives a frame without a body: so the code of a received close event is also
// the one to answer it with.
func AppendClose(dst []byte, code CloseCode, reason string) []byte {
	start := len(dst)
	dst = append(dst, finBit|byte(OpClose), 0)
	dst = AppendCloseBody(dst, code, reason)
	dst[start+1] = byte(len(dst) - start - 2)
	return dst
}

// AppendCloseBody appends the payload of the frame that AppendClose makes, for
// AppendMaskedFrame.
func AppendCloseBody(dst []byte, code CloseCode, reason string) []byte {
	if !code.ValidOnWire() {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	room := MaxCloseReason
	for _, r := range reason { // an invalid byte is utf8.RuneError here
		if room -= utf8.RuneLen(r); room < 0 {
			break
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// checkClose reports what is wrong with the part of a close frame's payload that
// has arrived; complete says that it is all of it. A one-byte payload is refused
// with the header.
func checkClose(body []byte, complete bool) error {
	if len(body) < 2 {
		return nil
	}
	if !CloseCode(binary.BigEndian.Uint16(body)).ValidOnWire() {
		return ErrCloseCode
	}
	s := utf8Start.next(body[2:])
	if s == utf8Invalid || complete && s != utf8Start {
		return ErrCloseReason
	}
	return nil
}
