package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"carillon/engine/ws"
)

// A logBook is a log to look things up in.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// take returns what was logged since the last call.
func (l *logBook) take(t *testing.T) (entries []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.buf.Bytes()) {
		var entry map[string]any
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("log line %s: %v", line, err)
		}
		entries = append(entries, entry)
	}
	l.buf.Reset()
	return entries
}

func panicsAtWill(callback string) { panic(callback + " went wrong") }

// A callback that panics ends its own connection, with 1011, and leaves one line in
// the log that says where. The clients on the same pollers do not notice, whether
// they were there or come later.
func TestPanics(t *testing.T) {
	var log logBook
	logger := zerolog.New(&log).Level(zerolog.InfoLevel)
	o := Options{Logger: &logger}
	ledger := keepLedger(t, &o)
	opened, closed := o.OnOpen, o.OnClose
	var heard atomic.Int32
	in := func(c *Client, callback string) {
		if c.User() == callback {
			panicsAtWill(callback)
		}
	}
	o.Authenticate = func(_ context.Context, h *Handshake) (Identity, error) {
		id, err := QueryIdentity(h)
		if id.User == "Authenticate" {
			panicsAtWill("Authenticate")
		}
		return id, err
	}
	o.OnOpen = func(c *Client) { opened(c); in(c, "OnOpen") }
	o.OnMessage = func(c *Client, _ Kind, b []byte) { heard.Add(1); in(c, "OnMessage") }
	o.OnClose = func(c *Client, why CloseReason) { closed(c, why); in(c, "OnClose") }
	e := newEngine(t, o)
	var others []*wire
	for range 8 {
		others = append(others, dialWire(t, e, "system_id=bystander"))
	}
	tests := []struct {
		callback string
		code     uint16 // of the close frame; 0 for a refused handshake
		why      CloseReason
		heard    int32 // of two messages in one packet
	}{
		{"Authenticate", 0, 0, 0},
		{"OnOpen", 1011, ClosePanic, 0},
		{"OnMessage", 1011, ClosePanic, 1},
		{"OnClose", 1000, ClosePeer, 2},
	}
	for _, tt := range tests {
		for round := range 10 {
			heard.Store(0)
			w, err := openWire(new(net.Dialer), e.Addr().String(), "system_id=1&user_id="+tt.callback)
			if tt.code == 0 {
				if want := (&errRefused{status: 500}).Error(); err == nil || err.Error() != want {
					t.Fatalf("%s: %v, want %s", tt.callback, err, want)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				message := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{}, []byte("hi"))
				w.Write(bytes.Repeat(message, 2)) // fails if it has ended already
				if tt.callback == "OnClose" {
					w.sendClose()
				}
				if end := w.each(func([]byte) bool { return true }); end != (ended{tt.code, io.EOF}) {
					t.Errorf("%s: the client saw %+v, want %d and EOF", tt.callback, end, tt.code)
				}
				w.Close()
			}
			settled(t, e, len(others))
			reasons := ledger.closed(e, len(others))
			if tt.code != 0 && (len(reasons) != 1 || reasons[tt.why] != 1) {
				t.Errorf("%s: OnClose was given %v, want %v", tt.callback, reasons, tt.why)
			}
			if n := heard.Load(); n != tt.heard {
				t.Errorf("%s: OnMessage was called %d times, want %d", tt.callback, n, tt.heard)
			}
			var entries []map[string]any
			eventually(t, tt.callback+": it is in the log", func() bool { entries = append(entries, log.take(t)...); return len(entries) > 0 })
			ring(t, e, others[round%len(others)])
			entries = append(entries, log.take(t)...)
			if len(entries) != 1 {
				t.Fatalf("%s: %d lines in the log, want 1: %v", tt.callback, len(entries), entries)
			}
			stack, _ := entries[0]["stack"].(string)
			delete(entries[0], "stack")
			delete(entries[0], "client")
			want := map[string]any{"level": "error", "callback": tt.callback, "panic": tt.callback + " went wrong", "message": "callback panicked"}
			if fmt.Sprint(entries[0]) != fmt.Sprint(want) || !strings.Contains(stack, "panicsAtWill") {
				t.Errorf("logged %v with the stack %q, want %v with panicsAtWill in the stack", entries[0], stack, want)
			}
		}
	}
	late := dialWire(t, e, "system_id=bystander")
	for _, w := range append(others, late) {
		ring(t, e, w)
	}
}
