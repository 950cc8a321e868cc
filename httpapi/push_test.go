package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"carillon/engine"
)

const noID = "4611686018427387904" // no client's, but well-formed

func TestPushToClientAnswersInTheOriginalsForm(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=123")
	resp, body := s.do("POST", "/push_to_client", typeForm,
		"system_id=123&client_id="+p.id+"&data="+url.QueryEscape(`{"hello":"world1"}`))
	got := p.next()
	want := `{"system_id":"123","client_id":"` + p.id + `","message_id":"` + got.MessageID +
		`","group_name":"","code":10009,"msg":"发送消息体成功","data":"{\"hello\":\"world1\"}",` +
		`"report":{"matched":1,"written":1,"queued":0,"dropped":0}}` + "\n"
	if resp.StatusCode != 200 || body != want {
		t.Errorf("%d %s\nwant %s", resp.StatusCode, body, want)
	}
	if got.Code != engine.CodeSent || got.ClientID != p.id || string(got.Data) != `"{\"hello\":\"world1\"}"` {
		t.Errorf("delivered %+v", got)
	}
}

// The three kinds of body say the same, so that the same arrives.
func TestBodiesAreEqual(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=sys&group_name=g")
	const data, params = "<a&b>=\"ü\\\" 钟🔔\n\x01", `{"n":12345678901234567890.10}`
	fields := [][2]string{{"system_id", "sys"}, {"group_name", "g"}, {"data", data}, {"params", params}}

	form := url.Values{}
	var multi bytes.Buffer
	parts := multipart.NewWriter(&multi)
	for _, f := range fields {
		form.Set(f[0], f[1])
		if err := parts.WriteField(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	_ = parts.Close()
	text, _ := json.Marshal(data)
	bodies := []struct{ contentType, body string }{
		{typeForm, form.Encode()},
		{"application/x-www-form-urlencoded; charset=UTF-8", form.Encode()},
		{parts.FormDataContentType(), multi.String()},
		{"Application/JSON;charset=utf-8", fmt.Sprintf(`{"params":%s,"data":%s,"group_name":"g","system_id":"sys"}`, params, text)},
	}
	for _, b := range bodies {
		resp, body := s.do("POST", "/push_to_group", b.contentType, b.body)
		var a answer
		if err := json.Unmarshal([]byte(body), &a); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s", b.contentType, resp.StatusCode, body)
		}
		got := p.next()
		for name, v := range map[string]json.RawMessage{"delivered": got.Data, "echoed": a.Data} {
			var back string
			if err := json.Unmarshal(v, &back); err != nil || back != data {
				t.Errorf("%s: %s %s, %v", b.contentType, name, v, err)
			}
		}
		if string(got.Params) != params || got.GroupName != "g" || got.MessageID != a.MessageID || a.GroupName != "g" {
			t.Errorf("%s: delivered %+v for %s", b.contentType, got, body)
		}
	}
}

func TestJSONDataIsDeliveredVerbatim(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	for _, data := range []string{
		`null`, `true`, `0`, `-0.0`, `1e400`, `123456789012345678901234567890.000100`, `""`, `"\u00e9\/\ud83d\udd14\u0000"`,
		`"🔔"`, `[]`, `{}`, `{ "b" : [1, 2.50,
 {"a":null}], "b":"twice", "a\u0062":"<&>" }`, `"` + strings.Repeat("x", 900<<10) + `"`,
	} {
		a := s.call("/push_to_client", `{"system_id":"1","client_id":"`+p.id+`","data": `+data+` }`, 200)
		_, text := p.read()
		if want := `"data":` + data + `,"params":null}`; !strings.HasSuffix(text, want) {
			t.Errorf("delivered %.200s, want %.200s at its end", text, want)
		}
		if string(a.Data) != data {
			t.Errorf("echoed %.200s, want %.200s", a.Data, data)
		}
	}
}

func TestBinary(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	data := []byte{0, 0xff, 0xfe, '\n', 1, 2}
	b64 := base64.StdEncoding.EncodeToString(data)
	for _, body := range []string{
		`{"system_id":"1","data":"` + b64 + `","binary":true}`,
		`{"system_id":"1","data":"` + strings.ReplaceAll(b64, "/", `\/`) + `","binary":true}`,
		"system_id=1&binary=true&data=" + url.QueryEscape(b64),
		"system_id=1&binary=1&data=" + url.QueryEscape(b64),
	} {
		a := s.call("/push_to_system", body, 200)
		if kind, got := p.read(); kind != websocket.MessageBinary || got != string(data) {
			t.Errorf("%s: delivered %v %q", body, kind, got)
		}
		var echo string
		if err := json.Unmarshal(a.Data, &echo); err != nil || echo != b64 {
			t.Errorf("%s: echoed %s", body, a.Data)
		}
	}
	for _, data := range []string{`"AAE"`, `"A-E_"`, `" AAEC"`, `"AAE=x"`, `1`, `null`, `["AAEC"]`, `"AAF="`} {
		if a := s.call("/push_to_system", `{"system_id":"1","binary":true,"data":`+data+`}`, 400); a.Code != 10017 || a.Field != "data" {
			t.Errorf("%s: %+v", data, a)
		}
	}
	s.call("/push_to_system", "system_id=1&binary=true&data=+AEC", 400) // an unescaped plus
	s.silent("1", p)
}

func TestRawSubprotocol(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1", "carillon.raw")
	for body, want := range map[string]string{
		"system_id=1&data=plain+text":            "plain text",
		`{"system_id":"1","data":{"a": 1.0}}`:    `{"a": 1.0}`,
		`{"system_id":"1","data":"text\u0021"}`:  "text!",
		`{"system_id":"1","data":[1,"x"]}`:       `[1,"x"]`,
		`{"system_id":1,"data":"x","params":[]}`: "x",
	} {
		s.call("/push_to_system", body, 200)
		if _, got := p.read(); got != want {
			t.Errorf("%s: delivered %q, want %q", body, got, want)
		}
	}
}

func TestPushToClientsAnswersEachInOrder(t *testing.T) {
	s := newServer(t, Options{Lang: engine.English})
	a, b, other := s.dial("system_id=1"), s.dial("system_id=1"), s.dial("system_id=2")
	ids := []string{b.id, noID, a.id, other.id, b.id}
	codes := []engine.Code{10009, 10004, 10009, 10004, 10009}
	list := strings.Join(ids, ",")
	for _, tt := range []struct{ contentType, body string }{
		{typeJSON, `{"system_id":"1","client_ids":["` + strings.Join(ids, `","`) + `"],"data":{"n":1}}`},
		{typeJSON, `{"system_id":1,"client_ids":[` + list + `],"data":{"n":1}}`},
		{typeForm, url.Values{"system_id": {"1"}, "client_ids": {"[" + list + "]"}, "data": {"x"}}.Encode()},
		{typeForm, url.Values{"system_id": {"1"}, "client_ids": ids, "data": {"x"}}.Encode()},
		{typeForm, url.Values{"system_id": {"1"}, "client_ids": {ids[0], "[" + strings.Join(ids[1:], ",") + "]"}, "data": {"x"}}.Encode()},
	} {
		resp, body := s.do("POST", "/push_to_clients", tt.contentType, tt.body)
		var results []answer
		if err := json.Unmarshal([]byte(body), &results); err != nil || resp.StatusCode != 200 || len(results) != len(ids) {
			t.Fatalf("%s: %d %s, %v", tt.body, resp.StatusCode, body, err)
		}
		for i, r := range results {
			if r.ClientID != ids[i] || r.Code != codes[i] || r.Msg != codes[i].Text(engine.English) ||
				r.SystemID != "1" || r.MessageID != results[0].MessageID || string(r.Data) != "null" {
				t.Errorf("%s: result %d is %+v, want id %s, code %d", tt.body, i, r, ids[i], codes[i])
			}
		}
		for _, p := range []*peer{a, b} {
			if got := p.next(); got.ClientID != p.id || got.MessageID != results[0].MessageID {
				t.Errorf("%s: client %s got %+v", tt.body, p.id, got)
			}
		}
	}
	s.silent("2", other)
	if _, body := s.do("POST", "/push_to_clients", typeJSON, `{"system_id":"1","client_ids":[],"data":1}`); body != "[]\n" {
		t.Errorf("nobody: %s", body)
	}
}

func TestPushToClientsTakesTenThousand(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	list := strings.Repeat(noID+",", engine.MaxTargets-1) + p.id
	resp, body := s.do("POST", "/push_to_clients", typeJSON, `{"system_id":"1","data":"x","client_ids":[`+list+`]}`)
	var results []answer
	if err := json.Unmarshal([]byte(body), &results); err != nil || resp.StatusCode != 200 || len(results) != engine.MaxTargets {
		t.Fatalf("%d, %d results, %v", resp.StatusCode, len(results), err)
	}
	if got := results[engine.MaxTargets-1]; got.ClientID != p.id || got.Code != 10009 {
		t.Errorf("last result %+v", got)
	}
	p.next()
	one := noID + ","
	for _, body := range []string{
		`{"system_id":"1","data":"x","client_ids":[` + one + list + `]}`,
		"system_id=1&data=x&client_ids=" + p.id + "&client_ids=[" + list + "]",
	} {
		if a := s.call("/push_to_clients", body, 400); a.Code != 10017 || a.Field != "client_ids" {
			t.Errorf("one too many: %+v", a)
		}
	}
	s.silent("1", p)
}

func TestPushToMany(t *testing.T) {
	s := newServer(t, Options{})
	a, b := s.dial("system_id=1&group_name=g"), s.dial("system_id=1&group_name=g&group_name=h")
	c, other := s.dial("system_id=1"), s.dial("system_id=2&group_name=g")
	tests := []struct {
		path, body string
		group      string
		to         []*peer
	}{
		{"/push_to_group", `{"system_id":"1","group_name":"g","data":1}`, "g", []*peer{a, b}},
		{"/push_to_group", "system_id=1&group_name=h&data=1", "h", []*peer{b}},
		{"/push_to_group", `{"system_id":"1","group_name":"empty","data":1}`, "empty", nil},
		{"/push_to_group", `{"system_id":"none","group_name":"g","data":1}`, "g", nil},
		{"/push_to_group", `{"system_id":"1","group_name":"g","data":1,"exclude":["` + a.id + `"]}`, "g", []*peer{b}},
		{"/push_to_group", `{"system_id":"1","group_name":"g","data":1,"exclude":[` + other.id + `]}`, "g", []*peer{a, b}},
		{"/push_to_system", `{"system_id":"1","data":1}`, "", []*peer{a, b, c}},
		{"/push_to_system", `{"system_id":"1","data":1,"exclude":[],"report":null,"binary":null,"params":null}`, "", []*peer{a, b, c}},
		{"/push_to_system", "system_id=1&data=1&exclude=" + a.id + "&exclude=" + c.id + "&exclude=" + noID, "", []*peer{b}},
		{"/push_to_system", `system_id=1&data=1&exclude=["` + a.id + `",` + b.id + `,` + c.id + `]`, "", nil},
		{"/push_to_all", "data=1", "", []*peer{a, b, c, other}},
		{"/push_to_all", `{"data":1}`, "", []*peer{a, b, c, other}},
	}
	for _, tt := range tests {
		got := s.call(tt.path, tt.body, 200)
		if got.Code != 10009 || got.ClientID != "" || got.GroupName != tt.group || got.MessageID == "" || got.Report == nil ||
			got.Report.Matched != len(tt.to) || got.Report.Written != len(tt.to) || got.Report.Queued != 0 || got.Report.Dropped != 0 {
			t.Errorf("%s %s: %+v, report %+v, want %d", tt.path, tt.body, got, got.Report, len(tt.to))
		}
		for _, p := range tt.to {
			if d := p.next(); d.ClientID != p.id || d.MessageID != got.MessageID || d.GroupName != tt.group {
				t.Errorf("%s %s: client %s got %+v", tt.path, tt.body, p.id, d)
			}
		}
	}
	s.silent("1", a, b, c)
	s.silent("2", other)
}

func TestReportNone(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1&group_name=g")
	for _, tt := range [][2]string{
		{"/push_to_group", "system_id=1&group_name=g&data=1&report=none"},
		{"/push_to_system", `{"system_id":"1","data":"1","report":"none"}`},
		{"/push_to_all", "data=1&report=none"},
	} {
		got := s.call(tt[0], tt[1], 202)
		if d := p.next(); got.Report != nil || got.MessageID == "" || got.Code != 10009 || d.MessageID != got.MessageID || string(got.Data) != `"1"` {
			t.Errorf("%s: %+v, delivered %+v", tt[0], got, d)
		}
	}
	if got := s.call("/push_to_all", "data=1&report=some", 400); got.Field != "report" {
		t.Errorf("report=some: %+v", got)
	}
	s.silent("1", p)
}

// A push that is refused reaches nobody.
func TestBadPushes(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1&group_name=g")
	long := strings.Repeat("n", engine.MaxNameBytes+1)
	tests := []struct {
		path, body string
		code       engine.Code
		field      string
	}{
		{"/push_to_client", `{"client_id":"ID","data":1}`, 10011, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":""}`, 10011, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":null}`, 10011, "system_id"},
		{"/push_to_client", "client_id=ID&data=1", 10011, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":true}`, 10017, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":1.0}`, 10017, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":1e0}`, 10017, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":["1"]}`, 10017, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":"` + long + `"}`, 10017, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":"\ud800"}`, 10017, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":"1","system_id":"1"}`, 10017, "system_id"},
		{"/push_to_client", `{"client_id":"ID","data":1,"system_id":"1","system\u005fid":"2"}`, 10017, "system_id"},
		{"/push_to_client", "client_id=ID&data=1&system_id=1&system_id=2", 10017, "system_id"},
		{"/push_to_client", "client_id=ID&data=1&system_id=%ff", 10017, "system_id"},
		{"/push_to_client", `{"system_id":"1","data":1}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":""}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":null}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":0}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":-1}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":ID.0}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":" ID"}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":"+ID"}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":"0xff"}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":9223372036854775808}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","data":1,"client_id":"18446744073709551617"}`, 10017, "client_id"},
		{"/push_to_client", `{"system_id":"1","client_id":"ID"}`, 10017, "data"},
		{"/push_to_client", `{"system_id":"1","client_id":"ID","data":1,"data":2}`, 10017, "data"},
		{"/push_to_client", "system_id=1&client_id=ID&data=%ff", 10017, "data"},
		{"/push_to_client", "system_id=1&client_id=ID&data=1&params={", 10017, "params"},
		{"/push_to_client", "system_id=1&client_id=ID&data=1&params=", 10017, "params"},
		{"/push_to_client", "system_id=1&client_id=ID&data=1&params=" + strings.Repeat("[", 64) + strings.Repeat("]", 64), 10017, "params"},
		{"/push_to_client", "system_id=1&client_id=ID&data=1&binary=yes", 10017, "binary"},
		{"/push_to_client", `{"system_id":"1","client_id":"ID","data":"AAEC","binary":"true"}`, 10017, "binary"},
		{"/push_to_client", `{"system_id":"1","client_id":"ID","data":"AAEC","binary":1}`, 10017, "binary"},
		{"/push_to_client", "system_id=1&client_id=ID&data=%zz", 10017, "data"},
		{"/push_to_client", `{"system_id":"1","client_id":"ID","data":1}x`, 10017, "body"},
		{"/push_to_client", `{"system_id":"1","client_id":"ID","data":}`, 10017, "body"},
		{"/push_to_clients", `{"system_id":"1","data":1}`, 10017, "client_ids"},
		{"/push_to_clients", `{"system_id":"1","data":1,"client_ids":null}`, 10017, "client_ids"},
		{"/push_to_clients", `{"system_id":"1","data":1,"client_ids":"[ID]"}`, 10017, "client_ids"},
		{"/push_to_clients", `{"system_id":"1","data":1,"client_ids":ID}`, 10017, "client_ids"},
		{"/push_to_clients", `{"system_id":"1","data":1,"client_ids":["ID","x"]}`, 10017, "client_ids"},
		{"/push_to_clients", `{"system_id":"1","data":1,"client_ids":["ID",null]}`, 10017, "client_ids"},
		{"/push_to_clients", `{"system_id":"1","data":1,"client_ids":["ID",["ID"]]}`, 10017, "client_ids"},
		{"/push_to_clients", `{"system_id":"1","data":1,"client_ids":["ID",9223372036854775808]}`, 10017, "client_ids"},
		{"/push_to_clients", `{"system_id":"1","data":1,"client_ids":["ID"],"client_ids":["ID"]}`, 10017, "client_ids"},
		{"/push_to_clients", "system_id=1&data=1&client_ids=ID,ID", 10017, "client_ids"},
		{"/push_to_clients", "system_id=1&data=1&client_ids=[ID", 10017, "client_ids"},
		{"/push_to_clients", "system_id=1&data=1&client_ids=", 10017, "client_ids"},
		{"/push_to_clients", `system_id=1&data=1&client_ids=ID","ID`, 10017, "client_ids"},
		{"/push_to_group", `{"system_id":"1","data":1}`, 10017, "group_name"},
		{"/push_to_group", `{"system_id":"1","data":1,"group_name":""}`, 10017, "group_name"},
		{"/push_to_group", `{"system_id":"1","data":1,"group_name":7.0}`, 10017, "group_name"},
		{"/push_to_group", `{"system_id":"1","data":1,"group_name":"` + long + `"}`, 10017, "group_name"},
		{"/push_to_group", `{"group_name":"g","data":1}`, 10011, "system_id"},
		{"/push_to_group", `{"system_id":"1","group_name":"g","data":1,"exclude":["x"]}`, 10017, "exclude"},
		{"/push_to_group", "system_id=1&group_name=g&data=1&exclude=", 10017, "exclude"},
		{"/push_to_system", `{"system_id":"1","data":1,"exclude":{"ID":1}}`, 10017, "exclude"},
		{"/push_to_system", `{"system_id":"1","data":1,"report":1}`, 10017, "report"},
		{"/push_to_system", `{"system_id":"1"}`, 10017, "data"},
		{"/push_to_all", "", 10017, "data"},
		{"/push_to_all", `{"data":1,"exclude":["ID"]}`, 10017, "exclude"},
	}
	for _, tt := range tests {
		body := strings.ReplaceAll(tt.body, "ID", p.id)
		if got := s.call(tt.path, body, 400); got.Code != tt.code || got.Field != tt.field || got.Detail == "" {
			t.Errorf("%s %.200s: %+v, want code %d, field %s", tt.path, body, got, tt.code, tt.field)
		}
	}
	s.silent("1", p)
}

// A client that does not read is closed when its queue is full; the pushes that
// it loses are told, and the numbers add up.
func TestPushesThatAreLost(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1") // does not read from here on
	body := `{"system_id":"1","client_id":"` + p.id + `","data":"` + strings.Repeat("x", 1000<<10) + `"}`
	for range 200 {
		resp, text := s.do("POST", "/push_to_client", typeJSON, body)
		var a answer
		switch resp.StatusCode {
		case 200:
			continue
		case 503:
			if err := json.Unmarshal([]byte(text), &a); err != nil || a.Code != 10008 || a.Field != "client_id" {
				t.Errorf("dropped: %.300s", text)
			}
			s.call("/push_to_client", body, 404) // and then it is gone
			return
		default:
			t.Fatalf("%d %.300s", resp.StatusCode, text)
		}
	}
	t.Error("200 MB were taken for a client that does not read")
}

func TestReportCountsTheLost(t *testing.T) {
	s := newServer(t, Options{})
	s.dial("system_id=1") // does not read
	reader := s.dial("system_id=1")
	data := `{"system_id":"1","data":"` + strings.Repeat("x", 1000<<10) + `"}`
	for range 200 {
		got := s.call("/push_to_system", data, 200)
		reader.next()
		r := got.Report
		if r == nil || r.Matched != r.Written+r.Queued+r.Dropped || r.Matched != 2 {
			t.Fatalf("report %+v", r)
		}
		if r.Dropped == 1 {
			return
		}
	}
	t.Error("nothing was dropped in 200 MB")
}

func TestPushAfterShutdown(t *testing.T) {
	s := newServer(t, Options{})
	s.call("/push_to_all", `{"data":1}`, 200)
	if err := s.eng.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := s.api
	if rec := serve(a, "POST", "/push_to_all", `{"data":1}`); rec.Code != 503 || !strings.Contains(rec.Body.String(), `"code":10015`) {
		t.Errorf("push: %d %s", rec.Code, rec.Body)
	}
	if rec := serve(a, "GET", "/readyz", ""); rec.Code != 503 {
		t.Errorf("readyz: %d %s", rec.Code, rec.Body)
	}
	if rec := serve(a, "GET", "/healthz", ""); rec.Code != 200 {
		t.Errorf("healthz: %d %s", rec.Code, rec.Body)
	}
}

func TestPushThatTakesTooLong(t *testing.T) {
	a := newServer(t, Options{}).api
	a.timeout = time.Nanosecond
	if rec := serve(a, "POST", "/push_to_all", `{"data":1}`); rec.Code != 504 || !strings.Contains(rec.Body.String(), `"code":10008`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
