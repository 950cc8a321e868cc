package ws

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// upgradeHead is a valid handshake with the header lines in change replaced,
// removed if the value is nil, or repeated if it has several.
func upgradeHead(line string, change map[string][]string) string {
	fields := []HeaderField{
		{"Host", "example.com"},
		{"Upgrade", "websocket"},
		{"Connection", "Upgrade"},
		{"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
		{"Sec-WebSocket-Version", "13"},
	}
	var b strings.Builder
	b.WriteString(line + "\r\n")
	for _, f := range fields {
		if _, ok := change[f.Name]; !ok {
			b.WriteString(f.Name + ": " + f.Value + "\r\n")
		}
	}
	for name, values := range change {
		for _, v := range values {
			b.WriteString(name + ": " + v + "\r\n")
		}
	}
	return b.String() + "\r\n"
}

func TestCheckUpgrade(t *testing.T) {
	const get = "GET /ws HTTP/1.1"
	type h = map[string][]string
	tests := []struct {
		name   string
		line   string
		change h
		status int
		reason string
	}{
		{"least", get, nil, 0, ""},
		{"later minor version", "GET /ws HTTP/1.2", nil, 0, ""},
		{"absolute-form", "GET https://example.com/ws HTTP/1.1", nil, 0, ""},
		{"any case", get, h{"Upgrade": {"WebSocket"}, "Connection": {"upgrade"}}, 0, ""},
		{"lists", get, h{"Upgrade": {"h2c, websocket"}, "Connection": {"keep-alive , ,Upgrade"}}, 0, ""},
		{"several lines", get, h{"Upgrade": {"h2c", "websocket"}, "Connection": {"keep-alive", "Upgrade"}}, 0, ""},
		{"no body, said so", get, h{"Content-Length": {"0"}}, 0, ""},
		{"host with a port", get, h{"Host": {"example.com:8080"}}, 0, ""},

		{"POST", "POST /ws HTTP/1.1", nil, 405, "method"},
		{"method in lower case", "get /ws HTTP/1.1", nil, 405, "method"},
		{"HTTP/1.0", "GET /ws HTTP/1.0", nil, 400, "http_1_0"},
		{"no Host", get, h{"Host": nil}, 400, "host"},
		{"empty Host", get, h{"Host": {""}}, 400, "host"},
		{"two Hosts", get, h{"Host": {"example.com", "example.com"}}, 400, "host"},
		{"bad Host", get, h{"Host": {"exa mple.com"}}, 400, "host"},
		{"no Host beside an absolute-form target", "GET http://a/ws HTTP/1.1", h{"Host": nil}, 400, "host"},
		{"body", get, h{"Content-Length": {"1"}}, 400, "body"},
		{"body of odd length", get, h{"Content-Length": {"0, 1"}}, 400, "body"},
		{"body behind an empty one", get, h{"Content-Length": {"0", "5"}}, 400, "body"},
		{"chunked", get, h{"Transfer-Encoding": {"chunked"}}, 400, "body"},
		{"no Upgrade", get, h{"Upgrade": nil}, 426, "upgrade"},
		{"other Upgrade", get, h{"Upgrade": {"websockets, h2c"}}, 426, "upgrade"},
		{"no Connection", get, h{"Connection": nil}, 400, "connection"},
		{"other Connection", get, h{"Connection": {"keep-alive"}}, 400, "connection"},
		{"no version", get, h{"Sec-WebSocket-Version": nil}, 426, "version"},
		{"old version", get, h{"Sec-WebSocket-Version": {"8"}}, 426, "version"},
		{"version list", get, h{"Sec-WebSocket-Version": {"13, 8"}}, 426, "version"},
		{"two versions", get, h{"Sec-WebSocket-Version": {"13", "13"}}, 426, "version"},
		{"no key", get, h{"Sec-WebSocket-Key": nil}, 400, "key"},
		{"two keys", get, h{"Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="}}, 400, "key"},
		{"key of 15 bytes", get, h{"Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25j"}}, 400, "key"},
		{"key of 17 bytes", get, h{"Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZWU="}}, 400, "key"},
		{"key of 19 bytes", get, h{"Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZWVlZQ=="}}, 400, "key"},
		{"key not in base64", get, h{"Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25j*Q=="}}, 400, "key"},
		{"key in the URL alphabet", get, h{"Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub2-_ZQ=="}}, 400, "key"},
		{"two Origins", get, h{"Origin": {"https://a", "https://b"}}, 400, "origin_count"},
	}
	for _, tt := range tests {
		head := upgradeHead(tt.line, tt.change)
		r, _, err := ParseRequest([]byte(head))
		if err != nil {
			t.Errorf("%s: ParseRequest(%q): %v", tt.name, head, err)
			continue
		}
		err = r.CheckUpgrade()
		if got := reasonOf(err); got != tt.reason {
			t.Errorf("%s: CheckUpgrade(%q) = %v, want %q", tt.name, head, err, tt.reason)
			continue
		}
		if err == nil {
			continue
		}
		refusal := err.(*HandshakeError)
		raw := refusal.AppendTo(nil)
		answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
		if err != nil {
			t.Errorf("%s: net/http cannot read the answer: %v", tt.name, err)
			continue
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || string(body) != refusal.Message+"\n" {
			t.Errorf("%s: body %q, %v", tt.name, body, err)
		}
		if answer.StatusCode != tt.status || !answer.Close {
			t.Errorf("%s: answered %s, close %v; want %d", tt.name, answer.Status, answer.Close, tt.status)
		}
		switch tt.status {
		case 405:
			if answer.Header.Get("Allow") != "GET" {
				t.Errorf("%s: no Allow in %q", tt.name, answer.Header)
			}
		case 426: // RFC 9110 section 15.5.22
			if answer.Header.Get("Upgrade") != "websocket" || !bytes.Contains(raw, []byte("\r\nConnection: close, upgrade\r\n")) {
				t.Errorf("%s: no Upgrade in %q", tt.name, raw)
			}
			if tt.reason == "version" && answer.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("%s: no version in %q", tt.name, answer.Header)
			}
		}
	}
}

func TestAcceptKey(t *testing.T) {
	// RFC 6455 section 1.3.
	if got, want := AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("AcceptKey = %q, want %q", got, want)
	}
}

func TestSubprotocols(t *testing.T) {
	head := upgradeHead("GET / HTTP/1.1", map[string][]string{"Sec-WebSocket-Protocol": {"chat.v2, chat.v1,,", "b@d", " x "}})
	r, _, err := ParseRequest([]byte(head))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Subprotocols(), []string{"chat.v2", "chat.v1", "x"}; !slices.Equal(got, want) {
		t.Errorf("Subprotocols() = %q, want %q", got, want)
	}
}

func BenchmarkCheckUpgrade(b *testing.B) {
	r, _, err := ParseRequest([]byte(browserHead))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.CheckUpgrade(); err != nil {
			b.Fatal(err)
		}
	}
}
