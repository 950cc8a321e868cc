package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"carillon/engine"
)

// ask sends a request under a Host, and returns the status and the answer.
func (s *server) ask(method, path, host string, header ...string) (int, answer) {
	s.t.Helper()
	var body string
	if method == "POST" {
		body = "data=uninvited"
		for _, field := range routes[path].fields {
			switch field {
			case "system_id":
				body += "&system_id=1"
			case "group_name":
				body += "&group_name=g"
			}
		}
	}
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Content-Type", typeForm)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	var a answer
	_ = json.NewDecoder(resp.Body).Decode(&a)
	return resp.StatusCode, a
}

// A page of another origin pushes nothing, whatever it calls and however its browser
// tells of it; the same page on the server's own origin does, and so does a backend.
func TestForeignPagesCannotPush(t *testing.T) {
	s := newServer(t, Options{Lang: engine.English})
	p := s.dial("system_id=1&group_name=g")
	own := strings.TrimPrefix(s.url, "http://")
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "cross-site", "Origin", "http://" + own},
		{"Origin", "https://evil.example"},
		{"Origin", "http://localhost:3000"},
		{"Origin", "null"},
		{"Origin", "https://evil.example", "Authorization", "Bearer none"},
	} {
		for _, path := range []string{"/push_to_all", "/push_to_system", "/push_to_group", "/close_client", "/nothing", "/healthz"} {
			status, a := s.ask("POST", path, own, header...)
			if status != 403 || a.Code != 10014 || a.Field != "Origin" || a.Detail == "" || a.Msg == "" {
				t.Errorf("%s with %q: %d %+v, want 403 with code 10014 about Origin", path, header, status, a)
			}
		}
	}
	s.silent("1", p)
	for _, header := range [][]string{
		nil,
		{"Sec-Fetch-Site", "same-origin", "Origin", s.url},
		{"Sec-Fetch-Site", "none"},
		{"Origin", s.url},
	} {
		if status, a := s.ask("POST", "/push_to_all", own, header...); status != 200 {
			t.Errorf("%q: %d %+v, want 200", header, status, a)
		}
		p.next()
	}
	// A key does not make a page one of ours.
	s = newServer(t, Options{APIKeys: []string{"k"}})
	if status, a := s.ask("POST", "/push_to_all", "x", "Authorization", "Bearer k", "Sec-Fetch-Site", "cross-site"); status != 403 || a.Field != "Origin" {
		t.Errorf("with a key: %d %+v, want 403 about Origin", status, a)
	}
}

// A page whose own name was pointed at the server gets nothing that tells something.
func TestHost(t *testing.T) {
	const foreign = "evil.example:9991"
	own := []string{"127.0.0.1", "127.0.0.1:1", "[::1]:9991", "10.1.2.3:80", "localhost", "LOCALHOST:9991", "a.localhost"}
	tests := []struct {
		name           string
		o              Options
		auth           string
		allow, refuses []string
	}{
		{"no key", Options{}, "", own, []string{foreign, "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "shop.example"}},
		{"no key, names", Options{AllowHosts: []string{"shop.example", "*.shop.example"}}, "",
			append(own, "shop.example", "api.shop.example:443"), []string{foreign, "shop.example.evil.example"}},
		{"no key, any name", Options{AllowHosts: []string{"*"}}, "", append(own, foreign), nil},
		{"key", Options{APIKeys: []string{"k"}}, "Bearer k", append(own, foreign, "shop.example"), nil},
		{"key, names", Options{APIKeys: []string{"k"}, AllowHosts: []string{"shop.example"}}, "Bearer k",
			append(own, "shop.example"), []string{foreign}},
	}
	calls := []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 200}, {"GET", "/clients", 200}, {"GET", "/stats", 200}, {"GET", "/client?client_id=" + noID, 404},
		{"POST", "/push_to_all", 200}, {"GET", "/nothing", 404}, {"DELETE", "/clients", 405}, {"OPTIONS", "/push_to_all", 405},
		{"POST", "/healthz", 405},
	}
	for _, tt := range tests {
		s := newServer(t, tt.o)
		header := []string{"Authorization", tt.auth}
		for _, c := range calls {
			for _, host := range tt.allow {
				if status, a := s.ask(c.method, c.path, host, header...); status != c.status {
					t.Errorf("%s: %s %s of %s: %d %+v, want %d", tt.name, c.method, c.path, host, status, a, c.status)
				}
			}
			for _, host := range tt.refuses {
				status, a := s.ask(c.method, c.path, host, header...)
				if status != 403 || a.Code != 10014 || a.Field != "Host" || a.Detail == "" {
					t.Errorf("%s: %s %s of %s: %d %+v, want 403 with code 10014 about Host", tt.name, c.method, c.path, host, status, a)
				}
			}
		}
		// Probes come under any.
		for _, path := range []string{"/healthz", "/readyz"} {
			if status, _ := s.ask("GET", path, foreign); status != 200 {
				t.Errorf("%s: GET %s: %d, want 200", tt.name, path, status)
			}
		}
	}
}

// The request line may name the host, too, and then Host does not count.
func TestHostInTheRequestLine(t *testing.T) {
	s := newServer(t, Options{})
	for target, want := range map[string]string{"http://evil.example/clients": "403", "http://localhost/clients": "200"} {
		if got := s.exchange("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 "+want) {
			t.Errorf("%s: %.60q, want %s", target, got, want)
		}
	}
	// No browser leaves it out.
	if got := s.exchange("GET /clients HTTP/1.0\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.0 200") {
		t.Errorf("without a Host: %.60q, want 200", got)
	}
}

// The WebSocket's path is the engine's: it needs no key, and no name either.
func TestWebSocketPathComesFirst(t *testing.T) {
	for _, o := range []Options{{}, {APIKeys: []string{"k"}}, {APIKeys: []string{"k"}, APIOnly: true}, {WebSocketPath: "/here"}} {
		o.Lang = engine.English
		s := newServer(t, o)
		for _, host := range []string{"localhost", "shop.example"} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				// It comes to net/http behind another request.
				conn := s.connect()
				fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: %[1]s\r\n\r\n%[2]s %[3]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", host, method, s.api.wsPath)
				r := bufio.NewReader(conn)
				if resp, _ := readAnswer(t, r, "GET"); resp.StatusCode != 200 {
					t.Fatalf("healthz: %d", resp.StatusCode)
				}
				resp, body := readAnswer(t, r, method)
				var a answer
				_ = json.Unmarshal([]byte(body), &a)
				switch {
				case method == "POST":
					if resp.StatusCode != 405 || a.Code != 10016 || resp.Header.Get("Allow") != "GET" {
						t.Errorf("POST: %d %s %v, want 405", resp.StatusCode, body, resp.Header)
					}
					continue
				case method == "HEAD": // is no handshake, whichever half says so
					if resp.StatusCode != 405 || body != "" || r.Buffered() > 0 {
						t.Errorf("HEAD: %d %q, want 405 without a body", resp.StatusCode, body)
					}
				case resp.StatusCode != 426 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("WWW-Authenticate") != "":
					t.Errorf("%s: %d %s %v, want 426", method, resp.StatusCode, body, resp.Header)
				case method == "GET" && (a.Code != 10002 || strings.Contains(a.Detail, "other listener") != o.APIOnly):
					t.Errorf("APIOnly %v: %s", o.APIOnly, body)
				}
			}
		}
	}
}
