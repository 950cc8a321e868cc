package ws_test

import (
	"errors"
	"fmt"

	"carillon/engine/ws"
)

// A server answers a handshake from the bytes it has read so far.
func ExampleParseRequest() {
	read := []byte("GET /ws?room=7 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")

	r, n, err := ws.ParseRequest(read)
	if err == ws.ErrIncomplete {
		return // read more and try again
	}
	if err == nil {
		err = r.CheckUpgrade()
	}
	if refusal := (*ws.HandshakeError)(nil); errors.As(err, &refusal) {
		fmt.Printf("%s", refusal.AppendTo(nil))
		return
	}
	fmt.Println(r.Path, r.RawQuery, len(read[n:]))
	fmt.Println(ws.AcceptKey(r.Key()))
	// Output:
	// /ws room=7 0
	// s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
}

// A refusal is a complete answer.
func ExampleHandshakeError_AppendTo() {
	r, _, _ := ws.ParseRequest([]byte("POST /ws HTTP/1.1\r\nHost: example.com\r\n\r\n"))
	if refusal := (*ws.HandshakeError)(nil); errors.As(r.CheckUpgrade(), &refusal) {
		fmt.Println(refusal.Status, refusal.Reason)
	}
	// Output: 405 method
}

// A request for another handler is known before its head is complete.
func ExamplePeekRequestLine() {
	method, path, complete, err := ws.PeekRequestLine([]byte("POST /push_to_all HTTP/1.1\r\nHost: ex"))
	fmt.Printf("%s %s %v %v\n", method, path, complete, err)
	// Output: POST /push_to_all true <nil>
}

// Events are taken until there are none; the connection then needs no Decoder if
// it is idle.
func ExampleDecoder_Next() {
	key := [4]byte{1, 2, 3, 4}
	read := ws.AppendMaskedFrame(nil, ws.OpText, key, []byte("hello"))
	read = ws.AppendMaskedFrame(read, ws.OpPing, key, []byte("p"))
	read = ws.AppendMaskedFrame(read, ws.OpClose, key, ws.AppendCloseBody(nil, ws.CloseGoingAway, "bye"))

	var d ws.Decoder
	for {
		ev, rest, err := d.Next(read)
		if refused := (ws.ProtocolError{}); errors.As(err, &refused) {
			fmt.Printf("% x\n", ws.AppendClose(nil, refused.Code, refused.Reason))
			return
		}
		read = rest
		switch ev.Kind {
		case ws.None:
			fmt.Println("idle:", d.Idle())
			return
		case ws.Message:
			fmt.Printf("%v %s\n", ev.Opcode, ev.Payload)
		case ws.Ping:
			fmt.Printf("% x\n", ws.AppendFrame(nil, ws.OpPong, ev.Payload))
		case ws.Close:
			fmt.Printf("%d %s: % x\n", ev.Code, ev.Reason, ws.AppendClose(nil, ev.Code, ""))
		}
	}
	// Output:
	// text hello
	// 8a 01 70
	// 1001 bye: 88 02 03 e9
	// idle: false
}

// Only pages of the product's own domains may connect.
func ExampleOriginAllowed() {
	allow := []string{"https://*.example.com"}
	fmt.Println(ws.OriginAllowed("https://app.example.com", "push.example.net", allow))
	fmt.Println(ws.OriginAllowed("https://example.org", "push.example.net", allow))
	// Output:
	// true
	// false
}
