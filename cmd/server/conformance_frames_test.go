package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestConformanceFraming(t *testing.T) {
	var tests []conformanceCase
	for kind, first := range []byte{textFrame, binFrame} {
		char := "*\xfe"[kind : kind+1]
		for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
			payload := strings.Repeat(char, n)
			tt := conformanceCase{
				name: fmt.Sprintf("1.%d.%d message of %d bytes", kind+1, i+1, n),
				send: frame(first, payload),
				want: []arrival{{op: first & 0xF, payload: payload}},
			}
			tests = append(tests, tt)
			if n <= 128 {
				tests = append(tests, octetWise([]conformanceCase{tt})[1])
			}
			tt.name, tt.chop = fmt.Sprintf("1.%d.8 %d bytes, 997 at a time", kind+1, n), 997
			tests = append(tests, tt)
		}
	}
	// Lengths that are not in their shortest form, or not lengths.
	for name, head := range map[string]string{
		"1.x 125 in 16 bits":   "\x82\xfe\x00\x7d",
		"1.x 0 in 16 bits":     "\x82\xfe\x00\x00",
		"1.x 65535 in 64 bits": "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff",
		"1.x 0 in 64 bits":     "\x82\xff\x00\x00\x00\x00\x00\x00\x00\x00",
		"1.x the top bit":      "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01",
		"1.x no mask":          "\x82\x05",
		"1.x no mask, empty":   "\x82\x00",
		"1.x ping, no mask":    "\x89\x00",
	} {
		tests = append(tests, octetWise([]conformanceCase{{name: name, send: frame(textFrame, "first") + head,
			want: []arrival{isText("first"), isClose(1002)}, late: "\x00\x00\x00\x00Hello"}})...)
	}
	startEcho(t).conform(t, tests)
}

// Messages are as long as -max-message allows, all their fragments together, and
// what is longer is refused for its header.
func TestConformanceSizeLimit(t *testing.T) {
	s := start(t, "-on-message", "echo", "-max-message", "1000", "-close-timeout", "10m")
	full := strings.Repeat("x", 1000)
	s.conform(t, octetWise([]conformanceCase{
		{name: "at the limit", send: frame(textFrame, full), want: []arrival{isText(full)}},
		{name: "at the limit twice", send: frame(textFrame, full) + frame(textFrame, full), want: []arrival{isText(full), isText(full)}},
		{name: "fragments at the limit", send: fragments(textFrame, full, 300), want: []arrival{isText(full)}},
		{name: "over it, header alone", send: frameStart(binFrame, 1001, ""), want: []arrival{isClose(1009)}, late: full},
		{name: "a fragment over it, header alone", send: frame(0x02, full[:600]) + frame(pingFrame, "") + frameStart(0x00, 401, ""),
			want: []arrival{isPong(""), isClose(1009)}, late: full},
		{name: "far over it", send: frameStart(binFrame, 1<<62, ""), want: []arrival{isClose(1009)}, late: full},
		{name: "pings do not count", send: frame(0x01, full[:999]) + frame(pingFrame, full[:125]) + frame(contFrame, "x"),
			want: []arrival{isPong(full[:125]), isText(full)}},
	}))
}

func TestConformancePings(t *testing.T) {
	var ten string
	var tenPongs []arrival
	for i := range 10 {
		payload := fmt.Sprintf("payload-%d", i)
		ten += frame(pingFrame, payload)
		tenPongs = append(tenPongs, isPong(payload))
	}
	long := strings.Repeat("\xfe", 126)
	startEcho(t).conform(t, octetWise([]conformanceCase{
		{name: "2.1 empty", send: frame(pingFrame, ""), want: []arrival{isPong("")}},
		{name: "2.2 text", send: frame(pingFrame, "Hello, world!"), want: []arrival{isPong("Hello, world!")}},
		{name: "2.3 not text", send: frame(pingFrame, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), want: []arrival{isPong("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")}},
		{name: "2.4 the longest", send: frame(pingFrame, long[:125]), want: []arrival{isPong(long[:125])}}, // 2.6 octet by octet
		{name: "2.5 too long", send: frame(pingFrame, long), want: []arrival{isClose(1002)}},
		{name: "2.5 too long, header alone", send: frameStart(pingFrame, 126, ""), want: []arrival{isClose(1002)}, late: long},
		{name: "2.7 unasked empty pong", send: frame(pongFrame, "")},
		{name: "2.8 unasked pong", send: frame(pongFrame, "unasked")},
		{name: "2.9 unasked pong, then a ping", send: frame(pongFrame, "unasked") + frame(pingFrame, "asked"), want: []arrival{isPong("asked")}},
		{name: "2.10 ten", send: ten, want: tenPongs}, // 2.11 octet by octet
	}))
}

func TestConformanceReservedBits(t *testing.T) {
	const hello = "Hello, world!"
	refused := []arrival{isClose(1002)}
	afterEcho := []arrival{isText(hello), isClose(1002)}
	before := frame(textFrame, hello)
	startEcho(t).conform(t, octetWise([]conformanceCase{
		{name: "3.1 RSV 1 on text", send: frame(textFrame|rsv3, hello), want: refused, late: frame(pingFrame, "")},
		{name: "3.2 RSV 2 after text", send: before + frame(textFrame|rsv2, hello) + frame(pingFrame, ""), want: afterEcho},
		{name: "3.3 RSV 3 after text", send: before + frame(textFrame|rsv2|rsv3, hello) + frame(pingFrame, ""), want: afterEcho},
		{name: "3.4 RSV 4 after text", send: before + frame(textFrame|rsv1, hello) + frame(pingFrame, ""), want: afterEcho},
		{name: "3.5 RSV 5 on binary", send: frame(binFrame|rsv1|rsv3, hello), want: refused},
		{name: "3.6 RSV 6 on ping", send: frame(pingFrame|rsv1|rsv2, hello), want: refused},
		{name: "3.7 RSV 7 on close", send: frame(closeFrame|rsv1|rsv2|rsv3, closeBody(1000, "")), want: refused},
		{name: "3.x RSV 1 on a continuation", send: frame(0x01, hello) + frame(contFrame|rsv3, hello), want: refused},
		{name: "3.x the first byte alone", send: string([]byte{textFrame | rsv1}), want: refused, late: "\x80"},
	}))
}

func TestConformanceOpcodes(t *testing.T) {
	const hello = "Hello, world!"
	var tests []conformanceCase
	for kind, ops := range [][]byte{{3, 4, 5, 6, 7}, {11, 12, 13, 14, 15}} {
		for i, op := range ops {
			payload := [2]string{"", "reserved opcode payload"}[i%2]
			tt := conformanceCase{
				name: fmt.Sprintf("4.%d.%d opcode %d", kind+1, i+1, op),
				send: frame(fin|op, payload) + frame(pingFrame, ""),
				want: []arrival{isClose(1002)},
			}
			tests = append(tests, tt)
			tt.name, tt.send, tt.want = tt.name+" after text", frame(textFrame, hello)+tt.send, []arrival{isText(hello), isClose(1002)}
			tests = append(tests, tt)
			tests = append(tests, conformanceCase{
				name: tt.name + ", its first byte alone", send: frame(textFrame, hello) + string([]byte{op}), want: tt.want,
			})
		}
	}
	startEcho(t).conform(t, octetWise(tests))
}

func TestConformanceFragments(t *testing.T) {
	const (
		text1 = 0x01 // a text that goes on
		more  = 0x00 // a fragment that goes on
	)
	one, two, three := frame(text1, "fragment1"), frame(contFrame, "fragment2"), frame(textFrame, "other")
	ping := frame(pingFrame, "ping")
	refused := []arrival{isClose(1002)}
	whole := isText("fragment1fragment2")
	tests := []conformanceCase{
		{name: "5.1 ping in two", send: frame(0x09, "a") + two, want: refused},
		{name: "5.2 pong in two", send: frame(0x0A, "a") + two, want: refused},
		{name: "5.x close in two", send: frame(0x08, closeBody(1000, "")) + two, want: refused},
		{name: "5.3 text in two", send: one + two, want: []arrival{whole}},                         // 5.4, 5.5 octet by octet
		{name: "5.6 ping between", send: one + ping + two, want: []arrival{isPong("ping"), whole}}, // 5.7, 5.8
		{name: "5.x ping answered before the message ends", send: one + ping, want: []arrival{isPong("ping")}},
		{name: "5.x binary with pings and pongs", send: frame(0x02, "\xff") + ping + frame(more, "\xfe") + frame(pongFrame, "p") + frame(pingFrame, "2") + frame(contFrame, "\xfd"),
			want: []arrival{isPong("ping"), isPong("2"), isBinary("\xff\xfe\xfd")}},
		{name: "5.9 continuation first", send: frame(contFrame, "none") + three, want: refused},       // 5.10, 5.11
		{name: "5.12 continuation first, to go on", send: frame(more, "none") + three, want: refused}, // 5.13, 5.14
		{name: "5.15 continuation after the end", send: one + two + frame(more, "fragment3") + three, want: []arrival{whole, isClose(1002)}},
		{name: "5.16 continuation, text, continuation", send: frame(more, "a") + frame(text1, "b") + frame(contFrame, "c"), want: refused},
		{name: "5.17 last continuation, text, continuation", send: frame(contFrame, "a") + frame(text1, "b") + frame(contFrame, "c"), want: refused},
		{name: "5.18 text inside text", send: one + three, want: refused},
		{name: "5.18 text inside text, to go on", send: one + frame(text1, "b"), want: refused},
		{name: "5.18 binary inside text", send: one + frame(binFrame, "b"), want: refused},
		{name: "5.18 text inside text, its first byte alone", send: one + "\x81", want: refused},
		{name: "5.19 five fragments and pings", // 5.20 octet by octet
			send: one + frame(more, "fragment2") + frame(pingFrame, "pongme 1") + frame(more, "fragment3") + frame(more, "fragment4") + frame(pingFrame, "pongme 2") + frame(contFrame, "fragment5"),
			want: []arrival{isPong("pongme 1"), isPong("pongme 2"), isText("fragment1fragment2fragment3fragment4fragment5")}},
		{name: "5.x empty fragments", send: frame(text1, "") + frame(more, "") + frame(more, "a") + frame(contFrame, ""), want: []arrival{isText("a")}},
	}
	startEcho(t).conform(t, octetWise(tests))
}

// 5.19 once more, in turns: each ping is answered while the message waits for its
// rest.
func TestConformancePingsBetweenFragments(t *testing.T) {
	p, _ := startEcho(t).connect(t, "")
	p.write(frame(0x01, "begin "))
	for i := range 20 {
		want := fmt.Sprint(i)
		p.write(frame(pingFrame, want) + frame(0x00, want+" "))
		if got := p.read(); got != isPong(want) {
			t.Fatalf("ping %d is answered %v", i, got)
		}
	}
	p.write(frame(contFrame, "end"))
	if got, want := p.read(), isText("begin 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 end"); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	p.bye()
}
