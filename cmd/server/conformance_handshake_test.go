package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// request is a valid handshake with the request line given, if any, and the header
// lines in change: they take the place of those of the same name, "Name:" alone
// takes them out.
func request(line string, change ...string) string {
	if line == "" {
		line = "GET /ws?system_id=1 HTTP/1.1"
	}
	lines := []string{
		"Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==",
	}
	head := line + "\r\n"
	name := func(line string) string { n, _, _ := strings.Cut(line, ":"); return n }
	for _, l := range lines {
		kept := true
		for _, c := range change {
			kept = kept && name(c) != name(l)
		}
		if kept {
			head += l + "\r\n"
		}
	}
	for _, c := range change {
		if !strings.HasSuffix(c, ":") {
			head += c + "\r\n"
		}
	}
	return head + "\r\n"
}

// refusals are the counters of refused handshakes.
func (s *server) refusals() map[string]int {
	s.t.Helper()
	var stats struct{ Refused map[string]int }
	if err := json.Unmarshal([]byte(s.get("/stats")), &stats); err != nil {
		s.t.Fatal(err)
	}
	return stats.Refused
}

// ask sends a request, in pieces if chop is not 0, and returns the answer. After a
// refusal the server has to close.
func (s *server) ask(t *testing.T, request string, chop int) *http.Response {
	t.Helper()
	p := s.openSocket(t)
	p.writeChopped(request, chop)
	answer, err := http.ReadResponse(p.in, nil)
	if err != nil {
		t.Fatalf("no proper HTTP answer: %v", err)
	}
	if answer.StatusCode == 101 {
		p.bye()
		return answer
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || len(body) == 0 || answer.Header.Get("Content-Type") == "" {
		t.Errorf("the body %q of type %q, %v", body, answer.Header.Get("Content-Type"), err)
	}
	if !answer.Close {
		t.Errorf("no Connection: close in %q", answer.Header)
	}
	p.end()
	return answer
}

func TestConformanceHandshake(t *testing.T) {
	const key = "Sec-WebSocket-Key: "
	tests := []struct {
		name   string
		send   string
		status int
		reason string // its counter; empty if the HTTP API's server answers
		header string // has to be in the answer
	}{
		{"least", request(""), 101, "", "Sec-WebSocket-Accept: Bz3qJYTGdOe8gUSpLosEdiLKDrk="},
		{"later minor version", request("GET /ws?system_id=1 HTTP/1.2"), 101, "", ""},
		{"absolute-form", request("GET http://localhost/ws?system_id=1 HTTP/1.1"), 101, "", ""},
		{"absolute-form, scheme in capitals", request("GET HTTPS://localhost:8443/ws?system_id=1 HTTP/1.1"), 101, "", ""},
		{"names in any case", strings.ReplaceAll(request(""), "Sec-WebSocket-", "sEC-wEBSOCKET-"), 101, "", ""},
		{"tokens in any case", request("", "Upgrade: WebSocket", "Connection: uPGRADE"), 101, "", ""},
		{"token lists", request("", "Upgrade: h2c , websocket", "Connection: keep-alive,, Upgrade"), 101, "", ""},
		{"token lists in lines", request("", "Upgrade: h2c", "Upgrade: websocket", "Connection: keep-alive", "Connection: Upgrade"), 101, "", ""},
		{"no space after the colons", strings.ReplaceAll(request(""), ": ", ":"), 101, "", ""},
		{"spaces and tabs around values", request("", "Upgrade: \t websocket \t", key+" AAECAwQFBgcICQoLDA0ODw== "), 101, "", ""},
		{"Content-Length 0", request("", "Content-Length: 0"), 101, "", ""},
		{"12 KB of cookies", request("", "Cookie: "+strings.Repeat("a", 12_000)), 101, "", ""},
		{"page of the same host", request("", "Origin: http://localhost"), 101, "", ""},
		{"page of the same machine", request("", "Origin: http://127.0.0.1:3000"), 101, "", ""},

		{"HTTP/1.0", request("GET /ws?system_id=1 HTTP/1.0"), 400, "http_1_0", ""},
		{"no Host", request("", "Host:"), 400, "host", ""},
		{"two Hosts", request("", "Host: localhost", "Host: localhost"), 400, "host", ""},
		{"Host with a path", request("", "Host: localhost/x"), 400, "host", ""},
		{"absolute-form without Host", request("GET http://localhost/ws?system_id=1 HTTP/1.1", "Host:"), 400, "host", ""},
		{"body", request("", "Content-Length: 5") + "Hello", 400, "body", ""},
		{"body behind none", request("", "Content-Length: 0", "Content-Length: 5") + "Hello", 400, "body", ""},
		{"chunked body", request("", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400, "body", ""},
		{"no Upgrade", request("", "Upgrade:"), 426, "upgrade", "Upgrade: websocket"},
		{"other Upgrade", request("", "Upgrade: websockets"), 426, "upgrade", "Upgrade: websocket"},
		{"no Connection", request("", "Connection:"), 400, "connection", ""},
		{"other Connection", request("", "Connection: keep-alive"), 400, "connection", ""},
		{"no version", request("", "Sec-WebSocket-Version:"), 426, "version", "Sec-WebSocket-Version: 13"},
		{"version 8", request("", "Sec-WebSocket-Version: 8"), 426, "version", "Sec-WebSocket-Version: 13"},
		{"version list", request("", "Sec-WebSocket-Version: 13, 8"), 426, "version", "Sec-WebSocket-Version: 13"},
		{"two versions", request("", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"), 426, "version", "Sec-WebSocket-Version: 13"},
		{"no key", request("", "Sec-WebSocket-Key:"), 400, "key", ""},
		{"two keys", request("", key+"AAECAwQFBgcICQoLDA0ODw==", key+"AAECAwQFBgcICQoLDA0ODw=="), 400, "key", ""},
		{"key of 15 bytes", request("", key+"AAECAwQFBgcICQoLDA0O"), 400, "key", ""},
		{"key of 17 bytes", request("", key+"AAECAwQFBgcICQoLDA0ODxA="), 400, "key", ""},
		{"key not in base64", request("", key+"AAECAwQFBgcI*QoLDA0ODw=="), 400, "key", ""},
		{"other page", request("", "Origin: https://elsewhere.example"), 403, "origin", ""},
		{"two Origins", request("", "Origin: http://a", "Origin: http://a"), 400, "origin_count", ""},
		{"line feed alone", strings.Replace(request(""), "\r\nUpgrade", "\nUpgrade", 1), 400, "line_ending", ""},
		{"folded line", request("", "X: a\r\n b"), 400, "header_name", ""},
		{"space before a colon", request("", "X : a"), 400, "header_name", ""},
		{"no colon", request("", "X"), 400, "header_name", ""},
		{"NUL in a value", request("", "X: a\x00b"), 400, "header_value", ""},
		{"too many lines", request("", strings.Repeat("X: a\r\n", 100)+"X: a"), 431, "header_count", ""},
		{"long head", request("", "X: "+strings.Repeat("a", 16<<10)), 431, "head_size", ""},
		{"long head without an end", "GET /ws HTTP/1.1\r\nX: " + strings.Repeat("a", 16<<10), 431, "head_size", ""},
		{"long request line", request("GET /ws?system_id=" + strings.Repeat("a", 16<<10) + " HTTP/1.1"), 431, "head_size", ""},
		{"no system", request("GET /ws HTTP/1.1"), 400, "identity", ""},

		{"POST", request("POST /ws?system_id=1 HTTP/1.1", "Connection: close", "Content-Length: 0"), 405, "method", "Allow: GET"},
		{"method in small letters", request("get /ws?system_id=1 HTTP/1.1", "Connection: close"), 405, "method", "Allow: GET"},
		{"HTTP/2.0", request("GET /ws?system_id=1 HTTP/2.0"), 505, "http_version", ""},
		{"HTTP/0.9", request("GET /ws?system_id=1 HTTP/0.9"), 505, "http_version", ""},
		{"HTTP/1.10", request("GET /ws?system_id=1 HTTP/1.10"), 400, "request_line", ""},
		{"http/1.1", request("GET /ws?system_id=1 http/1.1"), 400, "request_line", ""},
		{"two spaces behind the target", request("GET /ws?system_id=1  HTTP/1.1"), 400, "request_line", ""},
		{"fragment", request("GET /ws?system_id=1#x HTTP/1.1"), 400, "target", ""},
		{"control character in the target", request("GET /ws?system_id=\x01 HTTP/1.1"), 400, "target", ""},
		{"other path", request("GET /wss HTTP/1.1", "Connection: close"), 404, "", ""},
	}
	s := startEcho(t)
	for _, tt := range tests {
		for _, chop := range []int{0, 7} {
			t.Run(fmt.Sprintf("%s, chop %d", tt.name, chop), func(t *testing.T) {
				before := s.refusals()
				answer := s.ask(t, tt.send, chop)
				if answer.StatusCode != tt.status || answer.Proto != "HTTP/1.1" {
					t.Errorf("answered %s %s, want %d", answer.Proto, answer.Status, tt.status)
				}
				if name, value, ok := strings.Cut(tt.header, ": "); ok && answer.Header.Get(name) != value {
					t.Errorf("%s is %q, want %q", name, answer.Header.Get(name), value)
				}
				after := s.refusals()
				if tt.reason != "" {
					before[tt.reason]++
				}
				if fmt.Sprint(before) != fmt.Sprint(after) {
					t.Errorf("counted %v, want %v", after, before)
				}
			})
		}
	}
}

// What is no request, and does not ask for the clients' path, is net/http's to answer.
func TestConformanceRequestLine(t *testing.T) {
	s := startEcho(t)
	for _, line := range []string{
		"GET  /ws?system_id=1 HTTP/1.1", "GET\t/ws?system_id=1 HTTP/1.1", "GET ws?system_id=1 HTTP/1.1",
		"GET ftp://localhost/ws?system_id=1 HTTP/1.1", "G@T /ws HTTP/1.1", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	} {
		if answer := s.ask(t, request(line, "Connection: Upgrade, close"), 0); answer.StatusCode < 400 || answer.StatusCode > 505 {
			t.Errorf("%q is answered %s", line, answer.Status)
		}
	}
}

func TestConformanceOrigin(t *testing.T) {
	listed := start(t, "-on-message", "echo", "-allow-origin", "https://*.example.com,http://localhost:*,app.test")
	public := start(t, "-on-message", "echo", "-addr", "0.0.0.0:0", "-insecure")
	for _, tt := range []struct {
		s      *server
		origin string
		status int
	}{
		{listed, "", 101},
		{listed, "https://a.example.com", 101},
		{listed, "HTTPS://A.EXAMPLE.COM", 101},
		{listed, "https://a.example.com:443", 101},
		{listed, "http://localhost:5173", 101},
		{listed, "http://app.test", 101},
		{listed, "https://example.com", 403},
		{listed, "http://a.example.com", 403},
		{listed, "https://a.example.com.evil.test", 403},
		{listed, "https://evil.test/.example.com", 403},
		{listed, "http://127.0.0.1", 403}, // the same host, and not in the list
		{listed, "null", 403},
		{public, "", 101},
		{public, "http://push.test:9991", 101},
		{public, "https://push.test:9991", 101},
		{public, "http://push.test", 403},
		{public, "http://other.test:9991", 403},
		{public, "null", 403},
	} {
		change := []string{"Host: push.test:9991"}
		if tt.origin != "" {
			change = append(change, "Origin: "+tt.origin)
		}
		before := tt.s.refusals()["origin"]
		if answer := tt.s.ask(t, request("", change...), 0); answer.StatusCode != tt.status {
			t.Errorf("Origin %q is answered %s, want %d", tt.origin, answer.Status, tt.status)
		}
		want := before
		if tt.status == 403 {
			want++
		}
		if got := tt.s.refusals()["origin"]; got != want {
			t.Errorf("Origin %q: counted %d times, want %d", tt.origin, got, want)
		}
	}
}

// What is sent together with the handshake is not lost, wherever TCP cuts it.
func TestConformanceEarlyData(t *testing.T) {
	s := startEcho(t)
	early := frame(pingFrame, "early") + fragments(textFrame, "Hello", 2) + frame(binFrame, "\xff")
	for _, chop := range []int{0, 1, 3, 50} {
		p := s.openSocket(t)
		p.writeChopped(request("")+early, chop)
		if answer, err := http.ReadResponse(p.in, nil); err != nil || answer.StatusCode != 101 {
			t.Fatal(answer, err)
		}
		for _, want := range []arrival{isPong("early"), isText("Hello"), isBinary("\xff")} {
			if got := p.read(); got != want {
				t.Errorf("chop %d: got %v, want %v", chop, got, want)
			}
		}
		p.bye()
	}
}
