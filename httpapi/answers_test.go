package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"carillon/engine"
)

// Success is a status below 300, whatever was called; every push to clients that are
// waited for has a report; and each answer ends its line, with the same headers.
func TestAnswersLookTheSame(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1&group_name=g")
	one := "system_id=1&client_id=" + p.id
	for _, tt := range []struct {
		method, path, body string
		status             int
		report             bool
	}{
		{"POST", "/push_to_client", one + "&data=1", 200, true},
		{"POST", "/push_to_clients", "system_id=1&data=1&client_ids=" + p.id, 200, true},
		{"POST", "/push_to_group", "system_id=1&group_name=g&data=1", 200, true},
		{"POST", "/push_to_system", "system_id=1&data=1", 200, true},
		{"POST", "/push_to_all", "data=1", 200, true},
		{"POST", "/push_to_client", one + "&data=1&report=none", 202, false},
		{"POST", "/push_to_clients", "system_id=1&data=1&report=none&client_ids=" + p.id, 202, false},
		{"POST", "/bind_to_group", one + "&group_name=h", 200, false},
		{"POST", "/unbind_from_group", one + "&group_name=h", 200, false},
		{"GET", "/client?client_id=" + p.id, "", 200, false},
		{"GET", "/clients", "", 200, false},
		{"GET", "/stats", "", 200, false},
		{"GET", "/healthz", "", 200, false},
		{"GET", "/", "", 200, false},
		{"GET", "/nothing", "", 404, false},
		{"PUT", "/clients", "", 405, false},
		{"GET", "/ws", "", 426, false},
		{"POST", "/push_to_all", "", 400, false},
		{"POST", "/close_client", one, 200, false},
		{"POST", "/close_client", one, 404, false},
	} {
		resp, text := s.do(tt.method, tt.path, typeForm, tt.body)
		if resp.StatusCode != tt.status || strings.Contains(text, `"report":{"matched":1,"written":1,"queued":0,"dropped":0}`) != tt.report {
			t.Errorf("%s %s: %d %.200s, want %d, a report: %t", tt.method, tt.path, resp.StatusCode, text, tt.status, tt.report)
		}
		h := resp.Header
		if !strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\n\n") || h.Get("Date") == "" || h.Get("Cache-Control") != "no-store" ||
			h.Get("X-Content-Type-Options") != "nosniff" || tt.path != "/" && h.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %q, %v", tt.method, tt.path, text[max(0, len(text)-10):], h)
		}
	}
}

// A mistake that can be made with both halves of the server is told in the same words by
// both.
func TestBothHalvesSayTheSame(t *testing.T) {
	s, own := newServer(t, Options{}), newServer(t, Options{APIOnly: true})
	long := strings.Repeat("n", 129)
	type pair struct{ connect, call string } // queries
	about := func(s *server, method, path string) (int, answer, http.Header) {
		resp, text := s.do(method, path, "", "", "Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		return resp.StatusCode, decoded(t, text), resp.Header
	}
	for _, tt := range []pair{
		{"", "group_name=g"}, // no system
		{"system_id=", "system_id="},
		{"system_id=" + long, "system_id=" + long},
		{"system_id=%ff", "system_id=%ff"},
		{"system_id=1&system_id=2", "system_id=1&system_id=2"},
		{"system_id=%zz", "system_id=%zz"},
		{"system_id=1;x=2", "system_id=1;x=2"},
		{"system_id=1&group_name=%zz", "system_id=1&group_name=%zz"},
		{"system_id=1&group_name=a&group_name=", "system_id=1&group_name="},
		{"system_id=1&group_name=" + long, "system_id=1&group_name=" + long},
	} {
		status, a, _ := about(s, "GET", "/ws?"+tt.connect)
		status2, b, _ := about(s, "GET", "/clients?"+tt.call)
		if status != status2 || fmt.Sprint(a) != fmt.Sprint(b) || a.Detail == "" {
			t.Errorf("%.40s: %d %+v of the engine, %d %+v of the API", tt.connect, status, a, status2, b)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		status, a, h := about(s, method, "/ws")
		status2, b, h2 := about(own, method, "/ws")
		if status != 405 || status2 != 405 || fmt.Sprint(a) != fmt.Sprint(b) || a.Detail != "want GET" || h.Get("Allow") != h2.Get("Allow") {
			t.Errorf("%s: %d %+v of the engine, %d %+v of the API", method, status, a, status2, b)
		}
	}
	// What is not for the path, at an engine that serves clients alone.
	eng, err := engine.New(engine.Options{Addr: "127.0.0.1:0"})
	if err == nil {
		err = eng.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = eng.Shutdown(t.Context()) }()
	alone := &server{t: t, url: "http://" + eng.Addr().String()}
	status, a, _ := about(alone, "GET", "/wss")
	status2, b, _ := about(s, "GET", "/wss")
	if status != 404 || status2 != 404 || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("/wss: %d %+v of the engine, %d %+v of the API", status, a, status2, b)
	}
}

// The keys of /stats are words with underscores, whatever there is to count.
func TestStatsKeys(t *testing.T) {
	s := newServer(t, Options{})
	for _, target := range []string{"/ws", "/ws?system_id=", "/ws?system_id=1"} {
		s.do("GET", target, "", "")
	}
	var stats map[string]json.RawMessage
	s.get("/stats", &stats)
	good := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	var check func(v map[string]json.RawMessage)
	check = func(v map[string]json.RawMessage) {
		for key, value := range v {
			var inner map[string]json.RawMessage
			if !good.MatchString(key) {
				t.Errorf("key %q", key)
			}
			if json.Unmarshal(value, &inner) == nil {
				check(inner)
			}
		}
	}
	check(stats)
	if !strings.Contains(string(stats["closed"]), `"slow_consumer":0`) {
		t.Errorf("closed: %s", stats["closed"])
	}
	for label, want := range map[string]string{"slow consumer": "slow_consumer", "max connections": "max_connections", "head_size": "head_size", "Per-IP 2": "per_ip_2"} {
		if got := snakeCase(label); got != want {
			t.Errorf("snakeCase(%q) = %q, want %q", label, got, want)
		}
	}
}

// Who is sent twice gets one message, and each of its places has the same result; above
// one id, results carry no data, of which 10,000 times 0.5 MB would be gigabytes.
func TestPushToClientsOnce(t *testing.T) {
	s := newServer(t, Options{})
	p, q := s.dial("system_id=1"), s.dial("system_id=1")
	var one []answer
	_, text := s.do("POST", "/push_to_clients", typeJSON, `{"system_id":"1","client_ids":["`+p.id+`"],"data":{"n":1}}`)
	if err := json.Unmarshal([]byte(text), &one); err != nil || len(one) != 1 || string(one[0].Data) != `{"n":1}` || one[0].Report == nil || one[0].Report.Written != 1 {
		t.Errorf("one id: %s, %v", text, err)
	}
	p.next()

	ids := slices.Repeat([]string{p.id, noID, q.id}, 3000)
	data := strings.Repeat("x", 500<<10)
	body := `{"system_id":"1","client_ids":[` + strings.Join(ids, ",") + `],"data":"` + data + `"}`
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, text := s.do("POST", "/push_to_clients", typeJSON, body)
	runtime.ReadMemStats(&after)
	var results []answer
	if err := json.Unmarshal([]byte(text), &results); err != nil || resp.StatusCode != 200 || len(results) != len(ids) || len(text) > 4<<20 {
		t.Fatalf("%d, %d bytes, %d results, %v", resp.StatusCode, len(text), len(results), err)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 64<<20 {
		t.Errorf("%d MB were allocated for %d KB", made>>20, len(body)>>10)
	}
	for i, r := range results {
		code, written := engine.CodeSent, 1
		if ids[i] == noID {
			code, written = engine.CodeNoClient, 0
		}
		if r.ClientID != ids[i] || r.Code != code || string(r.Data) != "null" || r.Report == nil || r.Report.Written+r.Report.Queued != written {
			t.Fatalf("result %d: %+v %+v", i, r, r.Report)
		}
	}
	for _, c := range []*peer{p, q} {
		if got := c.next(); len(got.Data) != len(data)+2 {
			t.Errorf("delivered %d bytes", len(got.Data))
		}
	}
	s.silent("1", p, q)
}

// report=none is 202 without results, for named clients, too.
func TestReportNoneForNamedClients(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	for _, tt := range [][2]string{
		{"/push_to_client", "system_id=1&data=1&report=none&client_id=" + p.id},
		{"/push_to_clients", "system_id=1&data=1&report=none&client_ids=" + p.id},
		{"/push_to_clients", `{"system_id":"1","data":"1","report":"none","client_ids":["` + p.id + `","` + p.id + `",` + noID + `]}`},
	} {
		got := s.call(tt[0], tt[1], 202)
		if d := p.next(); got.Report != nil || got.Code != 10009 || got.MessageID == "" || d.MessageID != got.MessageID || string(got.Data) != `"1"` {
			t.Errorf("%s: %+v, delivered %+v", tt[0], got, d)
		}
	}
	if got := s.call("/push_to_client", "system_id=1&data=1&report=none&client_id="+noID, 404); got.Code != 10004 {
		t.Errorf("nobody: %+v", got)
	}
	s.silent("1", p)
}
