package ws

import "testing"

func TestPeekRequestLine(t *testing.T) {
	tests := []struct {
		in, method, path string
		complete         bool
		reason           string
	}{
		{"", "", "", false, ""},
		{"GE", "", "", false, ""},
		{"GET ", "GET", "", false, ""},
		{"GET /ws", "GET", "", false, ""},
		{"GET /ws ", "GET", "/ws", true, ""},
		{"GET /ws?a=b HT", "GET", "/ws", true, ""},
		{"GET http://a.example/ws?b HTTP/1.1\r\nA", "GET", "/ws", true, ""},
		{"GET http://a.example HTTP/1.1\r\n", "GET", "/", true, ""},
		{"CONNECT a:1 HTTP/1.1\r\n", "CONNECT", "", true, ""},
		{"POST /push_to_all HTTP/1.1\r\n\x00", "POST", "/push_to_all", true, ""},
		{"\x16\x03", "", "", false, "request_line"},
		{"GET ws ", "", "", false, "target"},
		{"GET / HTTP/3", "GET", "/", true, ""},
		{"GET / HTTP/3.0\r\n", "", "", false, "http_version"},
	}
	for _, tt := range tests {
		method, path, complete, err := PeekRequestLine([]byte(tt.in))
		if string(method) != tt.method || string(path) != tt.path || complete != tt.complete || reasonOf(err) != tt.reason {
			t.Errorf("PeekRequestLine(%q) = %q %q %v %v, want %q %q %v %q",
				tt.in, method, path, complete, err, tt.method, tt.path, tt.complete, tt.reason)
		}
	}
}

func TestValidAuthority(t *testing.T) {
	f := func(in string, want bool) {
		t.Helper()
		if got := validAuthority(in); got != want {
			t.Errorf("validAuthority(%q) = %v, want %v", in, got, want)
		}
	}
	f("example.com", true)
	f("example.com:80", true)
	f("example.com:", true)
	f("127.0.0.1:1", true)
	f("[::1]", true)
	f("[::1]:80", true)
	f("a%20b", true)
	f("", false)
	f(":80", false)
	f("[]", false)
	f("[::1", false)
	f("::1", false)
	f("a:b", false)
	f("a:1:2", false)
	f("a/b", false)
	f("a b", false)
	f("u@a", false)
	f("a,b", true) // a registered name may have one
	f("[a]b", false)
}
