package ws

import (
	"crypto/sha1"
	"encoding/base64"
)

// acceptGUID is appended to a key before hashing (RFC 6455 section 1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// keyLen is the length in base64 of a key of 16 bytes.
const keyLen = 24

// CheckUpgrade reports whether the request is a valid opening handshake (RFC 6455
// section 4.2.1): nil, or a *HandshakeError. The path, the origin, who the client
// is and what it offers are left to the caller.
func (r *Request) CheckUpgrade() error {
	switch {
	case r.Method != "GET":
		return errMethod()
	case r.Proto == "HTTP/1.0":
		return errHTTPTooOld()
	}
	if host, n := r.single("Host"); n != 1 || !validAuthority(host) {
		return errHost()
	}
	if _, ok := r.Header("Transfer-Encoding"); ok {
		return errBody()
	}
	for v := range r.Values("Content-Length") {
		if v != "0" {
			return errBody()
		}
	}
	if !r.hasToken("Upgrade", "websocket") {
		return errUpgrade()
	}
	if !r.hasToken("Connection", "upgrade") {
		return errConnection()
	}
	if v, n := r.single("Sec-WebSocket-Version"); n != 1 || v != "13" {
		return errVersion()
	}
	if key, n := r.single("Sec-WebSocket-Key"); n != 1 || !validKey(key) {
		return errKey()
	}
	if _, n := r.single("Origin"); n > 1 {
		return errOrigin()
	}
	return nil
}

// Key returns the Sec-WebSocket-Key, for the answer.
func (r *Request) Key() string {
	v, _ := r.Header("Sec-WebSocket-Key")
	return v
}

// Subprotocols returns the subprotocols offered, the preferred first (RFC 6455
// section 4.2.1). What is not a token is left out.
func (r *Request) Subprotocols() []string {
	var offered []string
	for v := range r.Values("Sec-WebSocket-Protocol") {
		for e := range elements(v, ',') {
			if validToken(e) {
				offered = append(offered, e)
			}
		}
	}
	return offered
}

// single returns the value of the first line with this name, and how many lines
// there are.
func (r *Request) single(name string) (value string, n int) {
	for v := range r.Values(name) {
		if n++; n == 1 {
			value = v
		}
	}
	return value, n
}

// validKey reports whether key is 16 bytes in base64. The four bits of the last
// character that carry nothing may be set, as most decoders allow.
func validKey(key string) bool {
	if len(key) != keyLen || key[keyLen-2:] != "==" {
		return false
	}
	for i := range keyLen - 2 {
		if c := key[i]; !isBase64[c] {
			return false
		}
	}
	return true
}

// isBase64 holds the alphabet of RFC 4648 section 4.
var isBase64 = charset("+/", true)

// AcceptKey returns the Sec-WebSocket-Accept that answers key (RFC 6455
// section 4.2.2).
func AcceptKey(key string) string {
	return string(appendAccept(nil, key))
}

// appendAccept appends AcceptKey(key) without allocating.
func appendAccept(dst []byte, key string) []byte {
	var buf [keyLen + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(buf[:0], key...), acceptGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}
