// Package proxied reads what a proxy says about whom a connection is from: the header
// of the PROXY protocol in front of everything, or the lines X-Forwarded-For and
// Forwarded of a request. It is pure functions. Anybody could write either: whom to
// believe is the caller's to say.
package proxied

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
	// maxLine bounds version 1, with its line's end.
	maxLine = 107
	fixed2  = len(signature2) + 4
)

// MaxHeader bounds a header. Version 2 could be longer, for the sake of extensions,
// of which none is read here.
const MaxHeader = 4 << 10

// What ParseHeader may find instead of a header.
var (
	ErrNone       = errors.New("proxied: no header of the PROXY protocol")
	ErrIncomplete = errors.New("proxied: the header of the PROXY protocol is incomplete")
	ErrMalformed  = errors.New("proxied: malformed header of the PROXY protocol")
)

// A Header is that of the PROXY protocol
// (haproxy.org/download/3.0/doc/proxy-protocol.txt).
type Header struct {
	// Version is 1 or 2 as soon as the signature is there, also with an error.
	Version int
	// From is invalid if the header names no TCP address, as those of a proxy's own
	// health checks do: then the connection is the proxy's.
	From netip.AddrPort
}

// ParseHeader parses a header from the front of b and returns its length n. It
// returns ErrNone if b begins with something else, ErrIncomplete while it may be the
// beginning of a header, and ErrMalformed once it cannot become one.
func ParseHeader(b []byte) (h Header, n int, err error) {
	switch {
	case bytes.HasPrefix(b, []byte(signature1)):
		h.Version = 1
		h.From, n, err = parseLine(b)
	case bytes.HasPrefix(b, []byte(signature2)):
		h.Version = 2
		h.From, n, err = parseBinary(b)
	case len(b) < len(signature2) && (strings.HasPrefix(signature1, string(b)) || strings.HasPrefix(signature2, string(b))):
		err = ErrIncomplete
	default:
		err = ErrNone
	}
	return h, n, err
}

// parseLine parses version 1, a line of text.
func parseLine(b []byte) (from netip.AddrPort, n int, err error) {
	b = b[:min(len(b), maxLine)]
	end := bytes.Index(b, []byte("\r\n"))
	switch {
	case end < 0 && len(b) < maxLine:
		return from, 0, ErrIncomplete
	case end < 0:
		return from, 0, ErrMalformed
	}
	n = end + len("\r\n")
	fields := strings.Split(string(b[len(signature1):end]), " ")
	if fields[0] == "UNKNOWN" { // whatever follows
		return from, n, nil
	}
	if len(fields) != 5 { // the family, two addresses, two ports
		return from, 0, ErrMalformed
	}
	from, known := parseEnd(fields[0], fields[1], fields[3])
	if _, to := parseEnd(fields[0], fields[2], fields[4]); !known || !to {
		return netip.AddrPort{}, 0, ErrMalformed
	}
	return from, n, nil
}

// parseEnd parses one end of a connection, as version 1 has it.
func parseEnd(family, addr, port string) (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Zone() != "" || !(family == "TCP4" && ip.Is4() || family == "TCP6" && ip.Is6()) {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), true
}

// parseBinary parses version 2.
func parseBinary(b []byte) (from netip.AddrPort, n int, err error) {
	if len(b) < fixed2 {
		return from, 0, ErrIncomplete
	}
	version, command, family := b[12]>>4, b[12]&0x0f, b[13]
	n = fixed2 + int(binary.BigEndian.Uint16(b[14:]))
	if version != 2 || command > 1 || n > MaxHeader {
		return from, 0, ErrMalformed
	}
	if len(b) < n {
		return from, 0, ErrIncomplete
	}
	if command == 0 { // LOCAL
		return from, n, nil
	}
	body := b[fixed2:n]
	size := map[byte]int{0x11: 4, 0x21: 16}[family] // TCP over IPv4, IPv6
	if size == 0 {
		return from, n, nil
	}
	if len(body) < 2*size+4 { // two addresses and two ports
		return from, 0, ErrMalformed
	}
	ip, _ := netip.AddrFromSlice(body[:size])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(body[2*size:])), n, nil
}
