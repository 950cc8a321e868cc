package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"carillon/engine"
)

func TestTypesOfBodies(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	good := `{"system_id":"1","data":1}`
	part := func(head, value string) string {
		return "--B\r\nContent-Disposition: form-data" + head + "\r\n\r\n" + value + "\r\n"
	}
	multi := part(`; name="system_id"`, "1")
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	_, _ = zip.Write([]byte(good))
	_ = zip.Close()
	tests := []struct {
		name, contentType, encoding, body string
		status                            int
		field                             string
	}{
		{"none", "", "", good, 415, "Content-Type"},
		{"text", "text/plain", "", good, 415, "Content-Type"},
		{"other JSON", "application/json-patch+json", "", good, 415, "Content-Type"},
		{"malformed type", "application/json; charset", "", good, 415, "Content-Type"},
		{"charset", "application/x-www-form-urlencoded; charset=gbk", "", "system_id=1&data=1", 415, "Content-Type"},
		{"gzip", typeJSON, "gzip", zipped.String(), 415, "Content-Encoding"},
		{"gzip after identity", typeJSON, "identity, gzip", zipped.String(), 415, "Content-Encoding"},
		{"no boundary", "multipart/form-data", "", multi + "--B--", 400, "Content-Type"},
		{"other boundary", "multipart/form-data; boundary=C", "", multi + "--B--", 400, "body"},
		{"cut", "multipart/form-data; boundary=B", "", multi, 400, "body"},
		{"part without a name", "multipart/form-data; boundary=B", "", multi + part("", "1") + "--B--", 400, "body"},
		{"file", "multipart/form-data; boundary=B", "", multi + part(`; name="data"; filename="a.txt"`, "1") + "--B--", 400, "data"},
		{"twice", "multipart/form-data; boundary=B", "", multi + multi + part(`; name="data"`, "1") + "--B--", 400, "system_id"},
		{"not UTF-8", "multipart/form-data; boundary=B", "", multi + part(`; name="data"`, "\xff") + "--B--", 400, "data"},
		{"empty multipart", "multipart/form-data; boundary=B", "", "--B--\r\n", 400, "system_id"},
		{"JSON as a form", typeForm, "", good, 415, "Content-Type"},
		{"form as JSON", typeJSON, "", "system_id=1&data=1", 415, "Content-Type"},
		{"multipart as a form", typeForm, "", multi + "--B--", 415, "Content-Type"},
	}
	for _, tt := range tests {
		var header []string
		if tt.encoding != "" {
			header = []string{"Content-Encoding", tt.encoding}
		}
		resp, body := s.do("POST", "/push_to_system", tt.contentType, tt.body, header...)
		var got answer
		if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != tt.status || got.Field != tt.field {
			t.Errorf("%s: %d %s, want %d about %s", tt.name, resp.StatusCode, body, tt.status, tt.field)
		}
	}
	if resp, body := s.do("POST", "/push_to_system", typeJSON, good, "Content-Encoding", "Identity"); resp.StatusCode != 200 {
		t.Errorf("identity: %d %s", resp.StatusCode, body)
	}
	p.next()
	s.silent("1", p)
}

func TestFormOfTooManyFields(t *testing.T) {
	s := newServer(t, Options{})
	if got := s.call("/push_to_all", strings.Repeat("a&", 200_000)+"data=1", 400); got.Field != "body" {
		t.Errorf("%+v", got)
	}
}

func TestBoundsOfABody(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	head, tail := `{"system_id":"1","client_id":"`+p.id+`","data":"`, `"}`
	fits := head + strings.Repeat("x", maxBody-len(head)-len(tail)) + tail
	s.call("/push_to_client", fits, 200)
	p.next()
	if got := s.call("/push_to_client", fits+" ", 413); got.Code != 10017 || got.Field != "body" {
		t.Errorf("one byte more: %+v", got)
	}

	// A length that is announced is refused before a byte of the body is sent.
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "POST /push_to_client HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", maxBody+1)
	if line := make([]byte, 12); true {
		if _, err := io.ReadFull(conn, line); err != nil || string(line) != "HTTP/1.1 413" {
			t.Errorf("announced: %q, %v", line, err)
		}
	}

	// One that is not is refused when it is over.
	req, _ := http.NewRequest("POST", s.url+"/push_to_client", io.MultiReader(strings.NewReader(fits), strings.NewReader("  ")))
	req.Header.Set("Content-Type", typeJSON)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("chunked: %d", resp.StatusCode)
	}
	s.silent("1", p)
}

// allFields are those of all calls together.
var allFields = func() (all []string) {
	for _, rt := range routes {
		for _, name := range rt.fields {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}()

// Whatever comes, decoding and reading of every field ends without a panic, and
// what is accepted is fit to be sent: names in bounds, data and params JSON in
// UTF-8. A JSON body means what encoding/json makes of it, byte for byte.
func FuzzFields(f *testing.F) {
	types := []string{typeJSON, typeForm, "multipart/form-data; boundary=B"}
	for kind, body := range []string{
		`{"system_id":1,"client_id":"12","group_name":"g","data":{"a":["\u00e9",1e9]},"params":[],"exclude":["1",2],"report":"none"}`,
		`system_id=1&client_id=12&group_name=g&data=x%20y&params=%5B1%5D&exclude=1&exclude=%5B2%2C%223%22%5D&binary=0`,
		"--B\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\nAAEC\r\n--B\r\nContent-Disposition: form-data; name=\"binary\"\r\n\r\n1\r\n--B--",
	} {
		f.Add(kind, []byte(body))
	}
	for _, body := range []string{`{"data":"\ud800","system_id":"\ud83d\udd14"}`, `{"data":"\\\"","binary":true}`, `{"client_ids":[1,"2"],"data":nul}`, `{"":{`} {
		f.Add(0, []byte(body))
	}
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		decode, media, err := decoderFor(types[uint(kind)%uint(len(types))])
		if err != nil {
			t.Fatal(err)
		}
		known := allFields
		var want map[string]json.RawMessage
		if media == mediaJSON && json.Unmarshal(body, &want) == nil {
			known = slices.Collect(maps.Keys(want)) // any name, but for what encoding/json makes another of
		}
		v, err := decode(body, known)
		if err != nil {
			if p := problemOf(err); p == nil || !utf8.ValidString(p.field) || !utf8.ValidString(p.detail) {
				t.Fatalf("%q: %v is not fit for an answer", body, err)
			}
			return
		}
		if v.json {
			if len(want) != len(v.values) {
				t.Fatalf("%q: %d members, want %d", body, len(v.values), len(want))
			}
			for name, raws := range v.values { // encoding/json keeps the last
				if last := raws[len(raws)-1]; last != string(want[name]) {
					t.Fatalf("%q: %q is %q, want %q", body, name, last, want[name])
				}
			}
		}
		read := func(what string, use func()) bool {
			v.bad = nil
			use()
			if v.bad != nil && problemOf(v.bad) == nil {
				t.Fatalf("%s of %q: %v is a defect", what, body, v.bad)
			}
			return v.bad == nil
		}
		var name string
		for _, get := range []func() string{v.system, v.group} {
			if read("name", func() { name = get() }) && (name == "" || len(name) > 128 || !utf8.ValidString(name)) {
				t.Fatalf("name %q of %q", name, body)
			}
		}
		var reason string
		if read("reason", func() { reason, _ = v.text("reason", false) }) && !utf8.ValidString(reason) {
			t.Fatalf("reason %q of %q", reason, body)
		}
		read("id", func() {
			if id := v.id(); v.bad == nil && (id == 0 || id >= 1<<63) {
				t.Fatalf("id %d of %q", id, body)
			}
		})
		for _, list := range []string{"client_ids", "exclude"} {
			read(list, func() {
				ids, _ := v.ids(list)
				if v.bad == nil && (slices.Contains(ids, 0) || len(ids) > engine.MaxTargets) {
					t.Fatalf("%s %v of %q", list, ids, body)
				}
			})
		}
		read("message", func() {
			m, echo := v.message()
			if v.bad != nil {
				return
			}
			if !utf8.ValidString(echo) || !json.Valid([]byte(echo)) || m.Params != nil && (!utf8.Valid(m.Params) || !json.Valid(m.Params)) {
				t.Fatalf("echo %q, params %q of %q", echo, m.Params, body)
			}
		})
	})
}
