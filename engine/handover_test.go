package engine

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// net/http ends a connection whose request it gave up with FIN at once and close half
// a second later: whoever waits for the end does not wait for that.
func TestHandedConnectionsEndInTime(t *testing.T) {
	server, client := testTLS(t)
	for _, o := range []Options{{ServeHTTP: true}, {ServeHTTP: true, TLS: server}} {
		e := newEngine(t, o)
		srv := &http.Server{Handler: http.NotFoundHandler(), MaxHeaderBytes: 4 << 10}
		go srv.Serve(e.HTTP())
		defer srv.Close()
		conn, err := net.Dial("tcp", e.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		if o.TLS != nil {
			conn = tls.Client(conn, client)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		line, err := r.ReadString('\n')
		if err != nil || !strings.Contains(line, " 431 ") {
			t.Fatalf("%q, %v, want 431", line, err)
		}
		answered := time.Now()
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
		if took := time.Since(answered); took > 400*time.Millisecond {
			t.Errorf("TLS %v: the end came %v after the answer", o.TLS != nil, took)
		}
	}
}
