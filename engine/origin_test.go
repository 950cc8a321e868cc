package engine

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// connectFrom does the handshake of a page, and returns the status of the answer and
// the field that it blames.
func connectFrom(t *testing.T, e *Engine, client *tls.Config, origin, host string, header ...string) (status int, field string) {
	t.Helper()
	conn, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if client != nil {
		conn = tls.Client(conn, client)
	}
	req := strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "Host: localhost\r\n", "Host: "+host+"\r\n", 1)
	if origin != "" {
		header = append(header, "Origin: "+origin)
	}
	for _, h := range header {
		req = strings.Replace(req, "\r\n\r\n", "\r\n"+h+"\r\n\r\n", 1)
	}
	if _, err := conn.Write([]byte(req)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("origin %q, host %q, %q: %v", origin, host, header, err)
	}
	var body struct{ Field string }
	if resp.StatusCode != 101 {
		_ = json.NewDecoder(resp.Body).Decode(&body)
	}
	return resp.StatusCode, body.Field
}

type originCase struct {
	origin, host string
	field        string // that is blamed; empty if the page may connect
	header       []string
}

func checkOrigins(t *testing.T, e *Engine, client *tls.Config, tests []originCase) {
	t.Helper()
	for _, tt := range tests {
		want := 101
		if tt.field != "" {
			want = 403
		}
		if got, field := connectFrom(t, e, client, tt.origin, tt.host, tt.header...); got != want || field != tt.field {
			t.Errorf("origin %q, host %q, %q: %d about %q, want %d about %q", tt.origin, tt.host, tt.header, got, field, want, tt.field)
		}
	}
}

// What the default lets in and keeps out, on a loopback address, plain and with TLS.
func TestOriginsByDefault(t *testing.T) {
	tests := []originCase{
		// No browser.
		{"", "localhost", "", nil},
		{"", "shop.example", "", nil},
		{"", "shop.example", "", []string{"X-Forwarded-For: 192.0.2.1"}},
		// The page at /, under each name.
		{"http://127.0.0.1:9991", "127.0.0.1:9991", "", nil},
		{"http://localhost:9991", "localhost:9991", "", nil},
		{"http://LOCALHOST:9991", "localhost:9991", "", nil},
		{"http://[::1]:9991", "[::1]:9991", "", nil},
		{"http://10.1.2.3", "10.1.2.3", "", nil},
		{"https://a.localhost", "a.localhost", "", nil},
		{"http://10.1.2.3", "10.1.2.3", "", []string{"X-Forwarded-For: 192.0.2.1"}},
		// A developer's page.
		{"http://localhost:3000", "127.0.0.1:9991", "", nil},
		{"http://127.0.0.1:3000", "localhost:9991", "", nil},
		{"http://app.localhost:3000", "[::1]:9991", "", nil},
		{"http://[::1]:3000", "127.8.8.8", "", nil},
		// Other people's.
		{"https://evil.example", "127.0.0.1:9991", "Origin", nil},
		{"https://evil.example", "localhost", "Origin", nil},
		{"http://localhost.evil.example", "localhost", "Origin", nil},
		{"http://127.0.0.1.evil.example", "127.0.0.1", "Origin", nil},
		{"http://10.1.2.3", "127.0.0.1", "Origin", nil},
		{"null", "127.0.0.1", "Origin", nil},
		{"file://", "127.0.0.1", "Origin", nil},
		// A name that was pointed here.
		{"http://evil.example:9991", "evil.example:9991", "Host", nil},
		{"http://evil.example", "evil.example", "Host", nil},
		{"http://localhost:3000", "evil.example", "Origin", nil},
		{"http://evil.example", "evil.example", "Host", []string{"X-Forwarded-For: 192.0.2.1"}},
	}
	// A page on the visitor's own machine, through a proxy on ours.
	for _, h := range []string{
		"X-Forwarded-For: 192.0.2.1", "x-forwarded-proto: https", "X-Forwarded-Host: shop.example", "Forwarded: for=192.0.2.1",
		"Via: 1.1 proxy", "X-Real-IP: 192.0.2.1", "X-Forwarded-For: 127.0.0.1",
	} {
		tests = append(tests, originCase{"http://localhost:3000", "127.0.0.1:9991", "Origin", []string{h}})
	}
	server, client := testTLS(t)
	checkOrigins(t, newEngine(t, Options{}), nil, tests)
	checkOrigins(t, newEngine(t, Options{TLS: server}), client, tests)
}

// A server for the network is called by its name, and names may be told.
func TestOriginsUnderNames(t *testing.T) {
	checkOrigins(t, newEngine(t, Options{Addr: "0.0.0.0:0"}), nil, []originCase{
		{"https://shop.example", "shop.example", "", nil},
		{"https://shop.example", "shop.example", "", []string{"X-Forwarded-For: 192.0.2.1"}},
		{"https://evil.example", "shop.example", "Origin", nil},
		{"https://evil.example", "127.0.0.1", "Origin", nil},
		{"http://localhost:3000", "shop.example", "Origin", nil},
		{"http://localhost:3000", "localhost:9991", "", nil},
	})
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		checkOrigins(t, newEngine(t, Options{Addr: addr, AllowHosts: []string{"shop.example", "*.shop.example"}}), nil, []originCase{
			{"https://shop.example", "shop.example", "", nil},
			{"https://shop.example:8443", "shop.example:8443", "", nil},
			{"https://ws.SHOP.example", "ws.shop.example", "", []string{"X-Forwarded-For: 192.0.2.1"}},
			{"https://evil.example", "evil.example", "Host", nil},
			{"https://evil.example", "shop.example", "Origin", nil},
			{"http://127.0.0.1:1", "127.0.0.1:1", "", nil},
			{"", "evil.example", "", nil},
		})
	}
	checkOrigins(t, newEngine(t, Options{AllowHosts: []string{"*"}}), nil, []originCase{
		{"https://shop.example", "shop.example", "", nil},
		{"https://evil.example", "shop.example", "Origin", nil},
	})
	// Origins that are named are all there are, under whatever Host.
	checkOrigins(t, newEngine(t, Options{AllowOrigins: []string{"https://shop.example"}}), nil, []originCase{
		{"https://shop.example", "ws.shop.example", "", nil},
		{"http://localhost:3000", "127.0.0.1:9991", "Origin", nil},
		{"http://127.0.0.1:9991", "127.0.0.1:9991", "Origin", nil},
		{"null", "127.0.0.1", "Origin", nil},
	})
	checkOrigins(t, newEngine(t, Options{AllowOrigins: []string{"null"}}), nil, []originCase{{"null", "127.0.0.1", "", nil}})
}

// Whom a proxy speaks for is not at this machine, whatever the header leaves out.
func TestOriginBehindTrustedProxy(t *testing.T) {
	e := newEngine(t, Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	checkOrigins(t, e, nil, []originCase{
		{"http://localhost:3000", "127.0.0.1:9991", "Origin", nil},
		{"http://127.0.0.1:9991", "127.0.0.1:9991", "", nil},
	})
}

func TestAllowHostsAreChecked(t *testing.T) {
	for _, h := range []string{"", "shop.example:443", "https://shop.example", "a b"} {
		if _, err := New(Options{AllowHosts: []string{h}}); err == nil || !strings.Contains(err.Error(), "AllowHosts") {
			t.Errorf("%q: %v, want an error that names AllowHosts", h, err)
		}
	}
}

// The page of an API at a port of its own is of the same host, and connects, unless
// origins were named or it is under a name that is not the server's.
func TestPagePort(t *testing.T) {
	const page = "http://shop.example:9992"
	for _, tt := range []struct {
		o            Options
		host, origin string
		want         int
	}{
		{Options{PagePort: 9992, AllowHosts: []string{"shop.example"}}, "shop.example:9991", page, 101},
		{Options{PagePort: 9992, AllowHosts: []string{"shop.example"}}, "shop.example", page, 101},
		{Options{PagePort: 443, AllowHosts: []string{"shop.example"}}, "shop.example:9991", "https://shop.example", 101},
		{Options{PagePort: 9992}, "[2001:db8::1]:9991", "http://[2001:db8::1]:9992", 101},
		{Options{PagePort: 9992}, "shop.example:9991", page, 403}, // loopback, and no name is its own
		{Options{AllowHosts: []string{"shop.example"}}, "shop.example:9991", page, 403},
		{Options{PagePort: 9993, AllowHosts: []string{"shop.example"}}, "shop.example:9991", page, 403},
		{Options{PagePort: 9992, AllowHosts: []string{"*"}}, "evil.example:9991", page, 403},
		{Options{PagePort: 9992, AllowHosts: []string{"*"}, AllowOrigins: []string{"https://a.example"}}, "shop.example:9991", page, 403},
	} {
		e := newEngine(t, tt.o)
		conn, err := net.Dial("tcp", e.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		head := strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "Host: localhost", "Host: "+tt.host+"\r\nOrigin: "+tt.origin, 1)
		fmt.Fprint(conn, head)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != tt.want {
			t.Errorf("%+v: %s at %s: %v, %v, want %d", tt.o, tt.origin, tt.host, resp, err, tt.want)
		}
		conn.Close()
	}
}
