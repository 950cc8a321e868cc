package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// hears demands that the next message of p tells a group of a client.
func hears(t *testing.T, p *peer, code Code, group string, id ID) {
	t.Helper()
	_, b, err := p.Read(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Code      Code
		GroupName string `json:"group_name"`
		Data      struct {
			ClientID string `json:"client_id"`
		}
	}
	if err := json.Unmarshal(b, &d); err != nil || d.Code != code || d.GroupName != group || d.Data.ClientID != id.String() {
		t.Errorf("got %s, want code %d for %s about %v", b, code, group, id)
	}
}

// With NotifyLeave the groups of a client hear that it has left, once, however it did.
func TestNotifyLeave(t *testing.T) {
	e := newEngine(t, Options{NotifyLeave: true, PingInterval: time.Second, PongTimeout: time.Second,
		OnMessage: func(c *Client, _ Kind, _ []byte) { panic("defect") }})
	member := dial(t, e, "system_id=1&group_name=g&group_name=h")
	for name, leave := range map[string]func(*peer){
		"closes":         func(p *peer) { p.Close(websocket.StatusNormalClosure, "") },
		"is cut off":     func(p *peer) { p.CloseNow() },
		"is closed":      func(p *peer) { e.Close("1", p.id, "") },
		"breaks a rule":  func(p *peer) { p.Write(testContext(t), websocket.MessageText, []byte("\xff")) },
		"a callback's":   func(p *peer) { p.Write(testContext(t), websocket.MessageText, []byte("x")) },
		"told of anyway": func(p *peer) { e.CloseWith(testContext(t), "1", p.id, CloseOptions{Notify: true}) },
	} {
		p := dial(t, e, "system_id=1&group_name=g&group_name=h")
		leave(p)
		t.Log(name)
		hears(t, member, CodeLeft, "g", p.id)
		hears(t, member, CodeLeft, "h", p.id)
	}
	// Who has left a group before is no news to it.
	p := dial(t, e, "system_id=1&group_name=g")
	if _, err := e.Unbind("1", p.id, "g"); err != nil {
		t.Fatal(err)
	}
	p.CloseNow()
	eventually(t, "it is gone", func() bool { _, there := e.Client(p.id); return !there })
	push(t, e, ToSystem("1"), `"marker"`)
	if _, b, err := member.Read(testContext(t)); err != nil || !strings.Contains(string(b), "marker") {
		t.Errorf("got %s, %v", b, err)
	}
}

// A shutdown tells nobody: everybody leaves.
func TestNotifyLeaveIsQuietAtShutdown(t *testing.T) {
	e := newEngine(t, Options{NotifyLeave: true})
	var peers []*peer
	for range 20 {
		peers = append(peers, dial(t, e, "system_id=1&group_name=g"))
	}
	go e.Shutdown(context.Background())
	for _, p := range peers {
		if _, b, err := p.Read(testContext(t)); err == nil {
			t.Errorf("a client was told %s", b)
		}
	}
}

// What a group is told comes behind what was pushed to it before, and never blocks the
// one who leaves: here, the group's pushes are stuck behind a full system.
func TestNotifyComesBehindPushes(t *testing.T) {
	e := newEngine(t, Options{NotifyLeave: true})
	members := make([]*peer, 200) // more than a caller serves by itself
	for i := range members {
		members[i] = dial(t, e, "system_id=1&group_name=g")
	}
	p := dial(t, e, "system_id=1&group_name=g&notify=1")
	hears(t, p, CodeBound, "g", p.id)
	for i := range 50 {
		if _, err := e.Post(testContext(t), ToGroup("1", "g"), Message{Data: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.CloseWith(testContext(t), "1", p.id, CloseOptions{Code: 4000, Reason: "out", Notify: true}); err != nil {
		t.Fatal(err)
	}
	for i := range 50 { // it got what was pushed before
		if _, b, err := p.Read(testContext(t)); err != nil || !strings.Contains(string(b), fmt.Sprintf(`"data":%d,`, i)) {
			t.Fatalf("push %d: %s, %v", i, b, err)
		}
	}
	var ce websocket.CloseError
	if _, _, err := p.Read(testContext(t)); !errors.As(err, &ce) || ce.Code != 4000 || ce.Reason != "out" {
		t.Errorf("the client ended with %v", err)
	}
	for _, m := range members {
		hears(t, m, CodeBound, "g", p.id)
		for i := range 50 {
			if _, b, err := m.Read(testContext(t)); err != nil || !strings.Contains(string(b), fmt.Sprintf(`"data":%d,`, i)) {
				t.Fatalf("push %d: %s, %v", i, b, err)
			}
		}
		hears(t, m, CodeLeft, "g", p.id)
	}
}

// A mass of clients that leave keeps no more than the bound, and no goroutine behind it.
func TestNotifierIsBounded(t *testing.T) {
	e := newEngine(t, Options{NotifyLeave: true})
	member := dial(t, e, "system_id=1&group_name=g")
	c, _ := e.Client(member.id)
	n := &e.notifier
	n.mu.Lock()
	n.n = maxTellings // as if so many waited
	n.mu.Unlock()
	n.post(c, CodeLeft)
	n.mu.Lock()
	if len(n.due) != 0 || n.tellers != 0 {
		t.Errorf("over the bound, %d systems and %d goroutines", len(n.due), n.tellers)
	}
	n.n = 0
	n.mu.Unlock()

	most := 0
	for i := range 200 { // systems
		dial(t, e, fmt.Sprintf("system_id=s%d&group_name=g", i)).CloseNow()
		n.mu.Lock()
		most = max(most, n.tellers)
		n.mu.Unlock()
	}
	eventually(t, "all are told", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.n == 0 && n.tellers == 0 && len(n.due) == 0
	})
	if most > maxTellers {
		t.Errorf("%d goroutines at once", most)
	}
}

func TestCloseWith(t *testing.T) {
	e := newEngine(t, Options{})
	p := dial(t, e, "system_id=1")
	for _, o := range []CloseOptions{{Code: 1}, {Code: 1001}, {Code: 2999}, {Code: 5000}, {Code: -1}, {Reason: strings.Repeat("x", 124)}, {Reason: "\xff"}} {
		if _, err := e.CloseWith(testContext(t), "1", p.id, o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", o, err)
		}
	}
	if _, err := e.CloseWith(testContext(t), "2", p.id, CloseOptions{Notify: true}); !errors.Is(err, ErrNoClient) {
		t.Errorf("another system: %v", err)
	}
	if id, err := e.CloseWith(testContext(t), "1", p.id, CloseOptions{Code: 1000, Notify: true}); err != nil || id != "" {
		t.Errorf("in no group: %q, %v", id, err)
	}
	var ce websocket.CloseError
	if _, _, err := p.Read(testContext(t)); !errors.As(err, &ce) || ce.Code != 1000 {
		t.Errorf("the client ended with %v", err)
	}
}

// The welcome is a short message, in however many groups the client is.
func TestWelcomeIsBounded(t *testing.T) {
	e := newEngine(t, Options{MaxGroups: 1000, Authenticate: func(context.Context, *Handshake) (Identity, error) {
		id := Identity{System: "1"}
		for i := range 1000 {
			id.Groups = append(id.Groups, fmt.Sprintf("%0128d", i))
		}
		return id, nil
	}})
	c, _, err := websocket.Dial(testContext(t), "ws://"+e.Addr().String()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	var welcome struct{ Params struct{ Groups []string } }
	_, b, err := c.Read(testContext(t))
	if err != nil || json.Unmarshal(b, &welcome) != nil || len(welcome.Params.Groups) != maxWelcomed || len(b) > 16<<10 {
		t.Errorf("%d groups in %d bytes, %v", len(welcome.Params.Groups), len(b), err)
	}
}

func TestHalfSurrogatePairsAreRefused(t *testing.T) {
	e := newEngine(t, Options{})
	for _, m := range []Message{{Data: []byte(`"\ud800"`)}, {Data: []byte(`[{"a\udc00":1}]`)}, {Params: []byte(`"\ud83d \udd14"`)}} {
		if _, err := e.Push(testContext(t), ToAll(), m); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "surrogate") {
			t.Errorf("%s %s: %v", m.Data, m.Params, err)
		}
	}
	if _, err := e.Push(testContext(t), ToAll(), Message{Data: []byte(`"\ud83d\udd14\\ud800"`)}); err != nil {
		t.Error(err)
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"yes": `"yes"`, "": `""`, "a\"b\n": `"a\"b\n"`, "\xff": `"?"`, strings.Repeat("x", 41): `"` + strings.Repeat("x", 40) + `"…`,
		strings.Repeat("日", 20): `"` + strings.Repeat("日", 13) + `"…`,
	} {
		if got := Quote(word); got != want {
			t.Errorf("Quote(%q) = %s, want %s", word, got, want)
		}
	}
}
