package engine

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"carillon/engine/ws"
)

func init() { roles["flood"], roles["honest"] = floodRole, honestRole }

// A flood is what clients of another process send as fast as the server reads.
type flood struct {
	Addr    string
	Clients int
	Kind    string
}

// floods are the frames of a flood by its kind.
var floods = map[string]func() []byte{
	"pings":     func() []byte { return ws.AppendMaskedFrame(nil, ws.OpPing, [4]byte{1, 2, 3, 4}, nil) },
	"messages":  func() []byte { return ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, []byte("hello")) },
	"fragments": func() []byte { return []byte{0x00, 0x80, 0, 0, 0, 0} },
	"bombs": func() []byte { // 64 KiB in some 90 bytes
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.BestCompression)
		w.Write(bytes.Repeat([]byte("a"), 60<<10))
		w.Flush()
		frame := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{}, b.Bytes()[:b.Len()-4])
		frame[0] |= 0x40
		return frame
	},
}

func floodRole(spec []byte, p *parent) error {
	var f flood
	if err := json.Unmarshal(spec, &f); err != nil {
		return err
	}
	one := floods[f.Kind]()
	many := bytes.Repeat(one, max(1, 64<<10/len(one)))
	for range f.Clients {
		go func() {
			for {
				conn, err := net.Dial("tcp", f.Addr)
				if err != nil {
					return
				}
				go io.Copy(io.Discard, conn)
				request := fmt.Sprintf(upgrade, "system_id=flood")
				if f.Kind == "bombs" {
					request = request[:len(request)-2] + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
				}
				io.WriteString(conn, request)
				if f.Kind == "fragments" {
					conn.Write([]byte{0x01, 0x80, 0, 0, 0, 0})
				}
				for err == nil {
					_, err = conn.Write(many)
				}
				conn.Close()
			}
		}()
	}
	p.say(true)
	return p.hear(new(struct{}))
}

// Eight clients that send as fast as they can do not keep another one waiting, whatever
// they send, and with no limit to stop them.
func TestFloods(t *testing.T) {
	for kind := range floods {
		t.Run(kind, func(t *testing.T) {
			e := newEngine(t, Options{Compress: true, MaxInboundMessages: -1, MaxInboundBytes: -1, NoWelcome: true,
				OnMessage: func(c *Client, kind Kind, b []byte) { c.Send(Message{Kind: Text, Data: b, Code: CodeRead}) }})
			honest := startChild(t, "honest", e.Addr().String())
			idle := echoes(honest, 200/fewer)
			var begun bool
			startChild(t, "flood", flood{e.Addr().String(), 8, kind}).hear(&begun)
			time.Sleep(300 * time.Millisecond)
			busy := echoes(honest, 100/fewer)
			t.Logf("an echo takes %v alone, %v among floods of %s (p50)", idle, busy, kind)
			// The processors are shared with what floods, and with whatever else runs: this
			// is about seconds, and BenchmarkFloods about the figure.
			if busy > time.Second {
				t.Errorf("an echo takes %v", busy)
			}
		})
	}
}

// echoes is the median time of n echoes of an honest client.
func echoes(honest *child, n int) (p50 time.Duration) {
	honest.ask(n, &p50)
	return p50
}

// honestRole is a client of another process that measures echoes.
func honestRole(spec []byte, p *parent) error {
	var addr string
	if err := json.Unmarshal(spec, &addr); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(conn, upgrade, "system_id=1")
	if _, err := readUntil(conn, "\r\n\r\n"); err != nil {
		return err
	}
	w := &wire{TCPConn: conn.(*net.TCPConn), br: bufio.NewReader(conn)}
	for {
		var n int
		if err := p.hear(&n); err != nil {
			return err
		}
		took := make([]time.Duration, n)
		for i := range took {
			begin := time.Now()
			if err := w.send(ws.OpText, []byte("honest")); err != nil {
				return err
			}
			if _, _, err := w.read(); err != nil {
				return err
			}
			took[i] = time.Since(begin)
			time.Sleep(time.Millisecond)
		}
		slices.Sort(took)
		p.say(took[n/2])
	}
}
