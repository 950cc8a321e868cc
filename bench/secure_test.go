package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// selfSigned writes a certificate for 127.0.0.1 that nobody knows, and its key.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signed, err := x509.CreateCertificate(rand.Reader, of, of, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// Clients and calls of a server that encrypts, the real one: messages small and large,
// in both directions, clients that come and go.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t)
	url, pid := carillon(t, "-tls-cert", cert, "-tls-key", key)
	echoes, echoesPID := carillon(t, "-tls-cert", cert, "-tls-key", key, "-on-message", "echo") // which greets nobody
	if !strings.HasPrefix(url, "wss://") {
		t.Fatalf("the server listens at %s", url)
	}
	for _, tt := range []struct {
		args       string
		deliveries int64 // -1 for some
	}{
		{"fanout -conns 30 -duration 500ms -rate 20 -size 70000", 300},
		{"echo -conns 20 -duration 500ms -rate 200 -size 20000", 100},
		{"churn -conns 30 -inflight 10 -duration 1s -rate 20 -push-rate 20", -1},
		{"idle -conns 20 -duration 2s", 0},
	} {
		url, pid := url, pid
		if strings.HasPrefix(tt.args, "echo") {
			url, pid = echoes, echoesPID
		}
		args := append(strings.Fields(tt.args), "-url", url, "-pid", pid, "-insecure-tls", "-quiet")
		r, out, err := bench(t, args...)
		if err != nil {
			t.Errorf("%s: %v\n%s", tt.args, err, out)
			continue
		}
		if tt.deliveries >= 0 && r.Deliveries != tt.deliveries || tt.deliveries < 0 && r.Deliveries == 0 {
			t.Errorf("%s: %d deliveries, want %d", tt.args, r.Deliveries, tt.deliveries)
		}
		if r.Server != strings.TrimPrefix(strings.TrimSuffix(url, defaultURL[len(defaultPlace):]), "wss://") {
			t.Errorf("the server is called %s", r.Server)
		}
	}
	plain := strings.Replace(url, "wss://", "ws://", 1)
	for args, want := range map[string]string{
		"connect -conns 3 -url " + url:   "certificate signed by unknown authority: say -insecure-tls",
		"connect -conns 3 -url " + plain: "connections failed: the server",
		"connect -conns 3 -insecure-tls -servers 1 -server-flags \t-tls-cert\t" + cert + "\t-tls-key\t" + key: "",
	} {
		_, out, err := bench(t, split(args)...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q\n%s", args, err, want, out)
		}
	}
}

// split is strings.Fields at blanks only: an argument may have tabs in it.
func split(s string) []string { return strings.Split(s, " ") }

// wss:// to a server that speaks plainly, and one that ends the handshake.
func TestTLSThatIsNone(t *testing.T) {
	t.Parallel()
	url := foreign(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	for url, want := range map[string]string{
		strings.Replace(url, "ws://", "wss://", 1) + "/": "first record does not look like a TLS handshake",
		"wss://" + ln.Addr().String() + "/":              "3 connections failed: TLS with 127.0.0.1",
	} {
		if _, _, err := bench(t, "connect", "-conns", "3", "-timeout", "5s", "-quiet", "-url", url, "-insecure-tls"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// Pushes by a message of a client of a server that encrypts.
func TestPushByMessageOverTLS(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var clients []*websocket.Conn
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		if r.URL.Path != "/push" {
			mu.Lock()
			clients = append(clients, conn)
			mu.Unlock()
		}
		for {
			_, b, err := conn.Read(context.Background())
			if err != nil {
				return
			}
			mu.Lock()
			for _, c := range clients {
				c.Write(context.Background(), websocket.MessageText, b)
			}
			mu.Unlock()
		}
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	url := "wss" + strings.TrimPrefix(srv.URL, "https")
	r, out, err := bench(t, "fanout", "-conns", "20", "-rate", "20", "-duration", "500ms", "-quiet", "-insecure-tls", "-id-key=",
		"-url", url+"/", "-push-url", url+"/push", "-push", "ws", "-push-body", "{data}", "-push-type", "text/plain")
	if err != nil || r.Deliveries != 200 {
		t.Errorf("%v\n%s", err, out)
	}
}
