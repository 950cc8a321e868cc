package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestDemoPage(t *testing.T) {
	s := newServer(t, Options{WebSocketPath: `/a"b<`, APIKeys: []string{"k"}})
	resp, body := s.do("GET", "/?system_id=7", "", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if want := `<body data-ws-path="/a&#34;b&lt;" data-ws-host="" data-ws-port="" data-ws-tls="false" data-needs-key="true">`; !strings.Contains(body, want) {
		t.Errorf("no %s in the page", want)
	}
	if strings.Contains(body, "{{") {
		t.Error("the page has a placeholder left")
	}
	policy := resp.Header.Get("Content-Security-Policy")
	if strings.Contains(policy, "unsafe") || !strings.HasPrefix(policy, "default-src 'none'; ") {
		t.Errorf("policy %q", policy)
	}
	for _, element := range []string{"script", "style"} {
		found := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(body, -1)
		if len(found) != 1 {
			t.Fatalf("%d %s elements, want 1", len(found), element)
		}
		sum := sha256.Sum256([]byte(found[0][1]))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("policy %q does not allow the page's %s: %s", policy, element, want)
		}
	}
	// What the policy would block must not be there.
	if bad := regexp.MustCompile(`(?i)\s(style|on[a-z]+)="|src="|href="http|[: ]url\(|@import`).FindString(body); bad != "" {
		t.Errorf("the page has %q", bad)
	}
}

// With a listener of the API's own the page connects to the clients', and the policy
// lets it, whatever name the page is called by.
func TestDemoPageOfItsOwnListener(t *testing.T) {
	s := newServerOn(t, Options{APIOnly: true, ClientsTLS: true}, port{own: true})
	_, clients, _ := net.SplitHostPort(s.eng.Addr().String())
	for host, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:" + clients, "localhost": "localhost:" + clients, "[::1]:80": "*:" + clients,
	} {
		req, _ := http.NewRequest("GET", s.url+"/", nil)
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := `data-ws-host="" data-ws-port="` + clients + `" data-ws-tls="true"`; !strings.Contains(string(body), want) {
			t.Errorf("%s: no %s in the page", host, want)
		}
		if want := "; connect-src 'self' ws://" + want + " wss://" + want + ";"; !strings.Contains(resp.Header.Get("Content-Security-Policy"), want) {
			t.Errorf("%s: the policy is %s, want%s", host, resp.Header.Get("Content-Security-Policy"), want)
		}
	}
}

func TestConnectSource(t *testing.T) {
	for _, tt := range []struct{ host, called, want string }{
		{"", "push.example:9992", " ws://push.example:1 wss://push.example:1"},
		{"", "push.example", " ws://push.example:1 wss://push.example:1"},
		{"192.0.2.1", "push.example", " ws://192.0.2.1:1 wss://192.0.2.1:1"},
		{"[2001:db8::1]", "push.example", " ws://*:1 wss://*:1"},
		{"", "[2001:db8::1]:9992", " ws://*:1 wss://*:1"},
		{"", "a; script-src *", " ws://*:1 wss://*:1"}, // no Host adds to the policy
		{"", "a b", " ws://*:1 wss://*:1"},
		{"", "", " ws://*:1 wss://*:1"},
	} {
		c := &call{r: &http.Request{Host: tt.called}}
		if got := c.connectSource(tt.host, "1"); got != tt.want {
			t.Errorf("of %q, called %q: %q, want %q", tt.host, tt.called, got, tt.want)
		}
	}
}
