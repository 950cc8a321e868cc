package ws

import "testing"

func TestHostAllowed(t *testing.T) {
	f := func(host string, want bool, names ...string) {
		t.Helper()
		if got := HostAllowed(host, names); got != want {
			t.Errorf("HostAllowed(%q, %q) = %v, want %v", host, names, got, want)
		}
	}
	for _, host := range []string{
		"", "127.0.0.1", "127.0.0.1:9991", "10.1.2.3", "[::1]", "[::1]:9991", "[2001:db8::1]:80",
		"localhost", "LocalHost:9991", "localhost.", "a.localhost:3000",
	} {
		f(host, true)
	}
	for _, host := range []string{
		"evil.example", "evil.example:9991", "evil.example.", "localhost.evil.example", "127.0.0.1.evil.example",
		"notlocalhost", "localhost:9991.evil.example", "evil.example#localhost", "a@localhost", "[evil.example]",
		"127.0.0.1:x", "::1", "carillon", "*", " localhost",
	} {
		f(host, false)
	}
	f("push.example.com", true, "push.example.com")
	f("PUSH.example.com.:443", true, "other", "push.EXAMPLE.com")
	f("push.example.com", true, "push.example.com.")
	f("push.example.com", true, "*.example.com")
	f("example.com", false, "*.example.com")
	f("pushexample.com", false, "*.example.com")
	f("example.com.evil.example", false, "*.example.com", "example.com")
	f("evil.example", true, "*")
	f("127.0.0.1", true, "push.example.com")
	f("a@evil.example", false, "*")
}

func TestValidHostName(t *testing.T) {
	for name, want := range map[string]bool{
		"push.example.com": true, "carillon": true, "*.example.com": true, "*": true, "10.0.0.1": true, "example.com.": true,
		"": false, "example.com:80": false, "https://example.com": false, "a b": false, "*.": false, "a.*.example.com": false,
		"example.com/": false, "[::1]": false,
	} {
		if got := ValidHostName(name); got != want {
			t.Errorf("ValidHostName(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestLoopbackOrigin(t *testing.T) {
	for origin, want := range map[string]bool{
		"http://localhost": true, "http://localhost:3000": true, "https://app.localhost": true, "http://127.0.0.1:8080": true,
		"http://127.9.9.9": true, "http://[::1]:3000": true, "http://[::ffff:127.0.0.1]": true, "http://LOCALHOST.": true,
		"http://10.0.0.1": false, "http://localhost.evil.example": false, "http://evil.example": false, "null": false,
		"file://": false, "": false, "localhost": false, "http://localhost@evil.example": false, "http://localhost/x": false,
		"http://0.0.0.0": false,
	} {
		if got := LoopbackOrigin(origin); got != want {
			t.Errorf("LoopbackOrigin(%q) = %v, want %v", origin, got, want)
		}
	}
}
