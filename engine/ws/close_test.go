package ws

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCloseCodeValidOnWire(t *testing.T) {
	valid := func(c int) bool {
		switch c {
		case 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014:
			return true
		}
		return c >= 3000 && c < 5000
	}
	for c := range 1 << 16 {
		if got, want := CloseCode(c).ValidOnWire(), valid(c); got != want {
			t.Errorf("CloseCode(%d).ValidOnWire() = %v, want %v", c, got, want)
		}
	}
}

func TestAppendClose(t *testing.T) {
	tests := []struct {
		name   string
		code   CloseCode
		reason string
		want   string // payload
	}{
		{"code alone", CloseNormal, "", "\x03\xe8"},
		{"reason", 3008, "slow consumer", "\x0b\xc0slow consumer"},
		{"no code", CloseNoStatus, "lost", ""},
		{"code not for the wire", 0, "lost", ""},
		{"longest", CloseNormal, strings.Repeat("a", 123), "\x03\xe8" + strings.Repeat("a", 123)},
		{"too long", CloseNormal, strings.Repeat("a", 124), "\x03\xe8" + strings.Repeat("a", 123)},
		{"cut between characters", CloseNormal, strings.Repeat("a", 122) + "é!", "\x03\xe8" + strings.Repeat("a", 122)},
		{"cut before an emoji", CloseNormal, strings.Repeat("🌍", 31), "\x03\xe8" + strings.Repeat("🌍", 30)},
		{"not UTF-8", CloseNormal, "a\xffb", "\x03\xe8a\ufffdb"},
		{"not UTF-8 and long", CloseNormal, strings.Repeat("\xff", 200), "\x03\xe8" + strings.Repeat("\ufffd", 41)},
	}
	for _, tt := range tests {
		got := AppendClose([]byte("before"), tt.code, tt.reason)
		want := "before\x88" + string(rune(len(tt.want))) + tt.want
		if string(got) != want {
			t.Errorf("%s: AppendClose(%d, %q) = %q, want %q", tt.name, tt.code, tt.reason, got, want)
		}
		if body := AppendCloseBody(nil, tt.code, tt.reason); string(body) != tt.want || len(body) > 2 && !utf8.Valid(body[2:]) {
			t.Errorf("%s: AppendCloseBody(%d, %q) = %q, want %q", tt.name, tt.code, tt.reason, body, tt.want)
		}
	}
}

// A received code and reason, sent back, are the frame that came.
func TestAppendCloseAnswers(t *testing.T) {
	for _, body := range []string{"", "\x03\xe8", "\x0f\xa0gone"} {
		frame := AppendFrame(nil, OpClose, []byte(body))
		d := Decoder{Client: true}
		ev, _, err := d.Next(bytes.Clone(frame))
		if err != nil || ev.Kind != Close {
			t.Fatalf("%q: %+v, %v", body, ev, err)
		}
		if got := AppendClose(nil, ev.Code, ev.Reason); !bytes.Equal(got, frame) {
			t.Errorf("%q: answered %q", body, got)
		}
	}
}
