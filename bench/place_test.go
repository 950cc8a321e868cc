package main

import "testing"

func TestURLs(t *testing.T) {
	for in, want := range map[string]place{
		"ws://a:1":                      {false, "a:1", "a:1", "/"},
		"ws://a/x?y={system}":           {false, "a", "a:80", "/x?y={system}"},
		"wss://a/x":                     {true, "a", "a:443", "/x"},
		"wss://a:80?x=@":                {true, "a:80", "a:80", "/?x=@"},
		"ws://[::1]:5?g={group}":        {false, "[::1]:5", "[::1]:5", "/?g={group}"},
		"wss://[::1]":                   {true, "[::1]", "[::1]:443", "/"},
		"ws://127.0.0.1:9991/ws?a=b&c=": {false, "127.0.0.1:9991", "127.0.0.1:9991", "/ws?a=b&c="},
	} {
		if got, err := parseWebSocketURL(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]place{
		"http://h/push_to_{target}?x={y}": {false, "h", "h:80", "/push_to_{target}?x={y}"},
		"https://h":                       {true, "h", "h:443", "/"},
	} {
		if got, err := parseHTTPURL(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "https://a/", "wsss://a/", "ws:/a", "ws://", "ws://a:0/", "ws://a:99999", "ws://a b/", "ws://a:1@b/", "ws://{group}/", "ws://a/#b"} {
		if got, err := parseWebSocketURL(in); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestTLSOfPlaces(t *testing.T) {
	if (place{addr: "a:1"}).tls(true) != nil {
		t.Error("a plain place is encrypted")
	}
	for addr, name := range map[string]string{"a:1": "a", "[::1]:443": "::1"} {
		if c := (place{secure: true, addr: addr}).tls(false); c.ServerName != name || c.InsecureSkipVerify {
			t.Errorf("%s: the certificate is for %s, unchecked %v", addr, c.ServerName, c.InsecureSkipVerify)
		}
	}
}
