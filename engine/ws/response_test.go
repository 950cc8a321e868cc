package ws

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
)

func TestAppendSwitchingProtocols(t *testing.T) {
	got := string(AppendSwitchingProtocols([]byte("before "), "dGhlIHNhbXBsZSBub25jZQ==", "", ""))
	want := "before HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	b := AppendSwitchingProtocols(nil, "dGhlIHNhbXBsZSBub25jZQ==", "chat", "permessage-deflate",
		HeaderField{"Server", "carillon"}, HeaderField{"X-Split", "a\r\nSet-Cookie: b"}, HeaderField{"X Bad", "c"})
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Sec-WebSocket-Protocol":   "chat",
		"Sec-WebSocket-Extensions": "permessage-deflate",
		"Server":                   "carillon",
		"X-Split":                  "a  Set-Cookie: b",
		"Set-Cookie":               "",
		"X Bad":                    "",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestAppendHTTPError(t *testing.T) {
	got := string(AppendHTTPError(nil, 503, "application/json", `{"code":1}`, HeaderField{"Retry-After", "5"}))
	want := "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 10\r\n" +
		"X-Content-Type-Options: nosniff\r\nConnection: close\r\nRetry-After: 5\r\n\r\n" + `{"code":1}`
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for status := 400; status < 600; status++ {
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(AppendHTTPError(nil, status, "text/plain", ""))), nil)
		if err != nil || r.StatusCode != status {
			t.Errorf("status %d: %v", status, err)
		}
		// RFC 9110 has renamed 413 and 414.
		if text := statusText(status); text != "" && status != 413 && status != 414 && text != http.StatusText(status) {
			t.Errorf("status %d is %q, want %q", status, text, http.StatusText(status))
		}
	}
}
