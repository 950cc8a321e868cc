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
		with8  = plain + "; server_max_window_bits=8"
	)
	f := func(want string, lines ...string) {
		t.Helper()
		window, got := NegotiateDeflate(slices.Values(lines))
		bits := 0
		switch want {
		case plain, with15:
			bits = 15
		case with10:
			bits = 10
		case with8:
			bits = 8
		}
		if got != want || window != bits {
			t.Errorf("NegotiateDeflate(%q) = %d, %q, want %d, %q", lines, window, got, bits, want)
		}
	}
	f("")
	f("", "")
	f("", "x-webkit-deflate-frame")
	f("", "permessage-deflate-frame, permessage-bzip2; a=b")
	f(plain, "permessage-deflate")
	f(plain, "permessage-deflate; client_max_window_bits") // browsers
	f(plain, " permessage-deflate ; client_max_window_bits = 9 ")
	f(plain, `permessage-deflate; client_max_window_bits="12"`)
	f(plain, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	f(with15, "permessage-deflate; server_max_window_bits=15")
	f(with15, `permessage-deflate; server_max_window_bits="1\5"`)

	// In order, over several lines, the first valid one.
	f(with15, "foo, permessage-deflate; server_max_window_bits=15", "permessage-deflate")
	f(plain, "foo", "permessage-deflate, permessage-deflate; server_max_window_bits=15")
	f(plain, `foo; a="x, permessage-deflate; server_max_window_bits=15", permessage-deflate`)

	// What is inside a quoted string is not an offer.
	f("", `foo; a="x, permessage-deflate, y"`)
	f("", `foo; a="\", permessage-deflate, \""`)

	f(with8, "permessage-deflate; server_max_window_bits=8")
	f(plain, "permessage-deflate; client_max_window_bits=8")
	f(with10, "permessage-deflate; server_max_window_bits=10")
	f(with10, "permessage-deflate; server_max_window_bits=10; client_max_window_bits, permessage-deflate")

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
		f("", bad)
		f(plain, bad, "permessage-deflate")
	}
}

// FuzzNegotiateDeflate: any header gives one of the answers there are, and a
// window that was asked for.
func FuzzNegotiateDeflate(f *testing.F) {
	f.Add("permessage-deflate; server_max_window_bits=10, permessage-deflate")
	f.Add(`foo; a="b\",", permessage-deflate; client_max_window_bits="9"`)
	f.Fuzz(func(t *testing.T, line string) {
		window, response := NegotiateDeflate(slices.Values([]string{line}))
		if response == "" {
			if window != 0 {
				t.Fatalf("%q: declined with a window of %d", line, window)
			}
			return
		}
		if window > MaxWindowBits || window < minWindowBits {
			t.Fatalf("%q: window %d", line, window)
		}
		// The answer is itself an offer that would be taken.
		if again, same := NegotiateDeflate(slices.Values([]string{response})); same != response || again != window {
			t.Fatalf("%q: answered %q, which is answered %q", line, response, same)
		}
	})
}
