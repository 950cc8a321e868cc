package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
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
	if want := `<body data-ws-path="/a&#34;b&lt;" data-needs-key="true">`; !strings.Contains(body, want) {
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
