package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// proxyHeader is what a proxy sends in front of a connection from a.
func proxyHeader(a string) string {
	from := netip.MustParseAddrPort(a)
	b := []byte(proxySignature + "\x21\x21")
	if from.Addr().Is4() {
		b[13] = 0x11
	}
	ip := from.Addr().AsSlice()
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(ip)+4))
	b = append(append(b, ip...), ip...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	return string(append(b, 0x1F, 0x40))
}

func TestParseProxyHeader(t *testing.T) {
	v4, v6 := proxyHeader("192.0.2.1:4711"), proxyHeader("[2001:db8::1]:4711")
	withTLV := []byte(v4)
	withTLV[15] += 5
	withTLV = append(withTLV, "\x03\x00\x02ab"...)
	short := []byte(v4)[:len(v4)-1]
	short[15]--
	version1 := strings.Replace(v4, "\n\x21", "\n\x11", 1)
	tests := []struct {
		name string
		in   string
		addr string
		n    int
		ok   bool
		err  error
	}{
		{"IPv4", v4 + "GET", "192.0.2.1:4711", len(v4), true, nil},
		{"IPv6", v6, "[2001:db8::1]:4711", len(v6), true, nil},
		{"IPv4 in IPv6", proxyHeader("[::ffff:192.0.2.1]:4711"), "192.0.2.1:4711", len(v6), true, nil},
		{"extensions", string(withTLV) + "GET", "192.0.2.1:4711", len(withTLV), true, nil},
		{"health check", proxySignature + "\x20\x00\x00\x00", "invalid AddrPort", 16, true, nil},
		{"health check with an address", proxySignature + "\x20" + v4[13:], "invalid AddrPort", len(v4), true, nil},
		{"unspecified", proxySignature + "\x21\x00\x00\x03abc", "invalid AddrPort", 19, true, nil},
		{"UNIX socket", proxySignature + "\x21\x31\x00\xd8" + strings.Repeat("x", 216), "invalid AddrPort", 232, true, nil},
		{"nothing yet", "", "invalid AddrPort", 0, true, nil},
		{"a part of the signature", proxySignature[:5], "invalid AddrPort", 0, true, nil},
		{"a part of the addresses", v4[:20], "invalid AddrPort", 0, true, nil},
		{"a request", "GET / HTTP/1.1\r\n", "invalid AddrPort", 0, false, nil},
		{"TLS", "\x16\x03\x01", "invalid AddrPort", 0, false, nil},
		{"blank lines", "\r\n\r\nGET", "invalid AddrPort", 0, false, nil},
		{"version 1 in the form of 2", version1, "invalid AddrPort", 0, true, errProxyHeader},
		{"unknown command", proxySignature + "\x22\x11\x00\x0c", "invalid AddrPort", 0, true, errProxyHeader},
		{"too short for its addresses", string(short), "invalid AddrPort", 0, true, errProxyHeader},
		{"too long", proxySignature + "\x21\x11\xff\xff", "invalid AddrPort", 0, true, errProxyHeader},
	}
	for _, tt := range tests {
		addr, n, ok, err := parseProxyHeader([]byte(tt.in))
		if err != nil {
			n = 0
		}
		if addr.String() != tt.addr || n != tt.n || ok != tt.ok || err != tt.err {
			t.Errorf("%s: %v, %d, %v, %v; want %s, %d, %v, %v", tt.name, addr, n, ok, err, tt.addr, tt.n, tt.ok, tt.err)
		}
	}
}

// Whatever comes, no prefix of it is judged otherwise than the whole, but for what
// is still to come.
func FuzzParseProxyHeader(f *testing.F) {
	f.Add([]byte(proxyHeader("192.0.2.1:4711") + "GET / HTTP/1.1"))
	f.Add([]byte(proxyHeader("[2001:db8::1]:4711")))
	f.Add([]byte(proxySignature + "\x20\x00\x00\x00"))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, n, ok, err := parseProxyHeader(b)
		if n > len(b) && err == nil || n > 0 && !ok || err != nil && addr.IsValid() {
			t.Fatalf("%v, %d, %v, %v", addr, n, ok, err)
		}
		for i := range b {
			addr2, n2, ok2, err2 := parseProxyHeader(b[:i])
			if ok2 && n2 == 0 && err2 == nil {
				continue // undecided
			}
			if addr2 != addr || n2 != n || ok2 != ok || err2 != err {
				t.Fatalf("%d of %d bytes: %v, %d, %v, %v; all: %v, %d, %v, %v", i, len(b), addr2, n2, ok2, err2, addr, n, ok, err)
			}
		}
	})
}

func TestForwardedFor(t *testing.T) {
	e, err := New(Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		lines []string
		want  string
		ok    bool
	}{
		{nil, "invalid AddrPort", true},
		{[]string{"192.0.2.1"}, "192.0.2.1:0", true},
		{[]string{"192.0.2.1:99"}, "192.0.2.1:99", true},
		{[]string{"2001:db8::1"}, "[2001:db8::1]:0", true},
		{[]string{"[2001:db8::1]:99"}, "[2001:db8::1]:99", true},
		{[]string{"::ffff:192.0.2.1"}, "192.0.2.1:0", true},
		{[]string{"1.1.1.1, 192.0.2.1"}, "192.0.2.1:0", true},
		{[]string{"1.1.1.1,192.0.2.1, 10.1.2.3 , fd00::1"}, "192.0.2.1:0", true},
		{[]string{"1.1.1.1", "192.0.2.1", "10.1.2.3"}, "192.0.2.1:0", true},
		{[]string{"nonsense, 192.0.2.1"}, "192.0.2.1:0", true}, // who wrote that does not matter
		{[]string{"10.1.2.3, 10.1.2.4"}, "invalid AddrPort", true},
		{[]string{"192.0.2.1, unknown"}, "invalid AddrPort", false},
		{[]string{""}, "invalid AddrPort", false},
		{[]string{"192.0.2.1,"}, "invalid AddrPort", false},
	}
	for _, tt := range tests {
		if got, ok := e.forwardedFor(slices.Values(tt.lines)); got.String() != tt.want || ok != tt.ok {
			t.Errorf("%q: %v, %v; want %s, %v", tt.lines, got, ok, tt.want, tt.ok)
		}
	}
}

var onlyLoopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// What a trusted proxy says is whom the client is from; what anybody else says is
// not.
func TestRemoteAddr(t *testing.T) {
	request := fmt.Sprintf(upgrade, "system_id=1")
	forwarded := strings.Replace(request, "\r\n\r\n", "\r\nX-Forwarded-For: 1.1.1.1, 192.0.2.7\r\n\r\n", 1)
	tests := []struct {
		name    string
		trusted []netip.Prefix
		sent    string
		want    string // of the client's address, empty for the socket's
		status  int
	}{
		{"direct", nil, request, "", 101},
		{"not trusted, forwarded", nil, forwarded, "", 101},
		{"not trusted, PROXY", nil, proxyHeader("192.0.2.1:4711") + request, "", 400},
		{"trusted, direct", onlyLoopback, request, "", 101},
		{"forwarded", onlyLoopback, forwarded, "192.0.2.7:0", 101},
		{"PROXY", onlyLoopback, proxyHeader("192.0.2.1:4711") + request, "192.0.2.1:4711", 101},
		{"PROXY of a client that forwards", onlyLoopback, proxyHeader("192.0.2.1:4711") + forwarded, "192.0.2.1:4711", 101},
		{"PROXY of a proxy that forwards", onlyLoopback, proxyHeader("127.9.9.9:1") + forwarded, "192.0.2.7:0", 101},
		{"PROXY of a health check", onlyLoopback, proxySignature + "\x20\x00\x00\x00" + request, "", 101},
		{"malformed PROXY", onlyLoopback, proxySignature + "\x20\x00\xff\xff" + request, "", 400},
		{"malformed X-Forwarded-For", onlyLoopback, strings.Replace(forwarded, "192.0.2.7", "unknown", 1), "", 400},
	}
	for _, tt := range tests {
		seen := make(chan net.Addr, 1)
		e := newEngine(t, Options{TrustedProxies: tt.trusted, NoWelcome: true, OnOpen: func(c *Client) { seen <- c.RemoteAddr() }})
		conn := rawConn(t, e, "")
		cut := len(tt.sent) / 9
		io.WriteString(conn, tt.sent[:cut])
		time.Sleep(time.Millisecond)
		io.WriteString(conn, tt.sent[cut:])
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != tt.status {
			t.Errorf("%s: %v, %v, want %d", tt.name, resp, err, tt.status)
			continue
		}
		if tt.status != 101 {
			continue
		}
		want := tt.want
		if want == "" {
			want = conn.LocalAddr().String()
		}
		if got := (<-seen).String(); got != want {
			t.Errorf("%s: the client is from %s, want %s", tt.name, got, want)
		}
	}
}

// A header of the PROXY protocol comes before TLS.
func TestProxyHeaderBeforeTLS(t *testing.T) {
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server, TrustedProxies: onlyLoopback})
	c, _, err := websocket.Dial(testContext(t), "wss://"+e.Addr().String()+"/ws?system_id=1", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: client, DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			conn, err := net.Dial(network, addr)
			if err == nil {
				_, err = io.WriteString(conn, proxyHeader("192.0.2.1:4711"))
			}
			return conn, err
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	for c := range e.Clients(Query{}) {
		if got := c.RemoteAddr().String(); got != "192.0.2.1:4711" {
			t.Errorf("the client is from %s", got)
		}
	}
	// Over a limit, TLS does not begin.
	e = newEngine(t, Options{TLS: server, TrustedProxies: onlyLoopback, MaxPerIP: 1})
	rawConn(t, e, proxyHeader("192.0.2.1:1"))
	eventually(t, "it counts", func() bool {
		e.addrs.mu.Lock()
		defer e.addrs.mu.Unlock()
		return len(e.addrs.byIP) == 1
	})
	over := rawConn(t, e, proxyHeader("192.0.2.1:2")+clientHello(client))
	if b, _ := io.ReadAll(over); len(b) > 0 {
		t.Errorf("over the limit, TLS answered %q", b)
	}
	if n := e.Stats().Refused[labelPerIP]; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	// And nothing of it is lost when it goes to net/http.
	e2 := newEngine(t, Options{ServeHTTP: true, TrustedProxies: onlyLoopback})
	rawConn(t, e2, proxyHeader("192.0.2.1:4711")+"GET /x HTTP/1.1\r\n")
	conn, err := e2.HTTP().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 100)
	if n, _ := conn.Read(b); !bytes.Equal(b[:n], []byte("GET /x HTTP/1.1\r\n")) {
		t.Errorf("net/http got %q", b[:n])
	}
}
