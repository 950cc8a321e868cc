package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// A WebSocket client made of bytes, for the conformance tests. It shares no code
// with the server, and can send what no library would.

// First bytes of a frame, all with FIN. Without it, a message goes on.
const (
	fin        = 0x80
	contFrame  = fin
	textFrame  = fin | 0x1
	binFrame   = fin | 0x2
	closeFrame = fin | 0x8
	pingFrame  = fin | 0x9
	pongFrame  = fin | 0xA
)

// The reserved bits of a first byte.
const (
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10
)

// frame is a masked frame with any first byte.
func frame(first byte, payload string) string { return frameStart(first, len(payload), payload) }

// frameStart is the front of a frame of length bytes: its header and what of the
// payload is to be sent.
func frameStart(first byte, length int, payload string) string {
	b := []byte{first}
	switch {
	case length <= 125:
		b = append(b, 0x80|byte(length))
	case length <= 65535:
		b = append(b, 0x80|126, byte(length>>8), byte(length))
	default:
		b = append(b, 0x80|127)
		for shift := 56; shift >= 0; shift -= 8 {
			b = append(b, byte(length>>shift))
		}
	}
	key := [4]byte{0xD1, first ^ 0x5C, byte(length) ^ 0x3E, 0x97}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

// fragments is a message in frames of at most size bytes. first is that of a whole
// message.
func fragments(first byte, payload string, size int) string {
	var b strings.Builder
	for len(payload) > size {
		b.WriteString(frame(first&^fin, payload[:size]))
		first, payload = contFrame, payload[size:]
	}
	b.WriteString(frame(first, payload))
	return b.String()
}

// closeBody is the payload of a close frame.
func closeBody(code int, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

// An arrival is a whole message or a control frame from the server.
type arrival struct {
	op      byte
	payload string // of a close frame, the code alone
	rsv1    bool
}

func (a arrival) String() string {
	switch {
	case a.op == 8 && len(a.payload) == 2:
		return fmt.Sprintf("close %d", int(a.payload[0])<<8|int(a.payload[1]))
	case len(a.payload) > 100:
		return fmt.Sprintf("opcode %d, %d bytes beginning %q", a.op, len(a.payload), a.payload[:40])
	}
	return fmt.Sprintf("opcode %d %q", a.op, a.payload)
}

func isText(s string) arrival   { return arrival{op: 1, payload: s} }
func isBinary(s string) arrival { return arrival{op: 2, payload: s} }
func isPong(s string) arrival   { return arrival{op: 10, payload: s} }
func isClose(code int) arrival  { return arrival{op: 8, payload: closeBody(code, "")} }

var isEmptyClose = arrival{op: 8}

// A peer is an open connection.
type peer struct {
	t       *testing.T
	conn    net.Conn
	in      *bufio.Reader
	deflate bool // messages may have RSV1 set
}

// openSocket connects, and sends nothing yet.
func (s *server) openSocket(t *testing.T) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return &peer{t: t, conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
}

// connect opens a WebSocket. offer is of extensions, and so is what it returns: what
// was agreed on.
func (s *server) connect(t *testing.T, offer string) (p *peer, extensions string) {
	t.Helper()
	p = s.openSocket(t)
	head := "GET /ws?system_id=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n"
	if offer != "" {
		head += "Sec-WebSocket-Extensions: " + offer + "\r\n"
	}
	p.write(head + "\r\n")
	for {
		line, err := p.in.ReadString('\n')
		switch {
		case err != nil:
			t.Fatalf("in the answer to the handshake: %v", err)
		case line == "\r\n":
			return p, extensions
		case strings.HasPrefix(line, "HTTP/") && line != "HTTP/1.1 101 Switching Protocols\r\n":
			t.Fatalf("the handshake is answered %q", line)
		}
		if v, ok := strings.CutPrefix(line, "Sec-WebSocket-Extensions: "); ok {
			extensions = strings.TrimSpace(v)
			p.deflate = true
		}
	}
}

func (p *peer) write(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, s); err != nil {
		p.t.Fatalf("writing: %v", err)
	}
}

// writeChopped writes s in pieces; 0 means in one.
func (p *peer) writeChopped(s string, chop int) {
	p.t.Helper()
	if chop == 0 {
		chop = max(1, len(s))
	}
	for len(s) > 0 {
		n := min(chop, len(s))
		p.write(s[:n])
		s = s[n:]
	}
}

// readFrame reads one frame and checks what a server's has to be like.
func (p *peer) readFrame() (first byte, payload []byte) {
	p.t.Helper()
	next := func(n uint64) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(p.in, b); err != nil {
			p.t.Fatalf("reading a frame: %v", err)
		}
		return b
	}
	number := func(bytes uint64) (n uint64) {
		for _, c := range next(bytes) {
			n = n<<8 | uint64(c)
		}
		return n
	}
	first = next(1)[0]
	length := number(1)
	switch {
	case length == 126:
		if length = number(2); length < 126 {
			p.t.Fatalf("a length of %d in 16 bits", length)
		}
	case length == 127:
		if length = number(8); length < 65536 {
			p.t.Fatalf("a length of %d in 64 bits", length)
		}
	case length > 127:
		p.t.Fatalf("a masked frame: %x", first)
	}
	if length > 32<<20 {
		p.t.Fatalf("a frame of %d bytes", length)
	}
	if first&(rsv2|rsv3) != 0 || first&rsv1 != 0 && !p.deflate {
		p.t.Fatalf("reserved bits: %x", first)
	}
	return first, next(length)
}

// read reads the next message or control frame. Control frames between fragments
// come in the order in which they arrive, before their message.
func (p *peer) read() arrival {
	p.t.Helper()
	var gathered bytes.Buffer
	var message byte
	for {
		first, payload := p.readFrame()
		switch op := first & 0xF; {
		case op >= 8:
			if first&fin == 0 || first&rsv1 != 0 || len(payload) > 125 || message != 0 {
				p.t.Fatalf("control frame %x of %d bytes, inside a message %v", first, len(payload), message != 0)
			}
			a := arrival{op: op, payload: string(payload)}
			if op == 8 && len(payload) > 0 {
				if len(payload) == 1 || !utf8.Valid(payload[2:]) {
					p.t.Fatalf("close frame with %q", payload)
				}
				a.payload = a.payload[:2]
			}
			return a
		case (op == 0) != (message != 0) || op > 2:
			p.t.Fatalf("opcode %d inside a message that began with %x", op, message)
		case op != 0:
			message = first
		}
		gathered.Write(payload)
		if first&fin != 0 {
			return arrival{op: message & 0xF, payload: gathered.String(), rsv1: message&rsv1 != 0}
		}
	}
}

// end checks that the server has sent FIN after its last frame: neither a byte
// more nor a reset.
func (p *peer) end() {
	p.t.Helper()
	b, err := io.ReadAll(p.in)
	if len(b) > 0 || err != nil {
		p.t.Errorf("after the close frame: % x, %v, want the end", b[:min(len(b), 40)], err)
	}
}

// bye closes an open connection and checks the answer.
func (p *peer) bye() {
	p.t.Helper()
	p.write(frame(closeFrame, closeBody(1000, "")))
	if a := p.read(); a != isClose(1000) {
		p.t.Errorf("our close is answered with %v", a)
	}
	p.end()
}
