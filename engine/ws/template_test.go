package ws

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

const (
	testPrefix = `{"system_id":"shop","client_id":"`
	testSuffix = `","message_id":"k3j","group_name":"","code":10009,"msg":"发送消息成功","data":"hello","params":null}`
)

func TestTemplate(t *testing.T) {
	digits := strings.Repeat("1234567890", 7000)
	for _, parts := range [][2]string{{testPrefix, testSuffix}, {"", ""}, {testPrefix, ""}, {"", testSuffix}, {digits, digits}} {
		prefix, suffix := []byte(parts[0]), []byte(parts[1])
		for name, tmpl := range map[string]*Template{
			"plain":    NewTemplate(OpText, prefix, suffix),
			"deflated": NewDeflatedTemplate(OpText, prefix, suffix, 15),
			"window 9": NewDeflatedTemplate(OpText, prefix, suffix, 9),
		} {
			for n := range 30 {
				checkTemplate(t, name, tmpl, parts[0]+digits[:n]+parts[1], digits[:n])
			}
			checkTemplate(t, name, tmpl, parts[0]+digits[:MaxTemplateID]+parts[1], digits[:MaxTemplateID])
		}
	}
}

func checkTemplate(t *testing.T, name string, tmpl *Template, want, id string) {
	t.Helper()
	frame, end := tmpl.Append([]byte("before"), []byte(id))
	if got := string(frame[end-len(id) : end]); got != id {
		t.Errorf("%q ends at %d, where %q does", id, end, got)
	}
	frame = frame[len("before"):]
	if len(frame) != tmpl.Len(len(id)) {
		t.Errorf("%s: %d bytes, Len(%d) = %d", name, len(frame), len(id), tmpl.Len(len(id)))
	}
	if z := frame[HeaderLen(tmpl.payloadLen(len(id))):]; tmpl.deflated {
		if got := inflateAll(t, z); string(got) != want {
			t.Errorf("%s: compress/flate reads %.100q, want %.100q", name, got, want)
		}
	}
	d := Decoder{Client: true, Deflate: tmpl.deflated}
	ev, rest, err := d.Next(frame)
	if err != nil || len(rest) != 0 || ev.Opcode != OpText || string(ev.Payload) != want {
		t.Errorf("%s: %.100q, %v, want %.100q", name, ev.Payload, err, want)
	}
}

func TestTemplateIDTooLong(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewTemplate(OpText, nil, nil).Append(nil, make([]byte, MaxTemplateID+1))
}

// An independent library reads what the templates make.
func TestTemplatePeer(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionNoContextTakeover} {
		e := &echo{readSize: 100, fragment: 100}
		e.answer = func(id []byte) []byte {
			tmpl := NewTemplate(OpText, []byte(testPrefix), []byte(testSuffix))
			if e.deflate {
				tmpl = NewDeflatedTemplate(OpText, []byte(testPrefix), []byte(testSuffix), 15)
			}
			b, _ := tmpl.Append(nil, id)
			return b
		}
		_ = withPeer(t, e, mode, func(ctx context.Context, c *websocket.Conn) {
			for n := 1; n <= 20; n++ {
				id := bytes.Repeat([]byte("7"), n)
				if err := c.Write(ctx, websocket.MessageText, id); err != nil {
					t.Error(err)
					return
				}
				_, got, err := c.Read(ctx)
				if want := testPrefix + string(id) + testSuffix; err != nil || string(got) != want {
					t.Errorf("%q, %v, want %q", got, err, want)
					return
				}
			}
		})
	}
}

func BenchmarkTemplate(b *testing.B) {
	id, buf := []byte("4611686018427387904"), make([]byte, 0, 1024)
	for name, tmpl := range map[string]*Template{
		"plain":    NewTemplate(OpText, []byte(testPrefix), []byte(testSuffix)),
		"deflated": NewDeflatedTemplate(OpText, []byte(testPrefix), []byte(testSuffix), 15),
	} {
		b.Run(fmt.Sprintf("%s/%dB", name, tmpl.Len(len(id))), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = tmpl.Append(buf[:0], id)
			}
		})
	}
}
