package httpapi

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"carillon/engine"
)

// refused demands 400 with code 10017 about the field, and that the detail has all of
// the words.
func (s *server) refused(method, path, contentType, body, field string, words ...string) {
	s.t.Helper()
	resp, text := s.do(method, path, contentType, body)
	a := decoded(s.t, text)
	if resp.StatusCode != 400 || a.Code != 10017 || a.Field != field {
		s.t.Errorf("%s %s %.200s: %d %s, want 400 with code 10017 about %q", method, path, body, resp.StatusCode, text, field)
	}
	for _, word := range words {
		if !strings.Contains(a.Detail, word) {
			s.t.Errorf("%s %s %.200s: %q, want %q in it", method, path, body, a.Detail, word)
		}
	}
}

// multi is a multipart form of the fields, and its type.
func multi(fields ...[2]string) (contentType, body string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		_ = w.WriteField(f[0], f[1])
	}
	_ = w.Close()
	return w.FormDataContentType(), b.String()
}

// A field that a call does not know is an error that names the nearest one, in each kind
// of body and in queries; and nothing is done.
func TestUnknownFields(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1&group_name=g")
	tests := []struct{ path, field, near string }{
		{"/push_to_client", "clientId", "client_id"},
		{"/push_to_client", "Client-Id", "client_id"},
		{"/push_to_client", "client", "client_id"},
		{"/push_to_client", "client_ids", "client_id"},
		{"/push_to_client", "exclude", ""},
		{"/push_to_clients", "exclude", ""},
		{"/push_to_clients", "client_id", "client_ids"},
		{"/push_to_group", "group", "group_name"},
		{"/push_to_group", "excluded", "exclude"},
		{"/push_to_group", "exlude", "exclude"},
		{"/push_to_system", "sytsem_id", "system_id"},
		{"/push_to_system", "group_name", ""},
		{"/push_to_system", "reports", "report"},
		{"/push_to_all", "exclude", ""},
		{"/push_to_all", "system_id", ""},
		{"/push_to_all", "Data", "data"},
		{"/push_to_all", "parms", "params"},
		{"/bind_to_group", "notfy", "notify"},
		{"/unbind_from_group", "groupname", "group_name"},
		{"/close_client", "status", ""},
		{"/close", "closeCode", "code"},
		{"/close", "日本", ""},
	}
	for _, tt := range tests {
		known := "this call takes " + strings.Join(routes[tt.path].fields, ", ")
		near := "the nearest is " + tt.near
		s.refused("POST", tt.path, typeForm, url.Values{tt.field: {"1"}}.Encode(), tt.field, near, known)
		s.refused("POST", tt.path, typeJSON, fmt.Sprintf(`{%q:1}`, tt.field), tt.field, near, known)
		contentType, body := multi([2]string{tt.field, "1"})
		s.refused("POST", tt.path, contentType, body, tt.field, near, known)
	}
	for path, near := range map[string]string{
		"/clients?user_id=u": "", "/clients?system=1": "system_id", "/clients?group=g": "group_name", "/clients?Limit=1": "limit",
		"/client?id=1": "client_id", "/?group=g": "group_name",
	} {
		_, query, _ := strings.Cut(path, "?")
		field, _, _ := strings.Cut(query, "=")
		s.refused("GET", path, "", "", field, "the nearest is "+near)
	}
	for _, path := range []string{"/stats?verbose=1", "/healthz?x=1", "/readyz?x"} {
		_, query, _ := strings.Cut(path, "?")
		field, _, _ := strings.Cut(query, "=")
		s.refused("GET", path, "", "", field, "takes none")
	}
	s.refused("POST", "/push_to_all", typeForm, "data=1&=2", "body", "a name")
	s.refused("GET", "/clients?=2", "", "", "query", "a name")
	// A whole push besides the one field that nobody knows reaches nobody.
	s.refused("POST", "/push_to_system", typeForm, "system_id=1&data=x&bogus=", "bogus")
	s.refused("POST", "/push_to_group", typeJSON, `{"system_id":1,"group_name":"g","data":1,"bogus":null}`, "bogus")
	s.silent("1", p)
}

// What a wrong name costs does not depend on how long it is, nor on how many there are;
// and what is repeated of it is short and UTF-8.
func TestUnknownFieldsAreBounded(t *testing.T) {
	s := newServer(t, Options{})
	var names, members strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&names, "field%d=&", i)
		fmt.Fprintf(&members, `"field%d":0,`, i)
	}
	long := strings.Repeat("日", 100_000)
	bodies := map[string][2]string{
		"a form of 10,000":      {typeForm, strings.TrimSuffix(names.String(), "&")},
		"an object of 10,000":   {typeJSON, "{" + strings.TrimSuffix(members.String(), ",") + "}"},
		"a long name":           {typeForm, long + "=1"},
		"a long name in JSON":   {typeJSON, `{"` + long + `":1}`},
		"a long name, no UTF-8": {typeForm, strings.Repeat("%ff", 100_000) + "=1"},
		"brackets":              {typeForm, "x" + strings.Repeat("[", 100_000) + "]=1"},
	}
	for name, b := range bodies {
		start := time.Now()
		resp, text := s.do("POST", "/push_to_all", b[0], b[1])
		if took := time.Since(start); resp.StatusCode != 400 || len(text) > 600 || !utf8.ValidString(text) || took > time.Second {
			t.Errorf("%s: %d after %v: %.300s", name, resp.StatusCode, took, text)
		}
	}
	s.refused("POST", "/push_to_all", typeForm, strings.Repeat("&", 10_000)+"data=1", "body", "at most 10000 fields")
	part := "--B\r\nContent-Disposition: form-data; name=client_ids\r\n\r\n1\r\n"
	s.refused("POST", "/push_to_clients", "multipart/form-data; boundary=B", strings.Repeat(part, 10_001)+"--B--", "body", "at most 10000 fields")
}

// Lists as PHP's http_build_query and others write them, by hand.
func TestElementsOfLists(t *testing.T) {
	s := newServer(t, Options{})
	a, b, c := s.dial("system_id=1&group_name=g"), s.dial("system_id=1&group_name=g"), s.dial("system_id=1&group_name=g")
	forms := func(pairs ...[2]string) [][2]string { // contentType and body
		var f []string
		for _, p := range pairs {
			f = append(f, url.QueryEscape(p[0])+"="+url.QueryEscape(p[1]))
		}
		contentType, body := multi(pairs...)
		return [][2]string{{typeForm, strings.Join(f, "&")}, {contentType, body}}
	}
	group := [][2]string{{"system_id", "1"}, {"group_name", "g"}, {"data", "x"}}
	for _, list := range [][][2]string{
		{{"exclude[]", a.id}, {"exclude[]", b.id}},
		{{"exclude[0]", a.id}, {"exclude[1]", b.id}},
		{{"exclude[7]", a.id}, {"exclude[3]", b.id}},
		{{"exclude", a.id}, {"exclude[]", b.id}},
		{{"exclude[]", `["` + a.id + `",` + b.id + `]`}},
	} {
		for _, form := range forms(append(group, list...)...) {
			resp, text := s.do("POST", "/push_to_group", form[0], form[1])
			if got := decoded(t, text); resp.StatusCode != 200 || got.Report == nil || got.Report.Matched != 1 {
				t.Errorf("%v: %d %s, want 1 matched", list, resp.StatusCode, text)
			}
			if got := c.next(); string(got.Data) != `"x"` {
				t.Errorf("%v: %+v", list, got)
			}
		}
	}
	s.silent("1", a, b, c)
	// Raw brackets, as curl sends them.
	resp, text := s.do("POST", "/push_to_system", typeForm, "system_id=1&data=x&exclude[]="+a.id+"&exclude[]="+b.id)
	if resp.StatusCode != 200 {
		t.Errorf("raw brackets: %d %s", resp.StatusCode, text)
	}
	c.next()

	// In the order of their numbers, those without behind all before them.
	clients := [][2]string{{"system_id", "1"}, {"data", "x"}}
	for _, list := range [][][2]string{
		{{"client_ids[]", a.id}, {"client_ids[]", b.id}, {"client_ids[]", c.id}},
		{{"client_ids[2]", c.id}, {"client_ids[0]", a.id}, {"client_ids[1]", b.id}},
		{{"client_ids[10]", c.id}, {"client_ids[9]", b.id}, {"client_ids[2]", a.id}},
		{{"client_ids[4]", a.id}, {"client_ids[]", b.id}, {"client_ids", c.id}},
	} {
		for _, form := range forms(append(clients, list...)...) {
			resp, text := s.do("POST", "/push_to_clients", form[0], form[1])
			at := strings.Index(text, a.id)
			if bt, ct := strings.Index(text, b.id), strings.Index(text, c.id); resp.StatusCode != 200 || at < 0 || at > bt || bt > ct {
				t.Fatalf("%v: %d %s, want them in order", list, resp.StatusCode, text)
			}
			for _, p := range []*peer{a, b, c} {
				p.next()
			}
		}
	}

	for _, tt := range []struct{ path, body, field, word string }{
		{"/push_to_group", "exclude[a]=" + a.id, "exclude[a]", "exclude[0]"},
		{"/push_to_group", "exclude[0][1]=" + a.id, "exclude[0][1]", "exclude[0]"},
		{"/push_to_group", "exclude[-1]=" + a.id, "exclude[-1]", "exclude[0]"},
		{"/push_to_group", "exclude[99999999999]=" + a.id, "exclude[99999999999]", "exclude[0]"},
		{"/push_to_group", "exclude[=" + a.id, "exclude[", "the nearest is exclude"},
		{"/push_to_group", "exclude[0]=1&exclude[0]=2", "exclude[0]", "one value"},
		{"/push_to_system", "system_id=1&data=x&exclude[]=", "exclude", "client id"},
		{"/push_to_system", "system_id=1&data=x&exclude[]=x", "exclude", `not "x"`},
		{"/push_to_all", "exclude[]=" + a.id, "exclude", "no such field"},
		{"/push_to_client", "exclude[0]=" + a.id, "exclude", "no such field"},
		{"/push_to_client", "client_id[]=" + a.id, "client_id", "no list"},
		{"/push_to_client", "system_id[0]=1", "system_id", "no list"},
		{"/push_to_group", "group_name%5B%5D=g", "group_name", "no list"},
		{"/push_to_system", "data[hello]=world", "data", "no list"},
		{"/push_to_clients", "system_id=1&data=x&client_ids[0]=" + a.id + "&client_ids[1]=x", "client_ids", `not "x"`},
	} {
		s.refused("POST", tt.path, typeForm, tt.body, tt.field, tt.word)
	}
	s.refused("POST", "/push_to_group", typeJSON, `{"exclude[]":["`+a.id+`"]}`, "exclude[]", "the nearest is exclude")
	s.refused("GET", "/clients?system_id[]=1", "", "", "system_id", "no list")
	s.silent("1", a, b, c)
}

// The fields of a POST are in its body, and those of a GET in its query. What is
// elsewhere is not ignored.
func TestFieldsAreInTheirPlace(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	s.refused("POST", "/push_to_system?system_id=2", typeForm, "system_id=1&data=body", "query", "belong into its body")
	s.refused("POST", "/push_to_system?system_id=1&data=x", typeForm, "", "query", "belong into its body")
	s.refused("POST", "/push_to_all?report=none", typeJSON, `{"data":1}`, "query", "belong into its body")
	s.refused("GET", "/clients", typeForm, "system_id=1", "body", "belong into its query")
	s.refused("GET", "/client", typeJSON, `{"client_id":1}`, "body", "belong into its query")
	if resp, text := s.do("POST", "/push_to_system?", typeForm, "system_id=1&data=marker"); resp.StatusCode != 200 {
		t.Errorf("an empty query: %d %s", resp.StatusCode, text)
	}
	p.next()
	s.silent("1", p)
}

// A wrong path is answered with the nearest right one.
func TestNearestPath(t *testing.T) {
	s, own := newServer(t, Options{}), newServer(t, Options{APIOnly: true})
	for path, want := range map[string]string{
		"/push_to_clinet": "/push_to_client", "/push_to_client/": "/push_to_client", "/PushToClient": "/push_to_client",
		"//push_to_clients": "/push_to_clients", "/push": "/push_to_all", "/api/push_to_group": "/push_to_group",
		"/bind-to-group": "/bind_to_group", "/unbind_group": "/unbind_from_group", "/clietns": "/clients", "/stat": "/stats",
		"/health": "/healthz", "/ready": "/readyz", "/wss": "/ws", "/ws/": "/ws", "/" + strings.Repeat("push_to_client", 1000): "",
	} {
		resp, text := s.do("GET", path, "", "")
		if a := decoded(t, text); resp.StatusCode != 404 || a.Code != 10017 || a.Field != "path" || !strings.Contains(a.Detail+" ", " "+want) || len(text) > 200 {
			t.Errorf("%.50s: %d %s, want %s", path, resp.StatusCode, text, want)
		}
	}
	if _, text := own.do("GET", "/wss", "", ""); strings.Contains(decoded(t, text).Detail, "/ws") {
		t.Errorf("the API's own port leads to a path that it does not serve: %s", text)
	}
}

func TestNearest(t *testing.T) {
	for _, tt := range [][3]string{{"kitten", "sitting", "5"}, {"", "abc", "3"}, {"abc", "", "6"}, {"same", "same", "0"}, {"flaw", "lawn", "3"}, {"clinet", "client", "3"}} {
		if got := fmt.Sprint(distance(tt[0], tt[1])); got != tt[2] {
			t.Errorf("distance(%q, %q) = %s, want %s", tt[0], tt[1], got, tt[2])
		}
	}
}

func FuzzForm(f *testing.F) {
	for _, text := range []string{"a=1&exclude[]=2", "exclude[3]=4&exclude[1]=5&exclude=6", "client_ids[]=&data=%zz", "data=1;2", "%=", "&&=&a[b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := decodeForm("body", text, allFields)
		if err != nil {
			if p := problemOf(err); p == nil || p.status != 400 || p.field == "" || !utf8.ValidString(p.field+p.detail) || len(p.field+p.detail) > 800 {
				t.Fatalf("%q: %v is not fit for an answer", text, err)
			}
			return
		}
		want, err := url.ParseQuery(text)
		if err != nil {
			t.Fatalf("%q was taken, but: %v", text, err)
		}
		n := 0
		for name, values := range want {
			if base, _, indexed := engine.CutIndex(name); indexed {
				name = base
			}
			if n += len(values); !strings.Contains(strings.Join(allFields, " "), name) {
				t.Fatalf("%q: %q was taken", text, name)
			}
		}
		for _, values := range v.values {
			n -= len(values)
		}
		if n != 0 {
			t.Fatalf("%q: %d values more than %v", text, n, v.values)
		}
	})
}
