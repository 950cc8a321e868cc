package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"
)

// choose connects with the lines of subprotocols, and returns the answer and the
// client, if it opened.
func choose(t *testing.T, e *Engine, opened chan *Client, lines ...string) (*http.Response, *bufio.Reader, *Client) {
	t.Helper()
	br := bufio.NewReader(rawConn(t, e, offering(lines...)))
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 {
		return resp, br, nil
	}
	return resp, br, <-opened
}

func TestSubprotocolOfTheEngine(t *testing.T) {
	opened := make(chan *Client, 1)
	for _, authenticate := range []func(context.Context, *Handshake) (Identity, error){
		nil, func(_ context.Context, h *Handshake) (Identity, error) { return QueryIdentity(h) },
	} {
		e := newEngine(t, Options{OnOpen: func(c *Client) { opened <- c }, Authenticate: authenticate})
		for _, tt := range []struct {
			lines  []string
			status int
			chosen string
		}{
			{nil, 101, ""},
			{[]string{""}, 101, ""},
			{[]string{" , ,"}, 101, ""},
			{[]string{"carillon.raw"}, 101, "carillon.raw"},
			{[]string{"a, carillon.raw, b"}, 101, "carillon.raw"},
			{[]string{"a", "b,carillon.raw"}, 101, "carillon.raw"},
			{[]string{"a"}, 400, ""},
			{[]string{"", "a,b"}, 400, ""},
			{[]string{"carillon.raw2"}, 400, ""},
			{[]string{"CARILLON.RAW"}, 400, ""},
		} {
			resp, _, c := choose(t, e, opened, tt.lines...)
			if resp.StatusCode != tt.status || resp.Header.Get("Sec-WebSocket-Protocol") != tt.chosen || c != nil && c.Subprotocol() != tt.chosen {
				t.Errorf("offered %q: %v, want %d with %q", tt.lines, resp, tt.status, tt.chosen)
			}
		}
		if n := e.Stats().Refused["subprotocol"]; n != 4 {
			t.Errorf("%d refused, want 4", n)
		}
	}
}

// What Authenticate chooses is named in the answer, and speaks the envelope.
func TestSubprotocolOfAuthenticate(t *testing.T) {
	opened := make(chan *Client, 1)
	logs := new(logBuffer)
	log := zerolog.New(logs).Level(zerolog.WarnLevel)
	long := strings.Repeat("a", 1<<13)
	var chosen atomic.Pointer[Identity]
	e := newEngine(t, Options{Logger: &log, MaxHandshakeBytes: 1 << 20, OnOpen: func(c *Client) { opened <- c },
		Authenticate: func(_ context.Context, h *Handshake) (Identity, error) {
			id := *chosen.Load()
			if offered := h.Subprotocols(); id.Subprotocol == "last" && len(offered) > 0 {
				id.Subprotocol = offered[len(offered)-1]
			}
			return id, nil
		}})
	for _, tt := range []struct {
		chosen string
		lines  []string
		status int
		want   string
	}{
		{"chat", []string{"chat"}, 101, "chat"},
		{"chat", []string{"a, chat", "b"}, 101, "chat"},
		{"chat", []string{"carillon.raw, chat"}, 101, "chat"},
		{"carillon.raw", []string{"chat, carillon.raw"}, 101, "carillon.raw"},
		{"", []string{"chat, carillon.raw"}, 101, "carillon.raw"},
		{"", nil, 101, ""},
		{"", []string{"chat"}, 400, ""},
		{"last", []string{"chat, token." + long[1:1000]}, 101, "token." + long[1:1000]},
		{"last", []string{long[1:]}, 101, long[1:]},
		{"chat", nil, 500, ""},
		{"chat", []string{"Chat, chats"}, 500, ""},
		{"carillon.raw", []string{"chat"}, 500, ""},
		{"a b", []string{"a b"}, 500, ""},
		{"a\r\nX: y", []string{"chat"}, 500, ""},
	} {
		for _, user := range []string{"", "ann", "chat"} {
			chosen.Store(&Identity{System: "s", User: user, Subprotocol: tt.chosen})
			before := strings.Count(logs.String(), "\n")
			resp, br, c := choose(t, e, opened, tt.lines...)
			if resp.StatusCode != tt.status || strings.Join(resp.Header["Sec-Websocket-Protocol"], "|") != tt.want {
				t.Errorf("%.40q of %.40q: %v, want %d with %.40q", tt.chosen, tt.lines, resp.Status, tt.status, tt.want)
				continue
			}
			if logged := strings.Count(logs.String(), "\n") - before; (logged == 1) != (tt.status == 500) {
				t.Errorf("%.40q of %.40q: %d lines in the log", tt.chosen, tt.lines, logged)
			}
			if c == nil {
				var body struct{ Code Code }
				if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || tt.status == 500 && body.Code != CodeInternal {
					t.Errorf("%.40q of %.40q: code %d, %v", tt.chosen, tt.lines, body.Code, err)
				}
				continue
			}
			if c.Subprotocol() != tt.want || c.User() != user {
				t.Errorf("%.40q of %.40q: the client has %.40q and the user %.40q, want %q", tt.chosen, tt.lines, c.Subprotocol(), c.User(), user)
			}
			isRaw := tt.want == SubprotocolRaw
			if !isRaw {
				w := wire{br: br}
				var env envelope
				if _, b, err := w.read(); err != nil || json.Unmarshal(b, &env) != nil || env.ClientID != c.ID().String() {
					t.Errorf("the welcome is %s, %v", b, err)
				}
			}
			push(t, e, ToClient("s", c.ID()), `"x"`)
			w := wire{br: br}
			if _, b, err := w.read(); err != nil || (string(b) == "x") != isRaw {
				t.Errorf("%.40q: a push arrives as %s, %v", tt.want, b, err)
			}
			if (resp.Header.Get("Carillon-Client-Id") != "") != isRaw {
				t.Errorf("%.40q: Carillon-Client-Id %q", tt.want, resp.Header.Get("Carillon-Client-Id"))
			}
		}
	}
	if s := logs.String(); len(s) > 10_000 {
		t.Errorf("the log has %d bytes", len(s))
	}
	// As many different ones as there are clients.
	chosen.Store(&Identity{System: "s", User: "ann", Subprotocol: "last"})
	for n := range 600 {
		name := fmt.Sprint("token.", n)
		if resp, _, c := choose(t, e, opened, name); c == nil || c.Subprotocol() != name || c.User() != "ann" {
			b, _ := io.ReadAll(resp.Body)
			t.Fatalf("%s: %v %s", name, resp, b)
		}
	}
}
