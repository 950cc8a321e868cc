package engine

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each refusal counts under its own reason and under no other, also behind an answered
// request; and what ends by itself does not count.
func TestRefusalReasons(t *testing.T) {
	ok := fmt.Sprintf(upgrade, "system_id=1")
	with := func(line string) string { return strings.Replace(ok, "\r\n\r\n", "\r\n"+line+"\r\n\r\n", 1) }
	limited := func(e *Engine) { e.addrs.loopback = true }
	server, client := testTLS(t)
	over := Options{MaxPerIP: 1}
	tests := []struct {
		name    string
		o       Options
		prepare func(*Engine)
		busy    bool // one client is there before
		sent    string
		status  int // of the last answer, 0 if there is none
		want    string
	}{
		{"nothing", Options{}, nil, false, "", 0, ""},
		{"a part of a head", Options{}, nil, false, "GET /ws?sys", 0, ""},
		{"a client", Options{}, nil, false, ok, 101, ""},
		{"no system", Options{}, nil, false, fmt.Sprintf(upgrade, "x=1"), 400, "identity"},
		{"no upgrade", Options{}, nil, false, "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", 426, "upgrade"},
		{"another method", Options{}, nil, false, strings.Replace(ok, "GET", "POST", 1), 405, "method"},
		{"another page", Options{}, nil, false, with("Origin: https://evil.example"), 403, "origin"},
		{"a body", Options{}, nil, false, with("Content-Length: 1") + "x", 400, "body"},
		{"a strange subprotocol", Options{}, nil, false, with("Sec-WebSocket-Protocol: strange"), 400, "subprotocol"},
		{"per ip", over, limited, true, ok, 429, labelPerIP},
		{"handshakes per ip", Options{HandshakesPerIP: 1}, limited, true, ok, 429, labelHandshakesByIP},
		{"max connections", Options{MaxConnections: 1}, nil, true, ok, 503, labelMaxConnections},
		{"memory", Options{MemoryLimit: 1}, nil, false, ok, 503, labelMemory},
		{"not trusted", Options{}, nil, false, "PROXY UNKNOWN\r\n" + ok, 400, labelUntrustedProxy},
		{"malformed header", Options{TrustedProxies: onlyLoopback}, nil, false, "PROXY X\r\n" + ok, 400, "proxy header"},
		{"timeout", Options{HandshakeTimeout: time.Second}, nil, false, "GET /ws?sys", 0, "handshake timeout"},
		{"head size", Options{MaxHandshakeBytes: 1024}, nil, false, with("X: " + strings.Repeat("x", 1024)), 431, "head_size"},
		{"too slow an Authenticate", Options{Authenticate: func(ctx context.Context, _ *Handshake) (id Identity, err error) {
			<-ctx.Done()
			return id, ctx.Err()
		}, AuthTimeout: time.Second}, nil, false, ok, 503, "identity"},
		{"no tls", Options{TLS: server}, nil, false, ok, 400, "no tls"},
		{"broken tls", Options{TLS: server}, nil, false, "\x16\x03\x01\x00\x05hello", 0, "tls"},
		{"tls timeout", Options{TLS: server, HandshakeTimeout: time.Second}, nil, false, clientHello(client), 0, "handshake timeout"},
		{"tls over per ip", Options{TLS: server, MaxPerIP: 1}, limited, true, clientHello(client), 0, labelPerIP},
	}
	for _, tt := range tests {
		for _, behind := range []bool{false, true} {
			if behind && (tt.o.TLS != nil || tt.status == 0 || strings.HasPrefix(tt.sent, "PROXY") || tt.busy || strings.Contains(tt.name, "size")) {
				continue // it is for a first request, or net/http's
			}
			t.Run(fmt.Sprintf("%s, behind a request %v", tt.name, behind), func(t *testing.T) {
				t.Parallel() // some wait for a second
				var prepare []func(*Engine)
				if tt.prepare != nil {
					prepare = append(prepare, tt.prepare)
				}
				e := serveBoth(t, tt.o, prepare...)
				if tt.busy && tt.o.TLS != nil {
					openTLS(t, e, client)
				} else if tt.busy {
					conn := rawConn(t, e, ok)
					if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 101 {
						t.Fatal(resp, err)
					}
				}
				conn := rawConn(t, e, "")
				br := bufio.NewReader(conn)
				if behind {
					io.WriteString(conn, apiGet)
					if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 200 {
						t.Fatal(resp, err)
					} else {
						io.Copy(io.Discard, resp.Body)
					}
				}
				io.WriteString(conn, tt.sent)
				if tt.want == "" && tt.status == 0 {
					conn.(*net.TCPConn).CloseWrite()
				}
				resp, err := http.ReadResponse(br, nil)
				if tt.status == 0 { // until the server ends it
					io.Copy(io.Discard, br)
				}
				if tt.status != 0 && (err != nil || resp.StatusCode != tt.status) || tt.status == 0 && err == nil {
					t.Errorf("%v, %v, want %d", resp, err, tt.status)
				}
				conn.Close()
				if !tt.busy {
					eventually(t, "it is gone", func() bool { return e.conns.Load() == 0 })
				}
				want := map[string]uint64{}
				if tt.want != "" {
					want[tt.want] = 1
				}
				if got := e.Stats().Refused; !maps.Equal(got, want) {
					t.Errorf("counted %v, want %v", got, want)
				}
			})
		}
	}
}

// withoutDescriptors runs f while the process can open nothing more.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	f()
}

// A connection that cannot move to net/http or back, since that takes a descriptor for a
// moment, is told so; it, and nothing else, counts as for want of descriptors.
func TestNoDescriptorToMove(t *testing.T) {
	server, client := testTLS(t)
	for _, o := range []Options{{}, {TLS: server}} {
		e := serveBoth(t, o)
		connect := func() (conn net.Conn) {
			if conn = rawConn(t, e, ""); o.TLS != nil {
				conn = tls.Client(conn, client)
				if err := conn.(*tls.Conn).Handshake(); err != nil {
					t.Fatal(err)
				}
			}
			return conn
		}
		ask := func(conn net.Conn, request string, want int) {
			t.Helper()
			io.WriteString(conn, request)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != want {
				t.Errorf("TLS %v: %v, %v, want %d", o.TLS != nil, resp, err, want)
			}
		}
		there, back := connect(), connect()
		ask(back, apiGet, 200)
		eventually(t, "both are there", func() bool { return e.conns.Load() == 2 })
		withoutDescriptors(t, func() {
			ask(there, apiGet, 503)
			ask(back, fmt.Sprintf(upgrade, "system_id=1"), 503)
		})
		ask(connect(), apiGet, 200)
		there.Close()
		back.Close()
		if got := e.Stats().Refused; !maps.Equal(got, map[string]uint64{labelDescriptors: 2}) {
			t.Errorf("TLS %v: counted %v", o.TLS != nil, got)
		}
		eventually(t, "they are gone", func() bool { return e.conns.Load() == 1 })
		e.http.mu.Lock()
		if n := len(e.http.all); n != 1 {
			t.Errorf("%d connections are with net/http, want 1", n)
		}
		e.http.mu.Unlock()
	}
}
