package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func TestMessagesArriveWholeAndInOrder(t *testing.T) {
	type message struct {
		kind Kind
		data string
	}
	got := make(chan message, 100)
	e := newEngine(t, Options{MaxMessageBytes: 1 << 20, OnMessage: func(_ *Client, k Kind, b []byte) {
		got <- message{k, string(b)}
		clear(b) // it is ours while we are called, and not after
	}})
	p := dial(t, e, "system_id=1")
	want := []message{{Text, ""}, {Text, "short"}, {Binary, "\x00\xff"}, {Binary, ""}, {Text, strings.Repeat("é", 1000)},
		{Binary, strings.Repeat("x", 200_000)}, {Text, strings.Repeat("y", 1<<20)}}
	for _, m := range want {
		typ := websocket.MessageText
		if m.kind == Binary {
			typ = websocket.MessageBinary
		}
		if err := p.Write(testContext(t), typ, []byte(m.data)); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range want {
		if g := <-got; g != m {
			t.Errorf("message %d: kind %d, %d bytes; want kind %d, %d bytes", i, g.kind, len(g.data), m.kind, len(m.data))
		}
	}
	c, _ := e.Client(p.id)
	if s := c.Stats(); s.MessagesIn != uint64(len(want)) || s.BytesIn < 1<<20 {
		t.Errorf("stats %+v after %d messages", s, len(want))
	}
}

func TestKindsOfData(t *testing.T) {
	e := newEngine(t, Options{Lang: English})
	p := dial(t, e, "system_id=1")
	ctx := testContext(t)
	rawPeer, resp, err := websocket.Dial(ctx, "ws://"+e.Addr().String()+"/ws?system_id=1",
		&websocket.DialOptions{Subprotocols: []string{"other", SubprotocolRaw}})
	if err != nil {
		t.Fatal(err)
	}
	defer rawPeer.CloseNow()
	if got := rawPeer.Subprotocol(); got != SubprotocolRaw {
		t.Fatalf("subprotocol %q", got)
	}
	rawID, err := ParseID(resp.Header.Get("Carillon-Client-Id"))
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := e.Client(rawID); !ok || c.Subprotocol() != SubprotocolRaw {
		t.Error("the raw client's id leads nowhere")
	}

	tests := []struct {
		name      string
		m         Message
		data      string // in the envelope
		params    string
		code      Code
		raw       string
		rawNotice bool // raw clients get nothing
	}{
		{"object", Message{Data: []byte(`{"a": [1, 2.50, 12345678901234567890]}`)}, `{"a": [1, 2.50, 12345678901234567890]}`, "null", CodeSent, `{"a": [1, 2.50, 12345678901234567890]}`, false},
		{"JSON string", Message{Data: []byte(`"a\"b\u00e9\n"`)}, `"a\"b\u00e9\n"`, "null", CodeSent, "a\"bé\n", false},
		{"text", Message{Kind: Text, Data: []byte("a\"b\\é\x01\t\u2028😀</script>")}, `"a\"b\\é\u0001\t` + "\u2028" + `😀</script>"`, "null", CodeSent, "a\"b\\é\x01\t\u2028😀</script>", false},
		{"empty text", Message{Kind: Text}, `""`, "null", CodeSent, "", false},
		{"null", Message{}, "null", "null", CodeSent, "", false},
		{"params", Message{Data: []byte("1"), Params: []byte(`{"p":true}`)}, "1", `{"p":true}`, CodeSent, "1", false},
		{"event", Message{Data: []byte("1"), Code: CodeBound}, "1", "null", CodeBound, "", true},
	}
	for _, tt := range tests {
		r, err := e.Push(ctx, ToSystem("1"), tt.m)
		if err != nil || r.Written != 2 {
			t.Fatalf("%s: %+v, %v", tt.name, r, err)
		}
		env := p.next()
		if string(env.Data) != tt.data || string(env.Params) != tt.params || env.Code != tt.code || env.Msg != tt.code.Text(English) {
			t.Errorf("%s: data %s, params %s, code %d %q; want %s, %s, %d", tt.name, env.Data, env.Params, env.Code, env.Msg, tt.data, tt.params, tt.code)
		}
		if tt.rawNotice {
			continue
		}
		if typ, b, err := rawPeer.Read(ctx); err != nil || typ != websocket.MessageText || string(b) != tt.raw {
			t.Errorf("%s: the raw client got %v %q, %v; want text %q", tt.name, typ, b, err, tt.raw)
		}
	}
	if _, err := e.Push(ctx, ToSystem("1"), Message{Kind: Binary, Data: []byte{0, 1, 255}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*websocket.Conn{p.Conn, rawPeer} {
		if typ, b, err := c.Read(ctx); err != nil || typ != websocket.MessageBinary || !bytes.Equal(b, []byte{0, 1, 255}) {
			t.Errorf("binary: got %v % x, %v", typ, b, err)
		}
	}
}

func TestBadPushes(t *testing.T) {
	e := newEngine(t, Options{})
	p := dial(t, e, "system_id=1")
	long := strings.Repeat("x", MaxNameBytes+1)
	deep := []byte(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000))
	tests := []struct {
		name  string
		to    Target
		m     Message
		field string
	}{
		{"no target", Target{}, Message{}, "target"},
		{"no system", ToSystem(""), Message{}, "system_id"},
		{"no group", ToGroup("1", ""), Message{}, "group_name"},
		{"long system", ToSystem(long), Message{}, "system_id"},
		{"group not UTF-8", ToGroup("1", "\xff"), Message{}, "group_name"},
		{"too many ids", ToClients("1", make([]ID, MaxTargets+1)...), Message{}, "client_ids"},
		{"too many exclusions", ToSystem("1", make([]ID, MaxTargets+1)...), Message{}, "exclude"},
		{"not JSON", ToAll(), Message{Data: []byte("{")}, "data"},
		{"two values", ToAll(), Message{Data: []byte("1 2")}, "data"},
		{"JSON not UTF-8", ToAll(), Message{Data: []byte("\"\xff\"")}, "data"},
		{"control character", ToAll(), Message{Data: []byte("\"\x01\"")}, "data"},
		{"too deep", ToAll(), Message{Data: deep}, "data"},
		{"text not UTF-8", ToAll(), Message{Kind: Text, Data: []byte("\xff")}, "data"},
		{"unknown kind", ToAll(), Message{Kind: 9}, "kind"},
		{"params", ToAll(), Message{Params: []byte("x")}, "params"},
	}
	for _, tt := range tests {
		var field *FieldError
		if r, err := e.Push(testContext(t), tt.to, tt.m); !errors.As(err, &field) || !errors.Is(err, ErrInvalid) || field.Field != tt.field || r.MessageID != "" {
			t.Errorf("%s: %+v, %v, want an error about %s", tt.name, r, err, tt.field)
		}
	}
	for _, id := range []ID{1, p.id + 1, 1<<63 - 1} {
		if _, err := e.Push(testContext(t), ToClient("1", id), Message{}); !errors.Is(err, ErrNoClient) {
			t.Errorf("push to client %v: %v, want ErrNoClient", id, err)
		}
	}
	if _, err := e.Push(testContext(t), ToClient("2", p.id), Message{}); !errors.Is(err, ErrNoClient) {
		t.Errorf("push to another system's client: %v, want ErrNoClient", err)
	}
	push(t, e, ToAll(), `"first"`)
	if env := p.next(); string(env.Data) != `"first"` {
		t.Errorf("a bad push was delivered: %+v", env)
	}
}

func TestDepth(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":[`, n) + "1" + strings.Repeat("]}", n) }
	tests := []struct {
		json string
		want int
	}{
		{"1", 0}, {`"[[["`, 0}, {`"\\"`, 0}, {`"a\"[["`, 0}, {"[]", 1}, {`[{},[]]`, 2}, {`["\\",["]"]]`, 2}, {nested(150), 300},
	}
	for _, tt := range tests {
		if got := depth([]byte(tt.json)); got != tt.want || !validJSON([]byte(tt.json)) {
			t.Errorf("depth(%.30s) = %d, want %d, and valid", tt.json, got, tt.want)
		}
	}
	if validJSON([]byte(nested(151))) {
		t.Error("302 deep is valid")
	}
	// What may be long must not be slow: a megabyte, shallow and with many brackets.
	if n := testing.AllocsPerRun(1, func() { validJSON([]byte("[" + strings.Repeat("[],", 300_000) + "[]]")) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

func TestPushToClientsReportsEach(t *testing.T) {
	e := newEngine(t, Options{})
	a, b, x := dial(t, e, "system_id=1"), dial(t, e, "system_id=1"), dial(t, e, "system_id=2")
	r := push(t, e, ToClients("1", b.id, 5, x.id, a.id, b.id), `1`)
	if got, want := fmt.Sprint(r.Outcomes), fmt.Sprint([]Outcome{Written, NoClient, NoClient, Written, Written}); got != want || r.Matched != 2 || r.Written != 2 {
		t.Errorf("outcomes %s, want %s; report %+v", got, want, r)
	}
}

func TestSendAndEcho(t *testing.T) {
	e := newEngine(t, Options{OnMessage: func(c *Client, k Kind, b []byte) {
		if k == Binary {
			c.Echo(k, b)
			return
		}
		if _, err := c.Send(Message{Kind: k, Data: b, Code: CodeRead}); err != nil {
			t.Error(err)
		}
	}})
	p := dial(t, e, "system_id=1")
	ctx := testContext(t)
	p.Write(ctx, websocket.MessageText, []byte(`say "hi"`))
	if env := p.next(); env.Code != CodeRead || string(env.Data) != `"say \"hi\""` || env.ClientID != p.id.String() {
		t.Errorf("got %+v", env)
	}
	p.Write(ctx, websocket.MessageBinary, []byte{1, 2})
	if typ, b, err := p.Read(ctx); err != nil || typ != websocket.MessageBinary || !bytes.Equal(b, []byte{1, 2}) {
		t.Errorf("echo: %v % x %v", typ, b, err)
	}
	c, _ := e.Client(p.id)
	if _, err := c.Send(Message{Data: []byte("{")}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Send of bad JSON: %v", err)
	}
	p.CloseNow()
	eventually(t, "the client is gone", func() bool { return e.Count(Query{}) == 0 })
	if o, err := c.Send(Message{}); o != Dropped || err != nil {
		t.Errorf("Send to a closed client: %v, %v, want Dropped", o, err)
	}
}

// A fragmented message with a ping inside, from a peer that writes frames by hand.
func TestPingInsideMessage(t *testing.T) {
	e := newEngine(t, Options{NoWelcome: true, OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) }})
	conn := rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))
	io.WriteString(conn, "\x01\x82\x00\x00\x00\x00ab"+"\x89\x81\x00\x00\x00\x00p"+"\x80\x81\x00\x00\x00\x00c")
	want := "\x8a\x01p" + "\x81\x03abc"
	b, err := readUntil(conn, want)
	if err != nil {
		t.Errorf("got %q, %v; want %q at the end", b, err, want)
	}
}

// readUntil reads until what was read ends with want.
func readUntil(r io.Reader, want string) (string, error) {
	var b strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(b.String(), want) {
		if _, err := io.ReadFull(r, one); err != nil {
			return b.String(), err
		}
		b.Write(one)
	}
	return b.String(), nil
}

func TestInboundRate(t *testing.T) {
	var r inboundRate
	for range 3 {
		r.frames(1)
	}
	if got := r.bytes(7, 100); got != 100 || r.frames(1) != 1 {
		t.Errorf("a new second begins with %d bytes and %d messages", got, r.n)
	}
	if r.bytes(7, 50) != 150 || r.frames(1) != 2 || r.bytes(8, 1) != 1 {
		t.Error("counts are not by the second")
	}
	ends := make(chan CloseReason, 1)
	e := newEngine(t, Options{MaxInboundBytes: 10_000, OnClose: func(_ *Client, why CloseReason) { ends <- why }})
	p := dial(t, e, "system_id=1")
	p.Write(testContext(t), websocket.MessageText, make([]byte, 30_000))
	if got := p.closed(); got.Code != 1008 {
		t.Errorf("30 KB at once: %v", got)
	}
	if why := <-ends; why != CloseRate {
		t.Errorf("closed for %v", why)
	}
}
