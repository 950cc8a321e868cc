package ws

import "strings"

// OriginAllowed reports whether a handshake from a page of origin may be accepted
// on host, the request's Host (RFC 6455 section 10.2). The check is against other
// people's pages in a browser; other clients send what they like, or nothing, so
// an empty origin is allowed.
//
// Without patterns, an origin with the same host and port is allowed. With
// patterns, one of them has to match, in any case: "https://app.example.com"
// matches an origin, "app.example.com" one of any scheme. "*" stands for any
// characters but "/": "https://*.example.com" for every subdomain,
// "http://localhost:*" for every port, "*" for everything. A default port is the
// same as none. The origin "null" of a sandboxed page matches only "null" and
// "*".
func OriginAllowed(origin, host string, patterns []string) bool {
	if origin == "" {
		return true
	}
	scheme, authority, ok := strings.Cut(origin, "://")
	if !ok || !validToken(scheme) || !validAuthority(authority) {
		for _, p := range patterns {
			if p == "*" || p == "null" && origin == "null" {
				return true
			}
		}
		return false
	}
	authority = withoutDefaultPort(scheme, authority)
	if len(patterns) == 0 {
		return equalFold(authority, withoutDefaultPort(scheme, host))
	}
	for _, p := range patterns {
		wantScheme, want, ok := strings.Cut(p, "://")
		if !ok {
			wantScheme, want = "*", p
		}
		if glob(wantScheme, scheme) && (want == "*" || glob(withoutDefaultPort(wantScheme, want), authority)) {
			return true
		}
	}
	return false
}

// ValidOriginPattern reports whether p is a pattern of OriginAllowed that some
// origin can match.
func ValidOriginPattern(p string) bool {
	if p == "*" || p == "null" {
		return true
	}
	scheme, authority, ok := strings.Cut(p, "://")
	if !ok {
		scheme, authority = "*", p
	}
	return validToken(scheme) && validAuthority(strings.ReplaceAll(authority, "*", "0"))
}

// withoutDefaultPort returns authority without the port that scheme implies.
func withoutDefaultPort(scheme, authority string) string {
	port := ""
	switch {
	case equalFold(scheme, "http"):
		port = ":80"
	case equalFold(scheme, "https"):
		port = ":443"
	}
	return strings.TrimSuffix(authority, port)
}

// glob matches s against a pattern in which "*" stands for any characters. s has
// no "/" in it.
func glob(pattern, s string) bool {
	// A star that failed need not be tried again once a later one has matched:
	// going back to the last is enough, and keeps this from being exponential.
	star, mark := -1, 0
	p := 0
	for i := 0; i < len(s); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && lower(pattern[p]) == lower(s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
