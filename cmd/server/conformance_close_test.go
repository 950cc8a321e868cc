package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestConformanceClose(t *testing.T) {
	const hello = "Hello World!"
	normal := []arrival{isClose(1000)}
	refused := []arrival{isClose(1002)}
	notText := []arrival{isClose(1007)}
	closing := frame(closeFrame, closeBody(1000, ""))
	long := strings.Repeat("*", 124)
	tests := []conformanceCase{
		{name: "7.1.1 after a message", send: frame(textFrame, hello) + closing, want: []arrival{isText(hello), isClose(1000)}},
		{name: "7.1.2 two", send: closing + closing, want: normal},
		{name: "7.1.3 then a ping", send: closing + frame(pingFrame, "p"), want: normal, late: frame(pingFrame, "q")},
		{name: "7.1.4 then a message", send: closing + frame(textFrame, hello), want: normal, late: frame(textFrame, hello)},
		{name: "7.1.5 inside a message", send: frame(0x01, "fragment1") + closing + frame(contFrame, "fragment2"), want: normal},
		{name: "7.1.x then garbage", send: closing + "\xff\xff\xff\xff", want: normal, late: "\xff\xff"},
		{name: "7.1.x then another code", send: closing + frame(closeFrame, closeBody(3000, "")), want: normal},
		{name: "7.1.x nothing after a refusal", send: frame(contFrame, "") + frame(textFrame, hello) + frame(pingFrame, "") + closing, want: refused, late: frame(textFrame, hello)},
		{name: "7.3.1 no code", send: frame(closeFrame, ""), want: []arrival{isEmptyClose}},
		{name: "7.3.2 half a code", send: frame(closeFrame, "\x03"), want: refused},
		{name: "7.3.2 half a code, header alone", send: frameStart(closeFrame, 1, ""), want: refused, late: "\x03"},
		{name: "7.3.3 code", send: closing, want: normal},
		{name: "7.3.4 reason", send: frame(closeFrame, closeBody(1000, "H\u00e4llo")), want: normal},
		{name: "7.3.5 longest reason", send: frame(closeFrame, closeBody(1000, long[:123])), want: normal},
		{name: "7.3.6 reason too long", send: frame(closeFrame, closeBody(1000, long)), want: refused},
		{name: "7.3.6 reason too long, header alone", send: frameStart(closeFrame, 126, ""), want: refused, late: long},
		{name: "7.5.1 reason not text", send: frame(closeFrame, closeBody(1000, kosme+"\xed\xa0\x80edited")), want: notText},
		{name: "7.5.x reason ends inside a character", send: frame(closeFrame, closeBody(1000, kosme[:10])), want: notText},
		{name: "7.5.x reason not text, unfinished", send: frameStart(closeFrame, 100, closeBody(1000, "\xc0")), want: notText, late: long},
		{name: "7.9.x bad code, unfinished", send: frameStart(closeFrame, 100, closeBody(1006, "")), want: refused, late: long},
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		tests = append(tests, conformanceCase{name: fmt.Sprintf("7.7 code %d", code),
			send: frame(closeFrame, closeBody(code, "")), want: []arrival{isClose(code)}})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} { // the last two are 7.13
		tests = append(tests,
			conformanceCase{name: fmt.Sprintf("7.9 code %d", code), send: frame(closeFrame, closeBody(code, "")), want: refused},
			conformanceCase{name: fmt.Sprintf("7.9 code %d with a reason", code), send: frame(closeFrame, closeBody(code, "because")), want: refused})
	}
	tests = octetWise(tests)
	// A close frame on its way is not destroyed by a reset, which the kernel would
	// send if the server left the rest unread.
	much := fragments(textFrame, manyText(4<<20), 64<<10)
	tests = append(tests,
		conformanceCase{name: "7.1.x then much more", send: closing + much, want: normal, late: much},
		conformanceCase{name: "7.1.x much more behind a refusal", send: frame(contFrame, "") + much, want: refused, late: much})
	startEcho(t).conform(t, tests)
}

// 7.1.6: a client that closes right behind a long message may miss its echo, but
// never gets a part of it, nor what it sent after the close.
func TestConformanceCloseBehindMuch(t *testing.T) {
	p, _ := startEcho(t).connect(t, "")
	long := strings.Repeat("BAsd7&jh23", 26_214)
	p.write(frame(textFrame, long) + frame(textFrame, "Hello World!") + frame(closeFrame, closeBody(1000, "")) + frame(pingFrame, ""))
	got := p.read()
	for _, want := range []arrival{isText(long), isText("Hello World!")} {
		if got == want {
			got = p.read()
		}
	}
	if got != isClose(1000) {
		t.Errorf("got %v, want the close", got)
	}
	p.end()
}
