package httpapi

import (
	"strings"
	"testing"

	"carillon/engine"
)

func TestStats(t *testing.T) {
	s := newServer(t, Options{Version: "1.2.3"})
	s.dial("system_id=1&group_name=g")
	s.dial("system_id=2&group_name=g&group_name=h")
	gone := s.dial("system_id=2")
	s.call("/close", "system_id=2&client_id="+gone.id, 200)
	var got struct {
		Version     string
		Uptime      *int `json:"uptime_seconds"`
		Connections int
		Systems     int
		Groups      int
		MessagesIn  *uint64 `json:"messages_in"`
		MessagesOut uint64  `json:"messages_out"`
		BytesIn     uint64  `json:"bytes_in"`
		BytesOut    uint64  `json:"bytes_out"`
		Accepted    uint64
		Closed      map[string]uint64
		Refused     map[string]uint64
	}
	s.get("/stats", &got)
	if got.Version != "1.2.3" || got.Uptime == nil || *got.Uptime < 0 || *got.Uptime > 600 || got.Connections != 2 || got.Systems != 2 ||
		got.Groups != 3 || got.MessagesIn == nil || got.BytesIn == 0 || got.BytesOut == 0 || got.Accepted != 3 || got.Refused == nil {
		t.Errorf("%+v", got)
	}
	if len(got.Closed) != len(engine.CloseReasons()) || got.Closed["backend"] != 1 || got.Closed["peer"] != 0 {
		t.Errorf("closed: %v", got.Closed)
	}
}

func TestHealth(t *testing.T) {
	s := newServer(t, Options{})
	for _, path := range []string{"/healthz", "/readyz"} {
		if resp, body := s.do("GET", path, "", ""); resp.StatusCode != 200 || body != `{"status":"ok"}`+"\n" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	eng, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Engine: eng})
	if err != nil {
		t.Fatal(err)
	}
	if rec := serve(a, "GET", "/readyz", ""); rec.Code != 503 {
		t.Errorf("before Start: %d %s", rec.Code, rec.Body)
	}
	if rec := serve(a, "GET", "/stats", ""); rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), `{"version":"dev","uptime_seconds":0,`) {
		t.Errorf("stats before Start: %d %s", rec.Code, rec.Body)
	}
}
