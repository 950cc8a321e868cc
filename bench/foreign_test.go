package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// foreign is a server that is no Carillon: at /silent it greets nobody, at /greets
// without an id, and else it refuses in one way or another. What is pushed it takes.
func foreign(t *testing.T) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/push_to_") {
			return
		}
		switch r.URL.Path {
		case "/silent", "/greets":
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			if r.URL.Path == "/greets" {
				err = conn.Write(r.Context(), websocket.MessageText, []byte(`{"hello":true,"sid":"7"}`))
			}
			for err == nil {
				_, _, err = conn.Read(context.Background())
			}
		case "/key":
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Sec-WebSocket-Accept", "nonsense")
			w.WriteHeader(http.StatusSwitchingProtocols)
		case "/never":
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
		case "/body":
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "\n{\"error\":\"no token\"}\nand more\n")
		case "/slow": // the body comes late, and not whole
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, "who")
			w.(http.Flusher).Flush()
			time.Sleep(200 * time.Millisecond)
			io.WriteString(w, " are you?")
		case "/moved":
			http.Redirect(w, r, "https://elsewhere.example/ws", http.StatusMovedPermanently)
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

// Each way not to answer the handshake is told in one line.
func TestHandshakesThatFail(t *testing.T) {
	t.Parallel()
	url := foreign(t)
	for path, want := range map[string]string{
		"/":      "3 connections failed: the server answers the handshake with 418 I'm a teapot",
		"/key":   "3 connections failed: the server's Sec-WebSocket-Accept does not fit",
		"/never": "3 connections failed: no answer within 1s",
		"/body":  `the server answers the handshake with 403 Forbidden: {"error":"no token"}`,
		"/slow":  "the server answers the handshake with 401 Unauthorized: who are you?",
		"/moved": "the server answers the handshake with 301 Moved Permanently to https://elsewhere.example/ws",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			_, _, err := bench(t, "connect", "-conns", "3", "-timeout", "1s", "-quiet", "-url", url+path)
			if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

// A server that does not send what Carillon sends is met with the flag that is for it.
func TestForgottenIDKey(t *testing.T) {
	t.Parallel()
	url := foreign(t)
	for _, tt := range []struct{ args, want string }{
		{"connect -url " + url + "/silent", "3 connections failed: the handshake is done, but of the 1 messages that a client waits for 0 came within 1s: say -id-key ''"},
		{"connect -id-key= -ready-messages 2 -url " + url + "/greets", "of the 2 messages that a client waits for 1 came within 1s: want a -ready-messages"},
		{"connect -id-key= -url " + url + "/silent", ""},
		{"connect -url " + url + "/greets", ""},
		{"unicast -url " + url + "/greets", `-id-key client_id: client 0 has got no message with that key: want the key of the client's id in what the server sends first, which was {"hello":true,"sid":"7"}`},
		{"churn -inflight 1 -url " + url + "/greets", `: -id-key client_id: client 2 has got no message`},
		{"unicast -id-key sid -url " + url + "/greets -push-url http" + strings.TrimPrefix(url, "ws") + "/body", `POST /body: 403 Forbidden: {"error":"no token"}`},
		{"fanout -push ws -push-body {data} -push-type text/plain -url " + url + "/greets -push-url " + url + "/body", `the server answers the handshake with 403 Forbidden: {"error":"no token"}`},
		{"fanout -push ws -push-body {data} -push-type text/plain -duration 100ms -url " + url + "/greets -push-url " + url + "/silent -timeout 300ms", "the pushing client: the 1 messages that a client waits for have not come within 300ms: say -ready-messages 0, or -id-key ''"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			args := append(strings.Fields(tt.args), "-conns", "3", "-quiet")
			if !strings.Contains(tt.args, "-timeout") {
				args = append(args, "-timeout", "1s")
			}
			_, out, err := bench(t, args...)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q\n%s", err, tt.want, out)
			}
		})
	}
}
