package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"carillon/engine/ws"
)

// A wire is a client that does what it likes with its socket: it reads and writes
// frames by hand, and can stop in the middle of anything.
type wire struct {
	*net.TCPConn
	br *bufio.Reader
	id ID
}

// errRefused is an answer to a handshake that is not 101.
type errRefused struct {
	status     int
	retryAfter string
}

func (e *errRefused) Error() string { return fmt.Sprint("refused with ", e.status) }

// openWire connects and reads the welcome. d.Timeout bounds each of the two.
func openWire(d *net.Dialer, addr, query string) (*wire, error) {
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &wire{TCPConn: conn.(*net.TCPConn), br: bufio.NewReaderSize(conn, 512)}
	if d.Timeout > 0 {
		w.SetDeadline(time.Now().Add(d.Timeout))
		defer w.SetDeadline(time.Time{})
	}
	if err := w.greet(query); err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) greet(query string) error {
	if _, err := fmt.Fprintf(w, upgrade, query); err != nil {
		return err
	}
	resp, err := http.ReadResponse(w.br, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return &errRefused{resp.StatusCode, resp.Header.Get("Retry-After")}
	}
	_, welcome, err := w.read()
	if err != nil {
		return err
	}
	var env envelope
	if err := json.Unmarshal(welcome, &env); err != nil {
		return fmt.Errorf("welcome %q: %w", welcome, err)
	}
	w.id, err = ParseID(env.ClientID)
	return err
}

// openWires connects n clients of system 1, several at a time.
func openWires(n int, d *net.Dialer, addr string) (wires []*wire, err error) {
	var mu sync.Mutex
	var opening sync.WaitGroup
	limit := make(chan struct{}, 64)
	for range n {
		limit <- struct{}{}
		opening.Go(func() {
			w, werr := openWire(d, addr, "system_id=1&group_name=g")
			<-limit
			mu.Lock()
			defer mu.Unlock()
			if werr != nil {
				err = werr
				return
			}
			wires = append(wires, w)
		})
	}
	opening.Wait()
	return wires, err
}

// dialWire is openWire for a test. No read waits for more than a minute.
func dialWire(t testing.TB, e *Engine, query string) *wire {
	t.Helper()
	w, err := openWire(new(net.Dialer), e.Addr().String(), query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	w.SetDeadline(time.Now().Add(time.Minute))
	return w
}

// read reads one frame.
func (w *wire) read() (ws.Opcode, []byte, error) {
	var head [10]byte
	if _, err := io.ReadFull(w.br, head[:2]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	switch n {
	case 126:
		if _, err := io.ReadFull(w.br, head[2:4]); err != nil {
			return 0, nil, err
		}
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		if _, err := io.ReadFull(w.br, head[2:10]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(head[2:])
	}
	payload := make([]byte, n)
	_, err := io.ReadFull(w.br, payload)
	return ws.Opcode(head[0] & 0x0f), payload, err
}

// send writes one frame.
func (w *wire) send(op ws.Opcode, payload []byte) error {
	_, err := w.Write(ws.AppendMaskedFrame(nil, op, [4]byte{1, 2, 3, 4}, payload))
	return err
}

// sendClose writes a close frame of code 1000.
func (w *wire) sendClose() error { return w.send(ws.OpClose, []byte{0x03, 0xe8}) }

// ended is how a connection ended: the code of the close frame, 0 without one, and
// io.EOF or the error behind it.
type ended struct {
	code uint16
	err  error
}

// each calls f with the payload of each message, until f returns false or the
// connection ends. It answers pings, and the server's close frame.
func (w *wire) each(f func(payload []byte) bool) (end ended) {
	for {
		op, payload, err := w.read()
		switch {
		case err != nil:
			end.err = err
			return end
		case op == ws.OpPing:
			w.send(ws.OpPong, payload)
		case op == ws.OpClose:
			end.code = binary.BigEndian.Uint16(payload)
			w.sendClose() // fails if both sides closed and the server is gone
		case !f(payload):
			return end
		}
	}
}

// reset ends a connection with a RST, whatever waits on either side.
func reset(conn net.Conn) {
	conn.(interface{ SetLinger(int) error }).SetLinger(0)
	conn.Close()
}

// number finds n in the envelope of a push of numbered(n, …), -1 if it is another.
func number(payload []byte) int {
	_, rest, ok := bytes.Cut(payload, []byte(`"data":{"n":`))
	end := bytes.IndexAny(rest, ",}")
	if !ok || end < 0 {
		return -1
	}
	n, err := strconv.Atoi(string(rest[:end]))
	if err != nil {
		return -1
	}
	return n
}

// numbered is data that says its number and has about the given size.
func numbered(n, size int) []byte {
	return fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, bytes.Repeat([]byte("x"), size))
}
