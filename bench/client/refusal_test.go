package client

import "testing"

// The status and the first line of the body are told, as soon as they are known,
// however the answer comes in parts.
func TestRefusal(t *testing.T) {
	const said = "the server answers the handshake with "
	for _, tt := range []struct {
		name, answer, want string
		open               bool // only the end says that it has ended
	}{
		{"status alone", "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n", said + "418 I'm a teapot", false},
		{"body", "HTTP/1.1 400 Bad Request\r\nContent-Length: 16\r\n\r\n{\"code\":10001}\r\n", said + `400 Bad Request: {"code":10001}`, false},
		{"first line", "HTTP/1.1 403 Forbidden\r\nContent-Length: 900\r\n\r\n\n <html> \n<body>", said + "403 Forbidden: <html>", false},
		{"chunks", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nno s\r\n8\r\nuch page\r\n0\r\n\r\n", said + "404 Not Found: no such page", false},
		{"until it ends", "HTTP/1.0 400 Bad Request\r\n\r\nan HTTP request to an HTTPS server", said + "400 Bad Request: an HTTP request to an HTTPS server", true},
		{"elsewhere", "HTTP/1.1 301 Moved Permanently\r\nLocation: https://a/\r\nContent-Length: 0\r\n\r\n", said + "301 Moved Permanently to https://a/", false},
		{"for a terminal", "HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n\x1b[31mr\xffed", said + "500 No: [31mred", false},
		{"TLS", "\x15\x03\x01\x00\x02\x02\x46", "the server's answer to the handshake is TLS: want wss:// in its URL", false},
		{"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "the server's answer to the handshake is no HTTP: SSH-2.0-OpenSSH_9.2", false},
	} {
		got, enough := refusal([]byte(tt.answer), tt.open)
		if got != tt.want || !enough {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, enough, tt.want)
		}
		if _, enough := refusal([]byte(tt.answer), false); enough == tt.open {
			t.Errorf("%s: enough is %v before the end", tt.name, enough)
		}
	}
	long := "HTTP/1.1 400 Bad Request\r\nContent-Length: 100000\r\n\r\n"
	for range 300 {
		long += "x"
	}
	if got, enough := refusal([]byte(long), false); len(got) > 300 || !enough {
		t.Errorf("%d bytes are shown, enough %v", len(got), enough)
	}
}
