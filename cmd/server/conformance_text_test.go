package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// kosme is a Greek word of two-byte and three-byte characters.
const kosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"

// Texts in pieces: good is one so far, bad is the octet that no text can have
// there, and empty if the text only ends too early; rest is what follows.
var invalidText = []struct{ name, good, bad, rest string }{
	{"6.3 surrogate inside text", kosme + "\xed", "\xa0", "\x80edited"},
	{"6.4 over U+10FFFF inside text", kosme + "\xf4", "\x90", "\x80\x80edited"},
	{"6.6.1 first of two", "\xce", "", ""},
	{"6.6.3 first of three", "\xce\xba\xe1", "", ""},
	{"6.6.4 two of three", "\xce\xba\xe1\xbd", "", ""},
	{"6.6.6 after a character", "\xce\xba\xe1\xbd\xb9\xcf", "", ""},
	{"6.6.8 four characters begun", kosme[:8], "", ""},
	{"6.6.10 five characters begun", kosme[:10], "", ""},
	{"6.8.1 five bytes", "", "\xf8", "\x88\x80\x80\x80"},
	{"6.8.2 six bytes", "", "\xfc", "\x84\x80\x80\x80\x80"},
	{"6.10.1 last of four bytes", "", "\xf7", "\xbf\xbf\xbf"},
	{"6.10.2 last of five bytes", "", "\xfb", "\xbf\xbf\xbf\xbf"},
	{"6.10.3 last of six bytes", "", "\xfd", "\xbf\xbf\xbf\xbf\xbf"},
	{"6.11.5 first over U+10FFFF", "\xf4", "\x90", "\x80\x80"},
	{"6.12.1 first continuation byte", "", "\x80", ""},
	{"6.12.2 last continuation byte", "", "\xbf", ""},
	{"6.12.3 two continuation bytes", "", "\x80", "\xbf"},
	{"6.12.4 continuation after a character", "\xc3\xa9", "\xbf", "a"},
	{"6.13.1 first of two, then a space", "\xc3", " ", "\xc4 "},
	{"6.13.2 first of three, then a space", "\xe2", " ", ""},
	{"6.13.3 first of four, then a space", "\xf1", " ", ""},
	{"6.14.1 two bytes less one", "\xdf", "", ""},
	{"6.14.2 three bytes less one", "\xef\xbf", "", ""},
	{"6.14.3 four bytes less one", "\xf3\xbf\xbf", "", ""},
	{"6.15.1 several less one", "\xef\xbf", "\xf3", "\xbf\xbf"},
	{"6.16.1 FE", "", "\xfe", ""},
	{"6.16.2 FF", "", "\xff", ""},
	{"6.16.3 FE and FF", "", "\xfe", "\xfe\xff\xff"},
	{"6.17.1 slash in two bytes", "", "\xc0", "\xaf"},
	{"6.17.2 slash in three bytes", "\xe0", "\x80", "\xaf"},
	{"6.17.3 slash in four bytes", "\xf0", "\x80", "\x80\xaf"},
	{"6.18.1 longest overlong of two", "", "\xc1", "\xbf"},
	{"6.18.2 longest overlong of three", "\xe0", "\x9f", "\xbf"},
	{"6.18.3 longest overlong of four", "\xf0", "\x8f", "\xbf\xbf"},
	{"6.19.1 NUL in two bytes", "", "\xc0", "\x80"},
	{"6.19.2 NUL in three bytes", "\xe0", "\x80", "\x80"},
	{"6.19.3 NUL in four bytes", "\xf0", "\x80", "\x80\x80"},
	{"6.20.1 first high surrogate", "\xed", "\xa0", "\x80"},
	{"6.20.4 last high surrogate", "\xed", "\xaf", "\xbf"},
	{"6.20.5 first low surrogate", "\xed", "\xb0", "\x80"},
	{"6.20.7 last low surrogate", "\xed", "\xbf", "\xbf"},
	{"6.21.1 pair of surrogates", "\xed", "\xa0", "\x80\xed\xb0\x80"},
	{"6.21.8 last pair of surrogates", "\xed", "\xaf", "\xbf\xed\xbf\xbf"},
	{"6.x far inside a text", strings.Repeat("ASCII and \u4e16\u754c ", 3000), "\xc0", "\xaf and more"},
}

func validTexts() []conformanceCase {
	tests := []conformanceCase{
		{name: "6.1.1 empty", send: frame(textFrame, ""), want: []arrival{isText("")}},
		{name: "6.1.2 three empty fragments", send: frame(0x01, "") + frame(0x00, "") + frame(contFrame, ""), want: []arrival{isText("")}},
		{name: "6.1.3 empty fragments around text", send: frame(0x01, "") + frame(0x00, "middle") + frame(contFrame, ""), want: []arrival{isText("middle")}},
		{name: "6.2.2 cut between characters", send: frame(0x01, "Hello-\xc2\xb5@") + frame(contFrame, "\xc3\x9f\xc3\xb6"), want: []arrival{isText("Hello-\u00b5@\u00df\u00f6")}},
		{name: "6.x binary need not be text", send: frame(binFrame, "\xff\xc0\xed\xa0\x80"), want: []arrival{isBinary("\xff\xc0\xed\xa0\x80")}},
	}
	add := func(name, s string) {
		tests = append(tests,
			conformanceCase{name: name, send: frame(textFrame, s), want: []arrival{isText(s)}},
			conformanceCase{name: name + " in frames of one octet", send: fragments(textFrame, s, 1), want: []arrival{isText(s)}})
	}
	add("6.2.1 one frame", "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!")
	for i, n := range []int{2, 5, 7, 9, 11} {
		add(fmt.Sprintf("6.5.%d %d octets of Greek", i+1, n), kosme[:n])
	}
	// The first and last character of each length, and the edges between.
	for i, r := range []rune{0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0xD7FF, 0xE000, 0xFFFD, 0x10FFFF, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000} {
		add(fmt.Sprintf("6.7-6.11 edge %d, U+%04X", i+1, r), string(r))
	}
	for plane := rune(0); plane <= 0x10; plane++ {
		for _, low := range []rune{0xFFFE, 0xFFFF} {
			add(fmt.Sprintf("6.22 no character, U+%04X", plane<<16|low), string(plane<<16|low))
		}
	}
	for r := rune(0xFFF9); r <= 0xFFFC; r++ {
		add(fmt.Sprintf("6.23 special, U+%04X", r), string(r))
	}
	return tests
}

func TestConformanceText(t *testing.T) {
	tests := octetWise(validTexts())
	for _, tt := range invalidText {
		all := tt.good + tt.bad + tt.rest
		if utf8.ValidString(all) || tt.bad != "" && len(tt.bad) != 1 {
			t.Fatalf("%s: %q", tt.name, all)
		}
		refused := []arrival{isClose(1007)}
		cases := []conformanceCase{
			{name: tt.name, send: frame(textFrame, all) + frame(pingFrame, ""), want: refused},
			{name: tt.name + " in frames of one octet", send: fragments(textFrame, all, 1) + frame(pingFrame, ""), want: refused},
			{name: tt.name + " after a message", send: frame(textFrame, "ok") + frame(textFrame, all), want: []arrival{isText("ok"), isClose(1007)}},
		}
		if tt.bad != "" {
			// At the first octet that is wrong, with the rest of the frame and of the
			// message still to come.
			soFar := tt.good + tt.bad
			cases = append(cases,
				conformanceCase{name: tt.name + ", fast inside a frame", send: frameStart(textFrame, len(all)+100, soFar), want: refused, late: tt.rest},
				conformanceCase{name: tt.name + ", fast inside a fragment", send: frame(0x01, "ok") + frameStart(0x00, len(all)+100, soFar), want: refused, late: tt.rest},
				conformanceCase{name: tt.name + ", fast between fragments", send: frame(0x01, tt.good) + frame(pingFrame, "") + frame(0x00, tt.bad),
					want: []arrival{isPong(""), isClose(1007)}, late: frame(contFrame, tt.rest)})
		} else {
			cases = append(cases, conformanceCase{name: tt.name + ", at an empty last fragment", send: frame(0x01, all) + frame(pingFrame, "") + frame(contFrame, ""),
				want: []arrival{isPong(""), isClose(1007)}})
		}
		if len(all) < 200 {
			cases = octetWise(cases)
		}
		tests = append(tests, cases...)
	}
	startEcho(t).conform(t, tests)
}

// 6.4.3 and 6.4.4 in turns: the octets before the bad one lead to nothing, however
// long they wait, and the bad one to the close.
func TestConformanceTextWaits(t *testing.T) {
	s := startEcho(t)
	for _, tt := range invalidText {
		if tt.bad == "" {
			continue
		}
		p, _ := s.connect(t, "")
		p.write(frameStart(textFrame, len(tt.good)+10, tt.good))
		p.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if b, err := p.in.Peek(1); len(b) > 0 || err == nil {
			t.Errorf("%s: before the bad octet: %x", tt.name, b)
		}
		p.conn.SetReadDeadline(time.Now().Add(time.Minute))
		bad := frameStart(textFrame, len(tt.good)+10, tt.good+tt.bad)
		p.write(bad[len(bad)-1:])
		if got := p.read(); got != isClose(1007) {
			t.Errorf("%s: %v, want 1007", tt.name, got)
		}
		p.end()
	}
}
