package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carillon/httpapi"
)

const (
	proxyLine   = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n"
	proxyBinary = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x12\x67\x01\xbb"
	healthz     = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
)

// knock sends b to addr, in two pieces if cut is not 0, and returns the status of the
// answer, 0 if there is none.
func knock(t *testing.T, addr, b string, cut int) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if cut > 0 {
		io.WriteString(conn, b[:cut])
		time.Sleep(5 * time.Millisecond)
	}
	io.WriteString(conn, b[cut:])
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	return resp.StatusCode
}

// The API takes PROXY headers from the same proxies, on one port or on two.
func TestProxyHeaderToTheAPI(t *testing.T) {
	for _, split := range [][]string{nil, {"-api-addr", "127.0.0.1:0"}} {
		trusting := start(t, append(split, "-trusted-proxies", "127.0.0.0/8", "-log-level", "debug")...)
		for _, header := range []string{"", proxyLine, proxyBinary, "PROXY UNKNOWN\r\n"} {
			for _, cut := range []int{0, 1, 3, len(header) / 2, len(header), len(header) + 2} {
				if status := knock(t, trusting.api, header+healthz, cut); status != 200 {
					t.Errorf("%v: %q, cut at %d: %d, want 200", split, header, cut, status)
				}
			}
		}
		if split != nil && !strings.Contains(trusting.logs.String(), `"remote":"192.0.2.1:4711"`) {
			t.Errorf("the log does not say whom the requests are from: %s", trusting.logs)
		}
		for _, malformed := range []string{"PROXY TCP4 192.0.2.1\r\n", "PROXY UNKNOWN " + strings.Repeat("x", 100), strings.Replace(proxyBinary, "\x21\x11", "\x31\x11", 1)} {
			if status := knock(t, trusting.api, malformed+healthz, 0); status != 400 {
				t.Errorf("%v: %q: %d, want 400", split, malformed, status)
			}
		}
		if strings.Contains(trusting.logs.String(), "-trusted-proxies") {
			t.Errorf("a trusted proxy is warned of: %s", trusting.logs)
		}

		for _, args := range [][]string{nil, {"-trusted-proxies", "192.0.2.0/24"}} {
			s := start(t, append(args, split...)...)
			for _, header := range []string{proxyLine, proxyBinary, "PROXY UNKNOWN\r\n"} {
				for _, cut := range []int{0, 3} {
					if status := knock(t, s.api, header+healthz, cut); status != 400 {
						t.Errorf("%v, not trusted: %q: %d, want 400", split, header, status)
					}
				}
			}
			for _, request := range []string{healthz, strings.Replace(healthz, "GET", "PUT", 1)} {
				if status := knock(t, s.api, request, 1); status < 200 || status == 400 {
					t.Errorf("%v: %q: %d", split, request, status)
				}
			}
			if logs := s.logs.String(); strings.Count(logs, "-trusted-proxies") != 1 || !strings.Contains(logs, `"remote":"127.0.0.1:`) {
				t.Errorf("%v: the log does not say it once: %s", split, logs)
			}
		}
	}
}

// Before TLS, on either port.
func TestProxyHeaderBeforeTLSOfTheAPI(t *testing.T) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir, "test")
	args := []string{"-tls-cert", filepath.Join(dir, "cert.pem"), "-tls-key", filepath.Join(dir, "key.pem")}
	for _, split := range [][]string{nil, {"-api-addr", "127.0.0.1:0"}} {
		get := func(s *server, header string) (int, error) {
			conn, err := net.Dial("tcp", s.api)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			io.WriteString(conn, header)
			secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
			io.WriteString(secure, healthz)
			resp, err := http.ReadResponse(bufio.NewReader(secure), nil)
			if err != nil {
				return 0, err
			}
			return resp.StatusCode, nil
		}
		s := start(t, append(append(args, split...), "-trusted-proxies", "127.0.0.1")...)
		for _, header := range []string{"", proxyLine, proxyBinary} {
			if status, err := get(s, header); status != 200 {
				t.Errorf("%v: %q: %d, %v", split, header, status, err)
			}
		}
		s = start(t, append(args, split...)...)
		for _, header := range []string{proxyLine, proxyBinary} {
			if status, err := get(s, header); err == nil {
				t.Errorf("%v, not trusted: %q: %d", split, header, status)
			}
		}
		if status, err := get(s, ""); status != 200 {
			t.Errorf("%v: %d, %v", split, status, err)
		}
		if logs := s.logs.String(); strings.Count(logs, "-trusted-proxies") != 1 {
			t.Errorf("%v: the log does not say it once: %s", split, logs)
		}
	}
}

// A proxy that connects and says nothing holds up neither others nor the end.
func TestSilentProxy(t *testing.T) {
	t.Parallel()
	s := start(t, "-api-addr", "127.0.0.1:0", "-trusted-proxies", "127.0.0.1", "-drain-timeout", "5s")
	for range 20 {
		conn, err := net.Dial("tcp", s.api)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if status := knock(t, s.api, proxyLine+healthz, 0); status != 200 {
		t.Errorf("beside silent ones: %d", status)
	}
	began := time.Now()
	s.cmd.Process.Signal(os.Interrupt)
	if code := s.exit(); code != 0 || time.Since(began) > 5*time.Second {
		t.Errorf("exit status %d after %v: %s", code, time.Since(began), s.logs)
	}
}

// Clients and the API take heads of the same length.
func TestLongestHead(t *testing.T) {
	for _, tt := range []struct {
		limit int
		args  []string
	}{
		{16 << 10, nil}, {16 << 10, []string{"-api-addr", "127.0.0.1:0"}}, {40_000, []string{"-max-handshake", "40000"}},
	} {
		s := start(t, tt.args...)
		for _, who := range []struct{ addr, head, ok string }{
			{s.addr, request(""), "101"}, {s.api, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "200"},
		} {
			for more, want := range map[int]string{0: who.ok, 1: "431"} {
				for _, cut := range []int{0, 100} {
					head := strings.TrimSuffix(who.head, "\r\n") + "Cookie: \r\n\r\n"
					head = strings.Replace(head, "Cookie: ", "Cookie: "+strings.Repeat("c", tt.limit+more-len(head)), 1)
					if got := fmt.Sprint(knock(t, who.addr, head, cut)); got != want {
						t.Errorf("%v: %.20q of %d bytes: %s, want %s", tt.args, head, len(head), got, want)
					}
				}
			}
		}
	}
	if n := httpapi.MaxHeaderBytes(512); n != 1 {
		t.Errorf("MaxHeaderBytes(512) = %d, want the least that is a limit", n)
	}
}

// HEAD has no body at a port for clients alone.
func TestHEADAtTheClientsPort(t *testing.T) {
	s := start(t, "-api-addr", "127.0.0.1:0")
	for _, path := range []string{"/", "/ws", "/healthz"} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(conn, "HEAD %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
		b, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 40") || strings.Index(string(b), "\r\n\r\n") != len(b)-4 {
			t.Errorf("HEAD %s: %q, %v", path, b, err)
		}
	}
}
