package engine

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"carillon/engine/ws"
)

// dialCompressed is dial for a client that offers permessage-deflate.
func dialCompressed(t testing.TB, e *Engine, query string, mode websocket.CompressionMode, subprotocols ...string) (*peer, http.Header) {
	t.Helper()
	c, resp, err := websocket.Dial(testContext(t), "ws://"+e.Addr().String()+"/ws?"+query,
		&websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1, Subprotocols: subprotocols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(-1)
	p := &peer{Conn: c, t: t}
	if len(subprotocols) == 0 {
		if p.id, err = ParseID(p.next().ClientID); err != nil {
			t.Fatal(err)
		}
	} else if p.id, err = ParseID(resp.Header.Get("Carillon-Client-Id")); err != nil {
		t.Fatal(err)
	}
	return p, resp.Header
}

// bytesOut is what the push f sent to the client.
func bytesOut(t testing.TB, e *Engine, id ID, f func()) int {
	t.Helper()
	c, ok := e.Client(id)
	if !ok {
		t.Fatalf("no client %d", id)
	}
	before := c.Stats().BytesOut
	f()
	return int(c.Stats().BytesOut - before)
}

// A push to all, across systems, is compressed once for everyone who takes the
// envelope compressed, and once for raw clients; the others get it as it is. Each
// finds its own system and id in it.
func TestPushCompressesOnce(t *testing.T) {
	e := newEngine(t, Options{Compress: true})
	var compressing, raw []*peer
	for i := range 30 {
		mode := websocket.CompressionNoContextTakeover
		if i%2 == 0 {
			mode = websocket.CompressionContextTakeover
		}
		p, h := dialCompressed(t, e, fmt.Sprintf("system_id=s%d", i%3), mode)
		if got := h.Get("Sec-WebSocket-Extensions"); got != "permessage-deflate; server_no_context_takeover; client_no_context_takeover" {
			t.Fatalf("negotiated %q", got)
		}
		compressing = append(compressing, p)
	}
	for range 3 {
		p, _ := dialCompressed(t, e, "system_id=s0", websocket.CompressionNoContextTakeover, SubprotocolRaw)
		raw = append(raw, p)
	}
	plain := dial(t, e, "system_id=s0")
	text := strings.Repeat("twelve bells ", 1000)
	for n := range 3 {
		data := fmt.Sprintf(`{"n":%d,"text":"%s"}`, n, text)
		before := e.Stats().Compressed
		out := bytesOut(t, e, plain.id, func() { push(t, e, ToAll(), data) })
		if got := e.Stats().Compressed - before; got != 2 {
			t.Errorf("push %d was compressed %d times, want once in the envelope and once without", n, got)
		}
		if out < len(data) {
			t.Errorf("the client without compression was sent %d bytes of %d", out, len(data))
		}
		for i, p := range append(compressing, plain) {
			env := p.next()
			if want := fmt.Sprintf("s%d", i%3); env.SystemID != want || env.ClientID != p.id.String() || string(env.Data) != data {
				t.Errorf("client %d of %s got %s %s and %d bytes", p.id, want, env.SystemID, env.ClientID, len(env.Data))
			}
		}
		for _, p := range raw {
			if _, b, err := p.Read(testContext(t)); err != nil || string(b) != data {
				t.Errorf("a raw client got %d bytes, %v", len(b), err)
			}
		}
	}
	for _, p := range []*peer{compressing[0], raw[0]} {
		out := bytesOut(t, e, p.id, func() { push(t, e, ToAll(), `"`+text+`"`) })
		if out > len(text)/20 {
			t.Errorf("%d bytes were sent for %d", out, len(text))
		}
	}
}

// What is short, or does not get shorter, is sent as it is.
func TestNotWorthCompressing(t *testing.T) {
	e := newEngine(t, Options{Compress: true, CompressMin: 2000})
	p, _ := dialCompressed(t, e, "system_id=1", websocket.CompressionNoContextTakeover)
	noise := make([]byte, 4000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for _, tt := range []struct {
		name       string
		m          Message
		compressed uint64
	}{
		{"short", Message{Kind: Text, Data: bytes.Repeat([]byte("x"), 1000)}, 0},
		{"noise", Message{Kind: Binary, Data: noise}, 1},
	} {
		before := e.Stats().Compressed
		out := bytesOut(t, e, p.id, func() {
			if _, err := e.Push(testContext(t), ToSystem("1"), tt.m); err != nil {
				t.Fatal(err)
			}
		})
		if got := e.Stats().Compressed - before; got != tt.compressed {
			t.Errorf("%s: compressed %d times, want %d", tt.name, got, tt.compressed)
		}
		if out < len(tt.m.Data) || out > len(tt.m.Data)+300 {
			t.Errorf("%s: %d bytes were sent for %d", tt.name, out, len(tt.m.Data))
		}
		if _, b, err := p.Read(testContext(t)); err != nil || !bytes.Contains(b, tt.m.Data) {
			t.Errorf("%s: got %d bytes, %v", tt.name, len(b), err)
		}
	}
}

// A client with a window of 512 bytes gets what fits it compressed, and longer
// pushes as they are; what is for it alone is compressed within its window.
func TestSmallWindow(t *testing.T) {
	e := newEngine(t, Options{Compress: true, CompressMin: 100, OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) }})
	request := strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "\r\n\r\n",
		"\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n\r\n", 1)
	conn := rawConn(t, e, request)
	head, err := readUntil(conn, "\r\n\r\n")
	if err != nil || !strings.Contains(head, "server_max_window_bits=9\r\n") {
		t.Fatalf("%v, answer %q", err, head)
	}
	d := ws.Decoder{Client: true, Deflate: true}
	var rest []byte
	next := func() (payload []byte, rsv1 bool) {
		t.Helper()
		buf := make([]byte, 32<<10)
		for {
			if len(rest) == 0 {
				n, err := conn.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				rest = buf[:n]
			}
			first := rest[0]
			ev, more, err := d.Next(rest)
			if err != nil {
				t.Fatal(err)
			}
			if rest = more; ev.Kind == ws.Message {
				return bytes.Clone(ev.Payload), first&0x40 != 0
			}
		}
	}
	next() // the welcome
	for _, tt := range []struct {
		size int
		rsv1 bool
	}{{300, true}, {600, false}} {
		data := bytes.Repeat([]byte("ab"), tt.size/2)
		push(t, e, ToSystem("1"), `"`+string(data)+`"`)
		got, rsv1 := next()
		if !bytes.Contains(got, data) || rsv1 != tt.rsv1 {
			t.Errorf("%d bytes: compressed %v, want %v; got %d bytes", tt.size, rsv1, tt.rsv1, len(got))
		}
	}
	long := bytes.Repeat([]byte("abcd"), 5000)
	if _, err := conn.Write(ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, long)); err != nil {
		t.Fatal(err)
	}
	if got, rsv1 := next(); !bytes.Equal(got, long) || !rsv1 {
		t.Errorf("the echo of %d bytes: %d bytes, compressed %v", len(long), len(got), rsv1)
	}
}

// Compressed messages of a client arrive as it wrote them, and come back.
func TestCompressedMessages(t *testing.T) {
	e := newEngine(t, Options{Compress: true, MaxMessageBytes: 1 << 20, OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) }})
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		p, _ := dialCompressed(t, e, "system_id=1", mode)
		for _, n := range []int{0, 1, 600, 70_000, 1 << 20} {
			want := bytes.Repeat([]byte("é"), n/2)
			if err := p.Write(testContext(t), websocket.MessageText, want); err != nil {
				t.Fatal(err)
			}
			if _, got, err := p.Read(testContext(t)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes came back as %d, %v", len(want), len(got), err)
			}
		}
	}
}

// A megabyte that inflates to a gigabyte is given up at MaxMessageBytes.
func TestInflationBomb(t *testing.T) {
	e := newEngine(t, Options{Compress: true, MaxMessageBytes: 2 << 20, MaxInboundBytes: 1 << 30})
	var bomb bytes.Buffer
	z, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(1 << 27)
	if full() {
		size = int64(1 << 30 / fewer)
	}
	if _, err := io.CopyN(z, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	z.Flush()
	payload := bomb.Bytes()[:bomb.Len()-4]
	frame := ws.AppendMaskedFrame(nil, ws.OpBinary, [4]byte{1, 2, 3, 4}, payload)
	frame[0] |= 0x40
	request := strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "\r\n\r\n",
		"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1)
	heap, _ := settledMemory(t)
	conn := rawConn(t, e, request)
	if _, err := readUntil(conn, "\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	if _, code, reason := readFrames(t, conn); code != 1009 {
		t.Errorf("closed with %d %q, want 1009", code, reason)
	}
	after, _ := settledMemory(t)
	if grown := after - heap; grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Without Compress, offers are not answered, and RSV1 is a protocol error.
func TestNoCompression(t *testing.T) {
	e := newEngine(t, Options{})
	p, h := dialCompressed(t, e, "system_id=1", websocket.CompressionContextTakeover)
	if got := h.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("negotiated %q", got)
	}
	push(t, e, ToSystem("1"), `"`+strings.Repeat("x", 5000)+`"`)
	p.next()
	if got := e.Stats().Compressed; got != 0 {
		t.Errorf("compressed %d times", got)
	}
	conn := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
	frame := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{}, []byte{0})
	frame[0] |= 0x40
	conn.Write(frame)
	if _, err := readUntil(conn, "\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, code, reason := readFrames(t, conn); code != 1002 {
		t.Errorf("closed with %d %q, want 1002", code, reason)
	}
}

// Compressed messages that wait for a slow client reach it whole and in order.
func TestCompressedQueueDrains(t *testing.T) {
	e := newEngine(t, Options{Compress: true, MaxQueuedBytes: 64 << 20})
	p, _ := dialCompressed(t, e, "system_id=1", websocket.CompressionNoContextTakeover)
	noise := make([]byte, 30_000)
	for i := range noise {
		noise[i] = "0123456789abcdef"[rand.IntN(16)]
	}
	sent := 0
	for queued := 0; queued < 20; sent++ {
		if r := push(t, e, ToSystem("1"), fmt.Sprintf(`{"n":%d,"noise":%q}`, sent, noise)); r.Queued > 0 {
			queued++
		}
	}
	for n := range sent {
		if env := p.next(); !bytes.HasPrefix(env.Data, fmt.Appendf(nil, `{"n":%d,`, n)) || len(env.Data) < len(noise) {
			t.Fatalf("message %d is %.20s", n, env.Data)
		}
	}
}
