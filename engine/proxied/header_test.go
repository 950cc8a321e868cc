package proxied

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

// binaryHeader is version 2's for a connection from a.
func binaryHeader(a string) string {
	from := netip.MustParseAddrPort(a)
	b := []byte(signature2 + "\x21\x21")
	if from.Addr().Is4() {
		b[13] = 0x11
	}
	ip := from.Addr().AsSlice()
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(ip)+4))
	b = append(append(b, ip...), ip...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	return string(append(b, 0x1F, 0x40))
}

func TestParseHeader(t *testing.T) {
	v4, v6 := binaryHeader("192.0.2.1:4711"), binaryHeader("[2001:db8::1]:4711")
	withTLV := []byte(v4)
	withTLV[15] += 5
	withTLV = append(withTLV, "\x03\x00\x02ab"...)
	short := []byte(v4)[:len(v4)-1]
	short[15]--
	const (
		none = "invalid AddrPort"
		tcp4 = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n"
		long = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
	)
	tests := []struct {
		name    string
		in      string
		from    string
		n       int
		version int
		err     error
	}{
		{"IPv4", v4 + "GET", "192.0.2.1:4711", len(v4), 2, nil},
		{"IPv6", v6, "[2001:db8::1]:4711", len(v6), 2, nil},
		{"IPv4 in IPv6", binaryHeader("[::ffff:192.0.2.1]:4711"), "192.0.2.1:4711", len(v6), 2, nil},
		{"extensions", string(withTLV) + "GET", "192.0.2.1:4711", len(withTLV), 2, nil},
		{"health check", signature2 + "\x20\x00\x00\x00", none, 16, 2, nil},
		{"health check with an address", signature2 + "\x20" + v4[13:], none, len(v4), 2, nil},
		{"unspecified", signature2 + "\x21\x00\x00\x03abc", none, 19, 2, nil},
		{"UNIX socket", signature2 + "\x21\x31\x00\xd8" + strings.Repeat("x", 216), none, 232, 2, nil},
		{"a part of the addresses", v4[:20], none, 0, 2, ErrIncomplete},
		{"version 1 in the form of 2", strings.Replace(v4, "\n\x21", "\n\x11", 1), none, 0, 2, ErrMalformed},
		{"unknown command", signature2 + "\x22\x11\x00\x0c", none, 0, 2, ErrMalformed},
		{"too short for its addresses", string(short), none, 0, 2, ErrMalformed},
		{"too long", signature2 + "\x21\x11\xff\xff", none, 0, 2, ErrMalformed},

		{"line", tcp4 + "GET", "192.0.2.1:4711", len(tcp4), 1, nil},
		{"line, IPv6", "PROXY TCP6 2001:db8::1 2001:DB8::2 4711 443\r\n", "[2001:db8::1]:4711", 45, 1, nil},
		{"line, IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::1 4711 443\r\n", "192.0.2.1:4711", 42, 1, nil},
		{"line, ports at their ends", "PROXY TCP4 192.0.2.1 192.0.2.2 0 65535\r\n", "192.0.2.1:0", 40, 1, nil},
		{"line, unknown", "PROXY UNKNOWN\r\nGET", none, 15, 1, nil},
		{"line, unknown and more", "PROXY UNKNOWN a  b\tc\r\n", none, 22, 1, nil},
		{"longest line", long, none, 107, 1, nil},
		{"line of 108", strings.Replace(long, " 65535\r", "  65535\r", 1), none, 0, 1, ErrMalformed},
		{"no end", "PROXY UNKNOWN " + strings.Repeat("x", 200), none, 0, 1, ErrMalformed},
		{"half an end at 107", strings.Replace(long, " 65535\r", "  65535\r", 1)[:107], none, 0, 1, ErrMalformed},
		{"line to come", tcp4[:20], none, 0, 1, ErrIncomplete},
		{"half a line's end", tcp4[:len(tcp4)-1], none, 0, 1, ErrIncomplete},
		{"line ends in LF", "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\nGET / HTTP/1.1\r\n", none, 0, 1, ErrMalformed},
		{"other family", "PROXY UDP4 192.0.2.1 192.0.2.2 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"family in small letters", "PROXY tcp4 192.0.2.1 192.0.2.2 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"UNKNOWN and a letter", "PROXY UNKNOWNS\r\n", none, 0, 1, ErrMalformed},
		{"IPv6 as IPv4", "PROXY TCP4 2001:db8::1 2001:db8::2 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"IPv4 as IPv6", "PROXY TCP6 192.0.2.1 192.0.2.2 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"mixed families", "PROXY TCP6 2001:db8::1 192.0.2.2 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"zone", "PROXY TCP6 fe80::1%eth0 fe80::2 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"brackets", "PROXY TCP6 [2001:db8::1] [2001:db8::2] 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"leading zero in an address", "PROXY TCP4 192.0.02.1 192.0.2.2 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"leading zero in a port", "PROXY TCP4 192.0.2.1 192.0.2.2 04711 443\r\n", none, 0, 1, ErrMalformed},
		{"leading zero in the other port", "PROXY TCP4 192.0.2.1 192.0.2.2 4711 00\r\n", none, 0, 1, ErrMalformed},
		{"sign", "PROXY TCP4 192.0.2.1 192.0.2.2 +4711 443\r\n", none, 0, 1, ErrMalformed},
		{"port out of range", "PROXY TCP4 192.0.2.1 192.0.2.2 4711 65536\r\n", none, 0, 1, ErrMalformed},
		{"no port", "PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n", none, 0, 1, ErrMalformed},
		{"one field more", "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443 x\r\n", none, 0, 1, ErrMalformed},
		{"space at the end", "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443 \r\n", none, 0, 1, ErrMalformed},
		{"two spaces", "PROXY TCP4  192.0.2.1 192.0.2.2 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"tab", "PROXY TCP4\t192.0.2.1 192.0.2.2 4711 443\r\n", none, 0, 1, ErrMalformed},
		{"nothing named", "PROXY \r\n", none, 0, 1, ErrMalformed},

		{"nothing yet", "", none, 0, 0, ErrIncomplete},
		{"a part of the signature", signature2[:5], none, 0, 0, ErrIncomplete},
		{"a part of the other", "PROX", none, 0, 0, ErrIncomplete},
		{"a request", "GET / HTTP/1.1\r\n", none, 0, 0, ErrNone},
		{"another method", "PROPFIND / HTTP/1.1\r\n", none, 0, 0, ErrNone},
		{"without a space", "PROXYTCP4", none, 0, 0, ErrNone},
		{"small letters", "proxy TCP4", none, 0, 0, ErrNone},
		{"TLS", "\x16\x03\x01", none, 0, 0, ErrNone},
		{"blank lines", "\r\n\r\nGET", none, 0, 0, ErrNone},
	}
	for _, tt := range tests {
		h, n, err := ParseHeader([]byte(tt.in))
		if h.From.String() != tt.from || h.Version != tt.version || err != tt.err || err == nil && n != tt.n {
			t.Errorf("%s: %+v, %d, %v; want %s, version %d, %d, %v", tt.name, h, n, err, tt.from, tt.version, tt.n, tt.err)
		}
	}
}

// Whatever comes, no prefix of it is judged otherwise than the whole, but for what
// is still to come.
func FuzzParseHeader(f *testing.F) {
	f.Add([]byte(binaryHeader("192.0.2.1:4711") + "GET / HTTP/1.1"))
	f.Add([]byte(binaryHeader("[2001:db8::1]:4711")))
	f.Add([]byte(signature2 + "\x20\x00\x00\x00"))
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\nGET / HTTP/1.1\r\n"))
	f.Add([]byte("PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 4711 443\r\n"))
	f.Add([]byte("PROXY UNKNOWN \r\r\n"))
	f.Add([]byte("PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := ParseHeader(b)
		if n < 0 || n > len(b) && err != ErrIncomplete && err != ErrMalformed || err != nil && h.From.IsValid() || h.Version == 1 && err == nil && n > maxLine ||
			h.Version == 0 && err != ErrNone && err != ErrIncomplete || h.Version != 0 && err == ErrNone {
			t.Fatalf("%+v, %d, %v", h, n, err)
		}
		for i := range b {
			h2, n2, err2 := ParseHeader(b[:i])
			if err2 == ErrIncomplete {
				continue // undecided
			}
			if h2 != h || n2 != n || err2 != err {
				t.Fatalf("%d of %d bytes: %+v, %d, %v; all: %+v, %d, %v", i, len(b), h2, n2, err2, h, n, err)
			}
		}
	})
}
