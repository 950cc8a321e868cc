package httpapi

import (
	"strings"
	"testing"
	"unicode/utf8"

	"carillon/engine"
)

// A body of another type than its Content-Type says, as curl -d, urllib and fetch send
// JSON, is told what it looks like.
func TestBodiesOfAnotherType(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	const object, form, parts = `{"system_id":"1","data":1}`, "system_id=1&data=1", "--B\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n1\r\n--B--"
	for _, tt := range []struct{ contentType, body, looks, want string }{
		{typeForm, object, "JSON", "application/json"},
		{typeForm, " \n" + object, "JSON", "application/json"},
		{typeForm, "\ufeff" + object, "JSON", "application/json"},
		{typeForm, `{"data":"100% & more; %zz"}`, "JSON", "application/json"},
		{typeForm, `[1,2]`, "JSON", "application/json"},
		{"", object, "JSON", "application/json"},
		{"text/plain;charset=UTF-8", object, "JSON", "application/json"},
		{"application/octet-stream", "[]", "JSON", "application/json"},
		{"multipart/form-data; boundary=B", object, "JSON", "application/json"},
		{"", form, "a URL-encoded form", typeForm},
		{typeJSON, form, "a URL-encoded form", typeForm},
		{"text/plain", "client_ids%5B%5D=1", "a URL-encoded form", typeForm},
		{typeForm, parts, "a multipart form", "multipart/form-data with its boundary"},
		{typeJSON, parts, "a multipart form", "multipart/form-data with its boundary"},
	} {
		resp, text := s.do("POST", "/push_to_system", tt.contentType, tt.body)
		want := "the body looks like " + tt.looks + ": want Content-Type: " + tt.want
		if a := decoded(t, text); resp.StatusCode != 415 || a.Code != 10017 || a.Field != "Content-Type" || a.Detail != want {
			t.Errorf("%q %q: %d %s, want 415, %s", tt.contentType, tt.body, resp.StatusCode, text, want)
		}
	}
	for _, tt := range [][2]string{{"", "hello"}, {"text/plain", ""}, {"", ""}} {
		if resp, text := s.do("POST", "/push_to_system", tt[0], tt[1]); resp.StatusCode != 415 || !strings.Contains(text, "want application/json, ") {
			t.Errorf("%q %q: %d %s, want 415 with the types", tt[0], tt[1], resp.StatusCode, text)
		}
	}
	s.silent("1", p)
}

// Each mistake in a form's encoding has a message of its own, which names the field.
func TestBadEscapes(t *testing.T) {
	s := newServer(t, Options{})
	s.refused("POST", "/push_to_all", typeForm, "data=%zz", "data", `"%zz" is no escape`)
	s.refused("POST", "/push_to_all", typeForm, "data=100%", "data", `"%" is no escape`)
	s.refused("POST", "/push_to_all", typeForm, "data=%\xff\xfe", "data", `is no escape`)
	s.refused("POST", "/push_to_all", typeForm, "da%zzta=1", "body", `"%zz" is no escape`)
	s.refused("POST", "/push_to_all", typeForm, "data=a;b", "data", `%3B`)
	s.refused("GET", "/clients?limit=%zz", "", "", "limit", `"%zz" is no escape`)
	s.refused("GET", "/clients?%zz=1", "", "", "query", `"%zz" is no escape`)
	s.refused("GET", "/clients?limit=1;cursor=2", "", "", "limit", `%3B`)
}

func TestByteOrderMark(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	contentType, body := multi([2]string{"system_id", "1"}, [2]string{"data", "x"})
	for _, tt := range [][2]string{
		{typeJSON, "\ufeff" + `{"system_id":"1","data":"x"}`},
		{typeForm, "\ufeffsystem_id=1&data=x"},
		{contentType, "\ufeff" + body},
		{typeForm, "system_id=1&data=x&params=\ufeff[1]&exclude=\ufeff[1]"},
	} {
		if resp, text := s.do("POST", "/push_to_system", tt[0], tt[1]); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", tt[0], resp.StatusCode, text)
			continue
		}
		if got := p.next(); string(got.Data) != `"x"` {
			t.Errorf("%s: %+v", tt[0], got)
		}
	}
	s.refused("POST", "/push_to_system", typeJSON, "\ufeff\ufeff{}", "body")
	s.refused("POST", "/push_to_system", typeJSON, "\xff\xfe{\x00}\x00", "body", "UTF-8")
}

// Half a surrogate pair is refused wherever it is, in the same words.
func TestHalfSurrogatePairs(t *testing.T) {
	s := newServer(t, Options{})
	p, raw := s.dial("system_id=1"), s.dial("system_id=1", "carillon.raw")
	for field, body := range map[string]string{
		"data":       `{"system_id":"1","data":"\ud800"}`,
		"system_id":  `{"system_id":"\ud800","data":1}`,
		"params":     `{"system_id":"1","data":1,"params":[{"\udc00":1}]}`,
		"body":       `{"system_id":"1","data":1,"\ud800":1}`,
		"exclude":    `{"system_id":"1","data":1,"exclude":["\ud800"]}`,
		"report":     `{"system_id":"1","data":1,"report":"\ud83dx"}`,
		"params ":    "system_id=1&data=1&params=" + `["\ud800"]`,
		"data\u0020": `{"system_id":"1","data":{"a":["x","\\\ud800\ud800"]}}`,
	} {
		contentType := typeForm
		if body[0] == '{' {
			contentType = typeJSON
		}
		s.refused("POST", "/push_to_system", contentType, body, strings.TrimSpace(field), "want whole surrogate pairs, not \\ud")
	}
	s.call("/push_to_system", `{"system_id":"1","data":"\ud83d\udd14 \\ud800"}`, 200)
	if _, got := raw.read(); got != `🔔 \ud800` {
		t.Errorf("raw: %q", got)
	}
	p.next()
	s.silent("1", p)
}

// Names may be integers in JSON, in every call that takes them.
func TestNamesMayBeIntegers(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=7")
	s.call("/bind_to_group", `{"system_id":7,"client_id":`+p.id+`,"group_name":42}`, 200)
	if got := s.call("/push_to_group", `{"system_id":7,"group_name":42,"data":1}`, 200); got.Report.Matched != 1 || got.GroupName != "42" {
		t.Errorf("%+v", got)
	}
	p.next()
	if got := s.call("/unbind_from_group", `{"system_id":7,"client_id":`+p.id+`,"group_name":42}`, 200); !*got.Removed {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"4.2", "1e3", "true", "[]", "{}"} {
		s.refused("POST", "/push_to_group", typeJSON, `{"system_id":7,"group_name":`+name+`,"data":1}`, "group_name", "a string or an integer")
	}
}

// A flag is taken, or refused with the word that came.
func TestFlags(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	for word, on := range map[string]bool{"true": true, "True": true, "TRUE": true, "1": true, "false": false, "False": false, "0": false} {
		s.call("/push_to_system", "system_id=1&data=AAEC&binary="+word, 200)
		if kind, _ := p.read(); (kind == 2) != on {
			t.Errorf("binary=%s: delivered as %v", word, kind)
		}
	}
	for _, word := range []string{"yes", "on", "", "2", "wahr", "ja\n"} {
		s.refused("POST", "/push_to_system", typeForm, "system_id=1&data=AAEC&binary="+word, "binary", "true or false, not "+engine.Quote(word))
	}
	for value, word := range map[string]string{`"true"`: `"true"`, `"yes"`: `"yes"`, "1": "1", "0": "0", `["a"]`: `["a"]`, `"\u006aa"`: `"ja"`} {
		s.refused("POST", "/push_to_system", typeJSON, `{"system_id":"1","data":"AAEC","binary":`+value+`}`, "binary", "true or false, not "+word)
		s.refused("POST", "/bind_to_group", typeJSON, `{"system_id":"1","client_id":"`+p.id+`","group_name":"g","notify":`+value+`}`, "notify", "true or false, not "+word)
	}
	// And so is every word of a few.
	s.refused("POST", "/push_to_system", typeForm, "system_id=1&data=1&report=full", "report", `not "full"`)
	s.refused("GET", "/clients?limit=all", "", "", "limit", `not "all"`)
	s.refused("POST", "/close", typeForm, "system_id=1&client_id="+p.id+"&code=going", "code", `not "going"`)
	s.refused("POST", "/close", typeForm, "system_id=1&client_id=ann", "client_id", `not "ann"`)
	for _, long := range []string{strings.Repeat("日", 100_000), strings.Repeat("\xff", 100_000)} {
		for _, body := range []string{"binary=" + long, "report=" + long, "exclude=" + long} {
			_, text := s.do("POST", "/push_to_system", typeForm, "system_id=1&data=AAEC&"+body)
			if len(text) > 500 || !utf8.ValidString(text) || strings.Contains(text, "\ufffd") {
				t.Errorf("%.20s: %.300s", body, text)
			}
		}
		_, text := s.do("POST", "/push_to_system", typeJSON, `{"system_id":"1","data":"AAEC","binary":[["`+strings.ToValidUTF8(long, "x")+`"]]}`)
		if len(text) > 500 || !utf8.ValidString(text) {
			t.Errorf("JSON: %.300s", text)
		}
	}
	s.silent("1", p)
}
