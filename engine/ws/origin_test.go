package ws

import "testing"

func TestOriginAllowed(t *testing.T) {
	f := func(origin, host string, want bool, patterns ...string) {
		t.Helper()
		if got := OriginAllowed(origin, host, patterns); got != want {
			t.Errorf("OriginAllowed(%q, %q, %q) = %v, want %v", origin, host, patterns, got, want)
		}
	}
	f("", "a.example", true)
	f("https://a.example", "a.example", true)
	f("https://A.example", "a.EXAMPLE", true)
	f("https://a.example:8443", "a.example:8443", true)
	f("https://a.example:443", "a.example", true)
	f("http://a.example", "a.example:80", true)
	f("http://[::1]:8080", "[::1]:8080", true)
	f("https://a.example:8443", "a.example", false)
	f("https://b.example", "a.example", false)
	f("https://a.example.evil.example", "a.example", false)
	f("null", "a.example", false)
	f("null", "null", false)
	f("a.example", "a.example", false)
	f("https://a.example/path", "a.example", false)
	f("https://a.example@b.example", "a.example", false)
	f("https://", "", false)

	f("https://a.example", "b.example", true, "https://a.example")
	f("https://A.example", "b.example", true, "HTTPS://a.EXAMPLE")
	f("http://a.example", "a.example", false, "https://a.example")
	f("http://a.example", "a.example", true, "a.example")
	f("https://a.example", "b.example", true, "a.example")
	f("https://a.example", "b.example", true, "https://a.example:443")
	f("https://x.a.example", "b.example", true, "https://*.a.example")
	f("https://x.y.a.example", "b.example", true, "https://*.a.example")
	f("https://a.example", "b.example", false, "https://*.a.example")
	f("https://xa.example", "b.example", false, "https://*.a.example")
	f("https://x.a.example.evil", "b.example", false, "https://*.a.example")
	f("https://x.a.example:8443", "b.example", false, "https://*.a.example")
	f("https://evil/.a.example", "b.example", false, "https://*.a.example")
	f("https://evil?.a.example", "b.example", false, "https://*.a.example")
	f("http://localhost:5173", "b.example", true, "http://localhost:*")
	f("http://localhost", "b.example", false, "http://localhost:*")
	f("http://localhost.evil:80", "b.example", false, "http://localhost:*")
	f("https://a.example", "a.example", false, "https://b.example")
	f("https://c.example", "a.example", true, "https://b.example", "https://c.example")
	f("https://c.example", "a.example", true, "*")
	f("null", "a.example", true, "*")
	f("null", "a.example", true, "https://a.example", "null")
	f("null", "a.example", false, "https://*")
	f("https://aab", "x", true, "*aab")
	f("https://aaab", "x", true, "*aab")
	f("https://aaabaac", "x", false, "*aab")
	f("https://abcd", "x", true, "a*c*")
}

func TestValidOriginPattern(t *testing.T) {
	for p, want := range map[string]bool{
		"*": true, "null": true, "app.example.com": true, "https://*.example.com": true, "http://localhost:*": true,
		"http*://[::1]:80": true, "*://a": true,
		"": false, "https://": false, "https://a/": false, "https://a/b": false, "a b": false, "://a": false,
		"https://user@a": false, "a:http": false, "https://a?b": false,
	} {
		if got := ValidOriginPattern(p); got != want {
			t.Errorf("%q: %v, want %v", p, got, want)
		}
	}
}
