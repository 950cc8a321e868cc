package ws

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// An echo is our end of a connection whose other end is an independent WebSocket
// library: it sends every message back, built from this package alone.
type echo struct {
	conn     net.Conn
	client   bool
	deflate  bool // agreed on with the peer
	readSize int  // bytes of a read, so that frames are cut anywhere
	fragment int  // bytes of a fragment of the answer
	window   int  // for AppendDeflated

	answer func(payload []byte) []byte // a frame; nil sends the message back
}

// appendFrame is a frame as this role sends it.
func (e *echo) appendFrame(dst []byte, op Opcode, fin, rsv1 bool, payload []byte) []byte {
	if !e.client {
		return append(AppendHeader(dst, op, fin, rsv1, len(payload)), payload...)
	}
	at := len(dst)
	dst = AppendMaskedFrame(dst, op, testKey, payload)
	if dst[at] = byte(op); fin {
		dst[at] |= finBit
	}
	if rsv1 {
		dst[at] |= rsv1Bit
	}
	return dst
}

// appendMessage is a message in fragments.
func (e *echo) appendMessage(dst []byte, op Opcode, payload []byte) []byte {
	rsv1 := e.deflate
	if e.deflate {
		payload = AppendDeflated(nil, payload, e.window)
	}
	for len(payload) > e.fragment {
		dst = e.appendFrame(dst, op, false, rsv1, payload[:e.fragment])
		dst = e.appendFrame(dst, OpPing, true, false, []byte("between"))
		op, rsv1, payload = OpContinuation, false, payload[e.fragment:]
	}
	return e.appendFrame(dst, op, true, rsv1, payload)
}

// serve answers the handshake and echoes until the close.
func (e *echo) serve() error {
	defer e.conn.Close()
	var head []byte
	for {
		buf := make([]byte, e.readSize)
		n, err := e.conn.Read(buf)
		if err != nil {
			return err
		}
		head = append(head, buf[:n]...)
		r, n, err := ParseRequest(head)
		if err == ErrIncomplete {
			continue
		}
		if err == nil {
			err = r.CheckUpgrade()
		}
		if err != nil {
			return err
		}
		window, extensions := NegotiateDeflate(r.Values("Sec-WebSocket-Extensions"))
		e.deflate = window > 0
		if _, err := e.conn.Write(AppendSwitchingProtocols(nil, r.Key(), "", extensions)); err != nil {
			return err
		}
		return e.loop(head[n:])
	}
}

// dial sends the handshake and echoes until the close.
func (e *echo) dial() error {
	defer e.conn.Close()
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	offer := map[string][]string{"Sec-WebSocket-Extensions": {deflateResponse}}
	if _, err := io.WriteString(e.conn, upgradeHead("GET / HTTP/1.1", offer)); err != nil {
		return err
	}
	buf := bufio.NewReader(e.conn)
	answer, err := http.ReadResponse(buf, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != 101 || answer.Header.Get("Sec-WebSocket-Accept") != AcceptKey(key) {
		return fmt.Errorf("handshake answered %q", answer.Header)
	}
	e.deflate = strings.HasPrefix(answer.Header.Get("Sec-WebSocket-Extensions"), deflateName)
	rest, _ := buf.Peek(buf.Buffered())
	return e.loop(rest)
}

func (e *echo) loop(rest []byte) error {
	d := Decoder{Client: e.client, Deflate: e.deflate, MaxMessage: 1 << 20}
	reads := e.pump()
	for {
		var out []byte
		for {
			var ev Event
			var err error
			if ev, rest, err = d.Next(rest); err != nil {
				var pe ProtocolError
				if !errors.As(err, &pe) {
					return err
				}
				_, _ = e.conn.Write(e.appendFrame(out, OpClose, true, false, AppendCloseBody(nil, pe.Code, pe.Reason)))
				return err
			}
			if ev.Kind == None {
				break
			}
			switch ev.Kind {
			case Message:
				if e.answer != nil {
					out = append(out, e.answer(ev.Payload)...)
					break
				}
				out = e.appendMessage(out, ev.Opcode, ev.Payload)
			case Ping:
				out = e.appendFrame(out, OpPong, true, false, ev.Payload)
			case Close:
				_, err := e.conn.Write(e.appendFrame(out, OpClose, true, false, AppendCloseBody(nil, ev.Code, ev.Reason)))
				return err
			}
		}
		if len(out) > 0 {
			if _, err := e.conn.Write(out); err != nil {
				return err
			}
		}
		var ok bool
		if rest, ok = <-reads; !ok {
			return io.ErrUnexpectedEOF
		}
	}
}

// pump reads all the time, whatever loop does: a pipe has no buffer, and both
// ends writing would be both waiting.
func (e *echo) pump() <-chan []byte {
	reads := make(chan []byte, 1<<16)
	go func() {
		defer close(reads)
		for {
			buf := make([]byte, e.readSize)
			n, err := e.conn.Read(buf)
			if err != nil {
				return
			}
			reads <- buf[:n]
		}
	}()
	return reads
}

// oneConn is a listener for a connection that exists.
type oneConn struct {
	conn chan net.Conn
	once sync.Once
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *oneConn) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// withPeer runs e against the other library and calls use with that one's end. It
// returns how e ended.
func withPeer(t testing.TB, e *echo, compression websocket.CompressionMode, use func(context.Context, *websocket.Conn)) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ours, theirs := net.Pipe()
	e.conn = ours
	ended := make(chan error, 1)
	if e.client {
		used := make(chan struct{})
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(used)
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: compression, CompressionThreshold: 1})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			use(ctx, c)
		})}
		l := &oneConn{conn: make(chan net.Conn, 1), done: make(chan struct{})}
		l.conn <- theirs
		go srv.Serve(l)
		defer srv.Close()
		go func() { ended <- e.dial() }()
		select {
		case <-used:
		case <-ctx.Done():
			t.Error("the handshake never came")
		}
		return <-ended
	}
	go func() { ended <- e.serve() }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return theirs, nil }}
	c, _, err := websocket.Dial(ctx, "ws://example.com/", &websocket.DialOptions{
		HTTPClient:      &http.Client{Transport: transport},
		CompressionMode: compression, CompressionThreshold: 1,
	})
	if err != nil {
		ours.Close()
		t.Errorf("%v; here: %v", err, <-ended)
		return nil
	}
	use(ctx, c)
	c.CloseNow()
	return <-ended
}

// exchange has the other library send payload in pieces and read it back.
func exchange(t testing.TB, ctx context.Context, c *websocket.Conn, kind websocket.MessageType, payload []byte, piece int) {
	c.SetReadLimit(1 << 20)
	sent := make(chan error, 1)
	go func() {
		w, err := c.Writer(ctx, kind)
		for p := payload; err == nil && len(p) > 0; {
			n := min(piece, len(p))
			_, err = w.Write(p[:n])
			p = p[n:]
		}
		if err == nil {
			err = w.Close()
		}
		sent <- err
	}()
	gotKind, got, err := c.Read(ctx)
	if kind == websocket.MessageText && !utf8.Valid(payload) {
		// The writer may or may not have been stopped by the close.
		if websocket.CloseStatus(err) != websocket.StatusInvalidFramePayloadData {
			t.Errorf("%q: %v, want status 1007", payload, err)
		}
		c.CloseNow()
		<-sent
		return
	}
	if err != nil || gotKind != kind || !bytes.Equal(got, payload) {
		t.Errorf("sent %v %.100q, read %v %.100q, %v", kind, payload, gotKind, got, err)
	}
	if err := <-sent; err != nil {
		t.Errorf("sending: %v", err)
	}
}

func TestPeer(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionNoContextTakeover} {
		for _, client := range []bool{false, true} {
			e := &echo{client: client, readSize: 1000, fragment: 7000}
			err := withPeer(t, e, mode, func(ctx context.Context, c *websocket.Conn) {
				for _, n := range []int{0, 1, 125, 126, 65535, 65536, 200_000} {
					exchange(t, ctx, c, websocket.MessageText, bytes.Repeat([]byte("a"), n), 30_000)
					exchange(t, ctx, c, websocket.MessageBinary, bytes.Repeat([]byte("\xff"), n), 50_000)
				}
				reading := c.CloseRead(ctx)
				if err := c.Ping(reading); err != nil {
					t.Errorf("client %v: ping: %v", client, err)
				}
				if err := c.Close(4321, "done, "+strings.Repeat("x", 100)); err != nil {
					t.Errorf("client %v: close: %v", client, err)
				}
			})
			if err != nil {
				t.Errorf("client %v: %v", client, err)
			}
			if want := mode != websocket.CompressionDisabled; e.deflate != want {
				t.Errorf("client %v: deflate %v, want %v", client, e.deflate, want)
			}
		}
	}
}

// FuzzPeer: what an independent library writes is read here, and what is written
// here it reads, in both roles and however the bytes and frames are cut.
func FuzzPeer(f *testing.F) {
	f.Add([]byte("héllo, 世界"), true, uint16(3), uint16(2), uint16(5), false)
	f.Add([]byte("\xff\xfe"), true, uint16(30), uint16(1), uint16(1), true)
	f.Add(bytes.Repeat([]byte("binary\x00"), 100), false, uint16(11), uint16(300), uint16(64), true)
	f.Add([]byte{}, false, uint16(0), uint16(0), uint16(0), false)
	f.Fuzz(func(t *testing.T, payload []byte, text bool, readSize, fragment, piece uint16, client bool) {
		fuzzPeer(t, websocket.CompressionDisabled, payload, text, readSize, fragment, piece, client)
	})
}

// FuzzPeerDeflate is FuzzPeer with permessage-deflate.
func FuzzPeerDeflate(f *testing.F) {
	f.Add([]byte("héllo, 世界"), true, uint16(3), uint16(2), uint16(5), false)
	f.Add([]byte("\xff\xfe"), true, uint16(30), uint16(1), uint16(1), true)
	f.Add(bytes.Repeat([]byte("binary\x00"), 300), false, uint16(11), uint16(9), uint16(64), true)
	f.Add([]byte{}, false, uint16(0), uint16(0), uint16(0), false)
	f.Fuzz(func(t *testing.T, payload []byte, text bool, readSize, fragment, piece uint16, client bool) {
		fuzzPeer(t, websocket.CompressionNoContextTakeover, payload, text, readSize, fragment, piece, client)
	})
}

func fuzzPeer(t *testing.T, mode websocket.CompressionMode, payload []byte, text bool, readSize, fragment, piece uint16, client bool) {
	kind := websocket.MessageBinary
	if text {
		kind = websocket.MessageText
	}
	// Small cuts of long messages take long and show nothing new.
	least := 1 + len(payload)/50
	e := &echo{
		client: client, readSize: least + int(readSize), fragment: least + int(fragment),
		window: minWindowBits + int(piece)%(MaxWindowBits+1-minWindowBits),
	}
	_ = withPeer(t, e, mode, func(ctx context.Context, c *websocket.Conn) {
		exchange(t, ctx, c, kind, payload, least+int(piece))
	})
}
