package ws

import (
	"bufio"
	"bytes"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// browserHead is what a current browser sends, cookies and all.
const browserHead = "GET /ws?system=shop&token=eyJhbGciOiJIUzI1NiJ9 HTTP/1.1\r\n" +
	"Host: push.example.com:8080\r\n" +
	"Connection: Upgrade\r\n" +
	"Pragma: no-cache\r\n" +
	"Cache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\n" +
	"Origin: https://app.example.com\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9,zh-CN;q=0.8,zh;q=0.7\r\n" +
	"Cookie: session=0f6a3c52d1f94c6b8a5d7e90b1c2d3e4; theme=dark; consent=all\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" +
	"\r\n"

// reasonOf returns the reason of a refusal, "" for nil, or the text of any other
// error.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if he := (*HandshakeError)(nil); errors.As(err, &he) {
		return he.Reason
	}
	return err.Error()
}

func TestParseRequest(t *testing.T) {
	const incomplete = "incomplete"
	tests := []struct {
		name, in, want string // want is the reason of the refusal
	}{
		{"browser", browserHead, ""},
		{"least", "GET / HTTP/1.1\r\n\r\n", ""},
		{"any method", "PURGE! / HTTP/1.1\r\n\r\n", ""},
		{"minor version", "GET / HTTP/1.9\r\n\r\n", ""},
		{"old minor version", "GET / HTTP/1.0\r\n\r\n", ""},
		{"tab in a value", "GET / HTTP/1.1\r\nA: b\tc\r\n\r\n", ""},
		{"high bytes in a value", "GET / HTTP/1.1\r\nA: \x80\xff caf\xc3\xa9\r\n\r\n", ""},
		{"empty value", "GET / HTTP/1.1\r\nA:\r\n\r\n", ""},
		{"asterisk", "OPTIONS * HTTP/1.1\r\n\r\n", ""},
		{"authority", "CONNECT example.com:443 HTTP/1.1\r\n\r\n", ""},
		{"pipe in the query", "GET /?a|b HTTP/1.1\r\n\r\n", ""},

		{"nothing", "", incomplete},
		{"no empty line", "GET / HTTP/1.1\r\nA: b\r\n", incomplete},
		{"half a line end", "GET / HTTP/1.1\r\nA: b\r\n\r", incomplete},

		{"empty line first", "\r\nGET / HTTP/1.1\r\n\r\n", "request_line"},
		{"space first", " GET / HTTP/1.1\r\n\r\n", "request_line"},
		{"method not a token", "G@T / HTTP/1.1\r\n\r\n", "request_line"},
		{"TLS hello", "\x16\x03\x01\x02", "request_line"},
		{"HTTP/0.9", "GET /\r\n", "target"},
		{"two spaces", "GET  / HTTP/1.1\r\n\r\n", "target"},
		{"two spaces after", "GET /  HTTP/1.1\r\n\r\n", "request_line"},
		{"space at the end", "GET / HTTP/1.1 \r\n\r\n", "request_line"},
		{"tab between", "GET\t/ HTTP/1.1\r\n\r\n", "request_line"},
		{"relative target", "GET ws HTTP/1.1\r\n\r\n", "target"},
		{"asterisk for GET", "GET * HTTP/1.1\r\n\r\n", "target"},
		{"control in target", "GET /\x01 HTTP/1.1\r\n\r\n", "target"},
		{"delete in target", "GET /\x7f HTTP/1.1\r\n\r\n", "target"},
		{"high byte in target", "GET /\xc3\xa9 HTTP/1.1\r\n\r\n", "target"},
		{"fragment", "GET /#a HTTP/1.1\r\n\r\n", "target"},
		{"other scheme", "GET ftp://a/ HTTP/1.1\r\n\r\n", "target"},
		{"no authority", "GET http:///a HTTP/1.1\r\n\r\n", "target"},
		{"user information", "GET http://u@a/ HTTP/1.1\r\n\r\n", "target"},
		{"port not a number", "GET http://a:b/ HTTP/1.1\r\n\r\n", "target"},
		{"CONNECT to a path", "CONNECT / HTTP/1.1\r\n\r\n", "target"},
		{"lower-case version", "GET / http/1.1\r\n\r\n", "request_line"},
		{"version of two digits", "GET / HTTP/1.10\r\n\r\n", "request_line"},
		{"HTTP/2", "GET / HTTP/2.0\r\n\r\n", "http_version"},
		{"HTTP/0", "GET / HTTP/0.9\r\n\r\n", "http_version"},

		{"line feed alone after the request line", "GET / HTTP/1.1\nA: b\r\n\r\n", "line_ending"},
		{"carriage return alone after the request line", "GET / HTTP/1.1\rA: b\r\n\r\n", "line_ending"},
		{"line feed alone after a header", "GET / HTTP/1.1\r\nA: b\n\r\n", "line_ending"},
		{"carriage return alone in a value", "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "line_ending"},
		{"line feed alone for the empty line", "GET / HTTP/1.1\r\nA: b\r\n\n", "line_ending"},
		{"carriage return alone for the empty line", "GET / HTTP/1.1\r\nA: b\r\n\rx", "line_ending"},
		{"folded line", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "header_name"},
		{"folded line with a tab", "GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", "header_name"},
		{"folded first line", "GET / HTTP/1.1\r\n A: b\r\n\r\n", "header_name"},
		{"space before the colon", "GET / HTTP/1.1\r\nA : b\r\n\r\n", "header_name"},
		{"no name", "GET / HTTP/1.1\r\n: b\r\n\r\n", "header_name"},
		{"no colon", "GET / HTTP/1.1\r\nA\r\n\r\n", "header_name"},
		{"name not a token", "GET / HTTP/1.1\r\nA(: b\r\n\r\n", "header_name"},
		{"high byte in a name", "GET / HTTP/1.1\r\n\xc3\xa9: b\r\n\r\n", "header_name"},
		{"NUL in a value", "GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n", "header_value"},
		{"escape in a value", "GET / HTTP/1.1\r\nA: 12345678\x1b\r\n\r\n", "header_value"},
		{"delete in a value", "GET / HTTP/1.1\r\nA: 12345678\x7f\r\n\r\n", "header_value"},
		{"delete inside a long value", "GET / HTTP/1.1\r\nA: 1234\x7f567890123456\r\n\r\n", "header_value"},
		{"most headers", "GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", MaxHeaders) + "\r\n", ""},
		{"too many headers", "GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", MaxHeaders+1) + "\r\n", "header_count"},
	}
	for _, tt := range tests {
		want := tt.want
		if want == incomplete {
			want = ErrIncomplete.Error()
		}
		_, n, err := ParseRequest([]byte(tt.in))
		if got := reasonOf(err); got != want {
			t.Errorf("%s: ParseRequest(%q) = %q, want %q", tt.name, tt.in, got, want)
		}
		if err == nil && n != len(tt.in) {
			t.Errorf("%s: ParseRequest(%q) took %d bytes of %d", tt.name, tt.in, n, len(tt.in))
		}
		checkCuts(t, []byte(tt.in))
	}
}

// checkCuts parses every prefix of b: it has to be incomplete until the result is
// that of the whole.
func checkCuts(t *testing.T, b []byte) {
	t.Helper()
	whole, n, err := ParseRequest(b)
	for cut := range b {
		r, m, cutErr := ParseRequest(b[:cut:cut])
		if err == nil && cut >= n {
			if cutErr != nil || m != n || !sameRequest(r, whole) {
				t.Fatalf("%q: followed by %d bytes: %v", b[:n], cut-n, cutErr)
			}
			continue
		}
		if cutErr == ErrIncomplete {
			continue
		}
		if err == nil || cutErr == nil || reasonOf(cutErr) != reasonOf(err) {
			t.Fatalf("%q: cut at %d: %v, whole: %v", b, cut, cutErr, err)
		}
	}
}

func sameRequest(a, b Request) bool {
	return a.Method == b.Method && a.Target == b.Target && a.Path == b.Path && a.RawQuery == b.RawQuery &&
		a.Host == b.Host && a.Proto == b.Proto && slices.Equal(a.fields, b.fields)
}

func TestParseRequestTarget(t *testing.T) {
	tests := []struct{ line, path, query, host string }{
		{"GET /", "/", "", "h"},
		{"GET /a/b?c=d?e", "/a/b", "c=d?e", "h"},
		{"GET /?", "/", "", "h"},
		{"GET /%2e%zz?%3F", "/%2e%zz", "%3F", "h"},
		{"GET //a", "//a", "", "h"},
		{"GET http://x.example:8080/a?b", "/a", "b", "x.example:8080"},
		{"GET HTTPS://x.example/a?b", "/a", "b", "x.example"},
		{"GET http://x.example", "/", "", "x.example"},
		{"GET http://x.example?a/b", "/", "a/b", "x.example"},
		{"GET http://[2001:db8::1]:80/", "/", "", "[2001:db8::1]:80"},
		{"OPTIONS *", "*", "", "h"},
		{"CONNECT x.example:443", "", "", "x.example:443"},
	}
	for _, tt := range tests {
		head := []byte(tt.line + " HTTP/1.1\r\nhost: \t h \t\r\n\r\n")
		r, _, err := ParseRequest(head)
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		if r.Path != tt.path || r.RawQuery != tt.query || r.Host != tt.host {
			t.Errorf("%s: path %q query %q host %q, want %q %q %q", tt.line, r.Path, r.RawQuery, r.Host, tt.path, tt.query, tt.host)
		}
		if got := r.Method + " " + r.Target; got != tt.line || r.Proto != "HTTP/1.1" {
			t.Errorf("%s: got %s %s", tt.line, got, r.Proto)
		}
	}
}

func TestRequestHeaders(t *testing.T) {
	in := []byte("GET / HTTP/1.1\r\nA: 1\r\nb:  2 \r\nB:\t\r\na: 3\r\n\r\nrest")
	r, n, err := ParseRequest(in)
	if err != nil || string(in[n:]) != "rest" {
		t.Fatalf("ParseRequest: %d, %v", n, err)
	}
	for i := range in {
		in[i] = 'x' // the connection's next read
	}
	var all []string
	for name, value := range r.Headers() {
		all = append(all, name+"="+value)
	}
	if want := []string{"A=1", "b=2", "B=", "a=3"}; !slices.Equal(all, want) {
		t.Errorf("Headers: %q, want %q", all, want)
	}
	if got := slices.Collect(r.Values("B")); !slices.Equal(got, []string{"2", ""}) {
		t.Errorf("Values: %q", got)
	}
	if v, ok := r.Header("B"); v != "2" || !ok {
		t.Errorf("Header(B) = %q, %v", v, ok)
	}
	if v, ok := r.Header("\u212a"); ok { // KELVIN SIGN
		t.Errorf("Header(\\u212a) = %q", v)
	}
	if r.Origin() != "" {
		t.Errorf("Origin() = %q", r.Origin())
	}
}

// FuzzParseRequest: a cut changes nothing, and what is accepted means to net/http
// what it means here.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(browserHead), 40)
	f.Add([]byte("GET http://a.example:80?b HTTP/1.1\r\nHost: c\r\n\r\n"), 9)
	f.Add([]byte("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), 23)
	f.Add([]byte("OPTIONS * HTTP/1.0\r\nContent-Length: 0\r\n\r\n"), 3)
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\nHost: b\r\n\r\n"), 30)
	f.Add([]byte("GET / HTTP/1.1\r\nA: \x7f\r\n\r\n"), 20)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		whole, n, err := ParseRequest(b)
		cut = int(uint(cut) % uint(len(b)+1))
		switch part, m, cutErr := ParseRequest(b[:cut:cut]); {
		case cutErr == ErrIncomplete && (err != nil || cut < n):
		case cutErr == nil && err == nil && m == n && sameRequest(part, whole):
		case cutErr != nil && err != nil && reasonOf(cutErr) == reasonOf(err):
		default:
			t.Fatalf("cut at %d: %d, %v; whole: %d, %v", cut, m, cutErr, n, err)
		}
		method, path, complete, peekErr := PeekRequestLine(b)
		if err == nil && (peekErr != nil || !complete || string(method) != whole.Method || string(path) != whole.Path) {
			t.Fatalf("peek: %q %q %v %v; whole: %q %q", method, path, complete, peekErr, whole.Method, whole.Path)
		}
		if err != nil || whole.CheckUpgrade() != nil {
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			if ue := (*url.Error)(nil); errors.As(err, &ue) {
				return // percent-encoding is left to whoever decodes the path
			}
			t.Fatalf("net/http refuses %q: %v", b[:n], err)
		}
		if theirs.Method != whole.Method || theirs.RequestURI != whole.Target || theirs.Host != whole.Host ||
			theirs.Proto != whole.Proto || theirs.URL.RawQuery != whole.RawQuery {
			t.Fatalf("net/http: %q %q %q %q %q; here: %+v", theirs.Method, theirs.RequestURI, theirs.Host, theirs.Proto, theirs.URL.RawQuery, whole)
		}
		if theirs.ContentLength != 0 || len(theirs.TransferEncoding) != 0 {
			t.Fatalf("net/http sees a body in %q", b[:n])
		}
		ours := http.Header{}
		for name, value := range whole.Headers() {
			if !equalFold(name, "Host") {
				ours.Add(name, value)
			}
		}
		theirs.Header.Del("Host")
		// It takes these two into fields of the request.
		for _, name := range []string{"Transfer-Encoding", "Trailer"} {
			ours.Del(name)
			theirs.Header.Del(name)
		}
		// It understands "Pragma: no-cache" as this (RFC 7234 section 5.4).
		if _, ok := ours["Cache-Control"]; !ok && ours.Get("Pragma") == "no-cache" {
			ours.Set("Cache-Control", "no-cache")
		}
		if !maps.EqualFunc(ours, theirs.Header, slices.Equal) {
			t.Fatalf("net/http: %q; here: %q", theirs.Header, ours)
		}
	})
}

func BenchmarkParseRequest(b *testing.B) {
	head := []byte(browserHead)
	b.SetBytes(int64(len(head)))
	b.Run("ws", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := ParseRequest(head); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ws+CheckUpgrade", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r, _, err := ParseRequest(head)
			if err != nil || r.CheckUpgrade() != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("net-http", func(b *testing.B) {
		b.ReportAllocs()
		src := bytes.NewReader(head)
		buf := bufio.NewReader(src)
		for b.Loop() {
			src.Reset(head)
			buf.Reset(src)
			if _, err := http.ReadRequest(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
