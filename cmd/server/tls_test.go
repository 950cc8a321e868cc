package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// writeCertificate writes a pair for 127.0.0.1 to dir and returns a pool that
// trusts it.
func writeCertificate(t *testing.T, dir, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

func trusting(roots *x509.CertPool) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
}

// Clients and the API speak TLS, on one port or on two, and a renewed certificate
// is used without a restart; a broken one is not.
func TestTLS(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-api-addr", "127.0.0.1:0"}} {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		roots := writeCertificate(t, dir, "first")
		s := start(t, append(args, "-tls-cert", certFile, "-tls-key", keyFile)...)
		if !strings.HasPrefix(s.out[0], "connect: wss://") || !strings.Contains(s.out[1], " https://") {
			t.Errorf("it says %q", s.out)
		}
		c, _, err := websocket.Dial(testContext(t), "wss://"+s.addr+"/ws?system_id=1", &websocket.DialOptions{HTTPClient: trusting(roots)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if _, _, err := c.Read(testContext(t)); err != nil {
			t.Fatal(err)
		}
		api := trusting(roots)
		resp, err := api.Post("https://"+s.api+"/push_to_all", "application/x-www-form-urlencoded", strings.NewReader("data=hello"))
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
			t.Errorf("push: %d %s", resp.StatusCode, b)
		}
		resp.Body.Close()
		if _, b, err := c.Read(testContext(t)); err != nil || !strings.Contains(string(b), `"data":"hello"`) {
			t.Errorf("%s, %v", b, err)
		}

		os.WriteFile(certFile, []byte("broken"), 0o600)
		eventually(t, "the broken certificate is seen", func() bool {
			if _, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: roots}); err != nil {
				t.Fatalf("while the file is broken: %v", err)
			}
			return strings.Contains(s.logs.String(), "the old one stays")
		})
		renewed := writeCertificate(t, dir, "second")
		eventually(t, "the renewed certificate is used", func() bool {
			conn, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: renewed})
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		// The client that was there notices nothing.
		api.Post("https://"+s.api+"/push_to_all", "application/x-www-form-urlencoded", strings.NewReader("data=still"))
		if _, b, err := c.Read(testContext(t)); err != nil || !strings.Contains(string(b), `"data":"still"`) {
			t.Errorf("%s, %v", b, err)
		}
		s.cmd.Process.Signal(os.Interrupt)
		var ce websocket.CloseError
		if _, _, err := drain(testContext(t), c); !asClose(err, &ce) || ce.Code != 3001 {
			t.Errorf("%v, want 3001", err)
		}
		if code := s.exit(); code != 0 {
			t.Errorf("exit status %d: %s", code, s.logs)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// The limits per address, as an operator sets them, for what a proxy forwards.
func TestTrustedProxies(t *testing.T) {
	s := start(t, "-trusted-proxies", "::ffff:127.0.0.0/104, 10.0.0.0/8", "-max-per-ip", "2", "-handshakes-per-ip", "100")
	for n, want := range []int{101, 101, 429} {
		c, resp, err := websocket.Dial(testContext(t), "ws://"+s.addr+"/ws?system_id=1", &websocket.DialOptions{
			HTTPHeader: http.Header{"X-Forwarded-For": {fmt.Sprintf("10.9.9.%d, 192.0.2.1, 10.1.1.1", n)}},
		})
		if resp == nil || resp.StatusCode != want {
			t.Errorf("handshake %d: %v, %v, want %d", n, resp, err, want)
		}
		if err == nil {
			defer c.CloseNow()
		}
	}
	if stats := s.get("/stats"); !strings.Contains(stats, `"per_ip":1`) {
		t.Errorf("stats: %s", stats)
	}
}

// A connection to the API that says nothing does not hold up the end.
func TestSilentAPIConnection(t *testing.T) {
	t.Parallel()
	s := start(t, "-api-addr", "127.0.0.1:0", "-drain-timeout", "1m")
	conn, err := net.Dial("tcp", s.api)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.get("/healthz") // it was accepted before this
	s.cmd.Process.Signal(os.Interrupt)
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v, want EOF", err)
	}
	if code := s.exit(); code != 0 {
		t.Errorf("exit status %d: %s", code, s.logs)
	}
}
