package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rs/zerolog"
)

const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

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

var onlyLoopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// What a trusted proxy says is whom the client is from; what anybody else says is
// not.
func TestRemoteAddr(t *testing.T) {
	t.Parallel()
	request := fmt.Sprintf(upgrade, "system_id=1")
	addLines := func(lines ...string) string {
		return strings.Replace(request, "\r\n\r\n", "\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n", 1)
	}
	forwarded := addLines("X-Forwarded-For: 1.1.1.1, 192.0.2.7")
	const line, lineOfProxy = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "PROXY TCP4 127.9.9.9 192.0.2.2 4711 443\r\n"
	tests := []struct {
		name    string
		trusted []netip.Prefix
		sent    string
		want    string // of the client's address, empty for the socket's
		refused string // its label, if it is
	}{
		{"direct", nil, request, "", ""},
		{"not trusted, forwarded", nil, forwarded, "", ""},
		{"not trusted, Forwarded", nil, addLines("Forwarded: for=192.0.2.7"), "", ""},
		{"not trusted, PROXY", nil, proxyHeader("192.0.2.1:4711") + request, "", labelUntrustedProxy},
		{"not trusted, PROXY line", nil, line + request, "", labelUntrustedProxy},
		{"not trusted, malformed PROXY line", nil, "PROXY \r\n" + request, "", labelUntrustedProxy},
		{"not trusted, health check", nil, proxySignature + "\x20\x00\x00\x00" + request, "", labelUntrustedProxy},
		{"trusted, direct", onlyLoopback, request, "", ""},
		{"PROXY", onlyLoopback, proxyHeader("192.0.2.1:4711") + request, "192.0.2.1:4711", ""},
		{"PROXY of a client that forwards", onlyLoopback, proxyHeader("192.0.2.1:4711") + forwarded, "192.0.2.1:4711", ""},
		{"PROXY of a proxy that forwards", onlyLoopback, proxyHeader("127.9.9.9:1") + forwarded, "192.0.2.7:0", ""},
		{"PROXY of a proxy that forwards nothing", onlyLoopback, proxyHeader("127.9.9.9:1") + addLines("X-Forwarded-For: 192.0.2.7, unknown"), "127.9.9.9:1", ""},
		{"PROXY of a health check", onlyLoopback, proxySignature + "\x20\x00\x00\x00" + request, "", ""},
		{"malformed PROXY", onlyLoopback, proxySignature + "\x20\x00\xff\xff" + request, "", "proxy header"},
		{"PROXY line", onlyLoopback, line + request, "192.0.2.1:4711", ""},
		{"PROXY line, IPv6", onlyLoopback, "PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n" + request, "[2001:db8::1]:4711", ""},
		{"PROXY line of a proxy that forwards", onlyLoopback, lineOfProxy + forwarded, "192.0.2.7:0", ""},
		{"PROXY line, unknown", onlyLoopback, "PROXY UNKNOWN\r\n" + request, "", ""},
		{"PROXY line, unknown and more", onlyLoopback, "PROXY UNKNOWN 192.0.2.1 192.0.2.2 4711 443\r\n" + request, "", ""},
		{"malformed PROXY line", onlyLoopback, "PROXY TCP4 192.0.2.1 192.0.2.2 04711 443\r\n" + request, "", "proxy header"},
		{"PROXY line without an end", onlyLoopback, "PROXY UNKNOWN " + strings.Repeat("x", 94) + request, "", "proxy header"},
		{"two PROXY lines", onlyLoopback, line + line + request, "", "target"},

		{"forwarded", onlyLoopback, forwarded, "192.0.2.7:0", ""},
		{"forwarded, empty", onlyLoopback, addLines("X-Forwarded-For:"), "", ""},
		{"forwarded, empty element", onlyLoopback, addLines("X-Forwarded-For: 192.0.2.7, , 127.0.0.9,"), "192.0.2.7:0", ""},
		{"forwarded, unknown", onlyLoopback, addLines("X-Forwarded-For: unknown"), "", ""},
		{"forwarded, unknown behind", onlyLoopback, addLines("X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: unknown"), "", ""},
		{"forwarded, unix", onlyLoopback, addLines("X-Forwarded-For: 192.0.2.7, unix:, 127.0.0.9"), "127.0.0.9:0", ""},
		{"forwarded, undefined", onlyLoopback, addLines("X-Forwarded-For: undefined"), "", ""},
		{"forwarded, hidden", onlyLoopback, addLines("X-Forwarded-For: _hidden"), "", ""},
		{"forwarded, brackets", onlyLoopback, addLines("X-Forwarded-For: [2001:db8::1]"), "[2001:db8::1]:0", ""},
		{"forwarded, brackets and port", onlyLoopback, addLines("X-Forwarded-For: [2001:db8::1]:99"), "[2001:db8::1]:99", ""},
		{"forwarded, proxies alone", onlyLoopback, addLines("X-Forwarded-For: 127.0.0.8, 127.0.0.9"), "127.0.0.8:0", ""},
		{"Forwarded", onlyLoopback, addLines("Forwarded: for=1.1.1.1", `Forwarded: for="[2001:db8::1]:4711";proto=https, for=127.0.0.9`), "[2001:db8::1]:4711", ""},
		{"Forwarded, unknown", onlyLoopback, addLines("Forwarded: for=192.0.2.7, for=unknown"), "", ""},
		{"Forwarded, hidden", onlyLoopback, addLines(`Forwarded: for=192.0.2.7, for="_x", for=127.0.0.9`), "127.0.0.9:0", ""},
		{"Forwarded, malformed", onlyLoopback, addLines(`Forwarded: for="`), "", ""},
		{"both", onlyLoopback, addLines("Forwarded: for=192.0.2.8", "X-Forwarded-For: 192.0.2.7"), "192.0.2.7:0", ""},
		{"IPv4 network in IPv6's form", []netip.Prefix{netip.MustParsePrefix("::ffff:127.0.0.0/104")}, forwarded, "192.0.2.7:0", ""},
	}
	for _, tt := range tests {
		for _, pieces := range []int{1, 2, len(tt.sent)} {
			var seen net.Addr
			opened := make(chan struct{})
			e := newEngine(t, Options{TrustedProxies: tt.trusted, NoWelcome: true, OnOpen: func(c *Client) {
				seen = c.RemoteAddr()
				close(opened)
			}})
			conn := rawConn(t, e, "")
			cut := len(tt.sent) / 9
			switch pieces {
			case 1:
				io.WriteString(conn, tt.sent)
			case 2:
				io.WriteString(conn, tt.sent[:cut])
				time.Sleep(time.Millisecond)
				io.WriteString(conn, tt.sent[cut:])
			default: // TCP may put some together
				for i := range tt.sent {
					io.WriteString(conn, tt.sent[i:i+1])
				}
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if tt.refused != "" {
				if err != nil || resp.StatusCode != 400 {
					t.Errorf("%s: %v, %v, want 400", tt.name, resp, err)
				}
				if got := e.Stats().Refused; len(got) != 1 || got[tt.refused] != 1 {
					t.Errorf("%s: counted %v, want one %q", tt.name, got, tt.refused)
				}
				continue
			}
			if err != nil || resp.StatusCode != 101 {
				t.Errorf("%s in %d pieces: %v, %v, want 101", tt.name, pieces, resp, err)
				continue
			}
			want := tt.want
			if want == "" {
				want = conn.LocalAddr().String()
			}
			if <-opened; seen.String() != want {
				t.Errorf("%s: the client is from %s, want %s", tt.name, seen, want)
			}
		}
	}
}

// The limits are for the address that counts, and for nobody if that is a proxy's.
func TestForwardedLimits(t *testing.T) {
	e := newEngine(t, Options{MaxPerIP: 1, TrustedProxies: onlyLoopback})
	for _, tt := range []struct {
		line   string
		status int
	}{
		{"Forwarded: for=192.0.2.1", 101}, {"X-Forwarded-For: , 192.0.2.1,", 429}, {`Forwarded: for="192.0.2.1:_x"`, 429},
		{"X-Forwarded-For: 192.0.2.1, unknown", 101}, {"X-Forwarded-For: 192.0.2.1, unknown", 101},
		{"X-Forwarded-For: [2001:db8::1]", 101}, {`Forwarded: for="[2001:db8::2]:4711"`, 429},
	} {
		conn := rawConn(t, e, strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "\r\n\r\n", "\r\n"+tt.line+"\r\n\r\n", 1))
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != tt.status {
			t.Errorf("%s: %v, %v, want %d", tt.line, resp, err, tt.status)
		}
	}
}

// A proxy that is not trusted is refused, before TLS and without it, and the operator
// hears of it once.
func TestUntrustedProxy(t *testing.T) {
	server, client := testTLS(t)
	for _, tlsConfig := range []*tls.Config{nil, server} {
		for _, others := range [][]netip.Prefix{nil, {netip.MustParsePrefix("192.0.2.0/24")}} {
			logs := new(logBuffer)
			log := zerolog.New(logs).Level(zerolog.WarnLevel)
			e := newEngine(t, Options{TLS: tlsConfig, TrustedProxies: others, Logger: &log})
			behind := fmt.Sprintf(upgrade, "system_id=1")
			if tlsConfig != nil {
				behind = clientHello(client)
			}
			var first net.Conn
			headers := []string{"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", proxyHeader("192.0.2.1:4711"), "PROXY UNKNOWN\r\n"}
			for _, header := range headers {
				for _, cut := range []int{0, 3, len(header)} {
					conn := rawConn(t, e, header[:cut])
					if first == nil {
						first = conn
					}
					if cut > 0 && cut < len(header) {
						time.Sleep(5 * time.Millisecond)
					}
					io.WriteString(conn, header[cut:]+behind)
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil || resp.StatusCode != 400 {
						t.Errorf("%q: %v, %v, want 400", header, resp, err)
					}
				}
			}
			if got := e.Stats().Refused; len(got) != 1 || got["untrusted proxy"] != uint64(3*len(headers)) {
				t.Errorf("counted %v", got)
			}
			got := logs.String()
			for _, want := range []string{first.LocalAddr().String(), "-trusted-proxies", "Options.TrustedProxies", `"warn"`} {
				if strings.Count(got, want) != 1 || strings.Count(got, "\n") != 1 {
					t.Errorf("logged %s, want one line with %s", got, want)
				}
			}
			// Others come in.
			if tlsConfig == nil {
				dial(t, e, "system_id=1")
			} else {
				conn, err := tls.Dial("tcp", e.Addr().String(), client)
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
		}
	}
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A header of the PROXY protocol comes before TLS.
func TestProxyHeaderBeforeTLS(t *testing.T) {
	for name, header := range map[string]string{"version 1": "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "version 2": proxyHeader("192.0.2.1:4711")} {
		t.Run(name, func(t *testing.T) { testProxyHeaderBeforeTLS(t, header) })
	}
}

func testProxyHeaderBeforeTLS(t *testing.T, header string) {
	server, client := testTLS(t)
	e := newEngine(t, Options{TLS: server, TrustedProxies: onlyLoopback})
	c, _, err := websocket.Dial(testContext(t), "wss://"+e.Addr().String()+"/ws?system_id=1", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: client, DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			conn, err := net.Dial(network, addr)
			if err == nil {
				_, err = io.WriteString(conn, header)
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
	rawConn(t, e, header)
	eventually(t, "it counts", func() bool {
		e.addrs.mu.Lock()
		defer e.addrs.mu.Unlock()
		return len(e.addrs.byIP) == 1
	})
	over := rawConn(t, e, header+clientHello(client))
	if b, _ := io.ReadAll(over); len(b) > 0 {
		t.Errorf("over the limit, TLS answered %q", b)
	}
	if n := e.Stats().Refused[labelPerIP]; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	// And nothing of it is lost when it goes to net/http.
	e2 := newEngine(t, Options{ServeHTTP: true, TrustedProxies: onlyLoopback})
	rawConn(t, e2, header+"GET /x HTTP/1.1\r\n")
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
