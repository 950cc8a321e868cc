package ws

import (
	"slices"
	"testing"
)

func TestNegotiateDeflate(t *testing.T) {
	const (
		plain  = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
		with15 = plain + "; server_max_window_bits=15"
		with10 = plain + "; server_max_window_bits=10"
	)
	f := func(want string, small bool, lines ...string) {
		t.Helper()
		params, got, ok := NegotiateDeflate(slices.Values(lines), DeflateConfig{SmallWindows: small})
		bits := 0
		switch want {
		case plain, with15:
			bits = 15
		case with10:
			bits = 10
		}
		if got != want || ok != (want != "") || params.ServerMaxWindowBits != bits {
			t.Errorf("NegotiateDeflate(%q) = %+v, %q, %v, want %d, %q", lines, params, got, ok, bits, want)
		}
	}
	f("", false)
	f("", false, "")
	f("", false, "x-webkit-deflate-frame")
	f("", false, "Permessage-Deflate-Frame, permessage-bzip2; a=b")
	f(plain, false, "permessage-deflate")
	f(plain, false, "permessage-deflate; client_max_window_bits") // browsers
	f(plain, false, " permessage-deflate ; client_max_window_bits = 9 ")
	f(plain, false, `permessage-deflate; client_max_window_bits="12"`)
	f(plain, false, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	f(with15, false, "permessage-deflate; server_max_window_bits=15")
	f(with15, false, `permessage-deflate; server_max_window_bits="1\5"`)

	// In order, over several lines, the first that can be honoured.
	f(with15, false, "foo, permessage-deflate; server_max_window_bits=15", "permessage-deflate")
	f(plain, false, "foo", "permessage-deflate, permessage-deflate; server_max_window_bits=15")
	f(plain, false, "permessage-deflate; server_max_window_bits=10, permessage-deflate")
	f(plain, false, `foo; a="x, permessage-deflate; server_max_window_bits=15", permessage-deflate`)

	// What is inside a quoted string is not an offer.
	f("", false, `foo; a="x, permessage-deflate, y"`)
	f("", false, `foo; a="\", permessage-deflate, \""`)

	// A window that cannot be honoured, unless it can.
	f("", false, "permessage-deflate; server_max_window_bits=10")
	f("", false, "permessage-deflate; server_max_window_bits=14; client_max_window_bits")
	f(with10, true, "permessage-deflate; server_max_window_bits=10")
	f(with10, true, "permessage-deflate; server_max_window_bits=10, permessage-deflate")

	// Offers that are not valid, alone and before one that is.
	for _, bad := range []string{
		"permessage-deflate; unknown",
		"permessage-deflate; server_no_context_takeover=true",
		"permessage-deflate; client_no_context_takeover=",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover",
		"permessage-deflate; client_max_window_bits=10; client_max_window_bits=10",
		"permessage-deflate; server_max_window_bits",
		"permessage-deflate; server_max_window_bits=",
		"permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_max_window_bits=08",
		"permessage-deflate; server_max_window_bits=+9",
		"permessage-deflate; server_max_window_bits=a",
		`permessage-deflate; server_max_window_bits="15`,
		`permessage-deflate; server_max_window_bits="15"x`,
		"permessage-deflate; client_max_window_bits=",
		"permessage-deflate; client_max_window_bits=7",
		"permessage-deflate; client_max_window_bits=015",
		"permessage-deflate;",
		"permessage-deflate;; client_max_window_bits",
		"PERMESSAGE-DEFLATE",
	} {
		f("", true, bad)
		f(plain, true, bad, "permessage-deflate")
	}
}

// FuzzNegotiateDeflate: any header gives one of the answers there are, and a
// window that was asked for.
func FuzzNegotiateDeflate(f *testing.F) {
	f.Add("permessage-deflate; server_max_window_bits=10, permessage-deflate", true)
	f.Add(`foo; a="b\",", permessage-deflate; client_max_window_bits="9"`, false)
	f.Fuzz(func(t *testing.T, line string, small bool) {
		params, response, ok := NegotiateDeflate(slices.Values([]string{line}), DeflateConfig{SmallWindows: small})
		if !ok {
			if response != "" || params != (DeflateParams{}) {
				t.Fatalf("%q: declined with %q, %+v", line, response, params)
			}
			return
		}
		if bits := params.ServerMaxWindowBits; bits > MaxWindowBits || bits < minWindowBits || !small && bits != MaxWindowBits {
			t.Fatalf("%q: window %d", line, bits)
		}
		// The answer is itself an offer that would be taken.
		again, same, ok := NegotiateDeflate(slices.Values([]string{response}), DeflateConfig{SmallWindows: small})
		if !ok || same != response || again != params {
			t.Fatalf("%q: answered %q, which is answered %q", line, response, same)
		}
	})
}
