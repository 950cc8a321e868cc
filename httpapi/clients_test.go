package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"carillon/engine"
)

// serve calls a handler without a listener.
func serve(a *API, method, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	req.Header.Set("Content-Type", typeJSON)
	rec := httptest.NewRecorder()
	a.ServeHTTP(rec, req)
	return rec
}

func TestBindAndUnbind(t *testing.T) {
	s := newServer(t, Options{Lang: engine.English})
	p := s.dial("system_id=1&user_id=ann")
	member := s.dial("system_id=1&group_name=g")
	body := `{"system_id":"1","client_id":"` + p.id + `","group_name":"g","notify":true}`

	got := s.call("/bind_to_group", body, 200)
	if got.Code != 10012 || got.Added == nil || !*got.Added || got.SystemID != "1" || got.ClientID != p.id ||
		got.GroupName != "g" || string(got.Data) != "null" || got.Msg != engine.CodeBound.Text(engine.English) {
		t.Errorf("first bind: %+v", got)
	}
	for _, c := range []*peer{p, member} {
		d := c.next()
		if want := `{"client_id":"` + p.id + `","user_id":"ann"}`; d.Code != 10012 || string(d.Data) != want || d.GroupName != "g" || d.MessageID != got.MessageID {
			t.Errorf("client %s was told %+v, want data %s", c.id, d, want)
		}
	}
	if got := s.call("/bind_to_group", body, 200); got.Code != 10012 || got.Added == nil || *got.Added || got.MessageID != "" {
		t.Errorf("second bind: %+v", got)
	}
	if got := s.call("/push_to_group", "system_id=1&group_name=g&data=x&exclude="+member.id, 200); got.Report.Matched != 1 {
		t.Errorf("push after bind: %+v", got.Report)
	}
	p.next()

	form := "system_id=1&group_name=g&client_id=" + p.id
	if got := s.call("/unbind_from_group", form, 200); got.Code != 10003 || got.Removed == nil || !*got.Removed || got.GroupName != "g" {
		t.Errorf("unbind: %+v", got)
	}
	if got := s.call("/unbind_from_group", form, 200); got.Removed == nil || *got.Removed {
		t.Errorf("second unbind: %+v", got)
	}
	if got := s.call("/bind_to_group", form, 200); got.Added == nil || !*got.Added || got.MessageID != "" {
		t.Errorf("bind without notify: %+v", got)
	}
	s.silent("1", p, member)
}

// A client's id is worth nothing outside its own system: no call has an effect
// on it, and the answer is that of an id that does not exist.
func TestSystemsDoNotSeeEachOther(t *testing.T) {
	s := newServer(t, Options{})
	mine, theirs := s.dial("system_id=1&group_name=g"), s.dial("system_id=2&group_name=g")
	for _, tt := range [][2]string{
		{"/push_to_client", `,"data":1`},
		{"/bind_to_group", `,"group_name":"h","notify":true`},
		{"/unbind_from_group", `,"group_name":"g"`},
		{"/close_client", ``},
		{"/close", `,"reason":"out"`},
	} {
		var answers []string
		for _, id := range []string{theirs.id, noID} {
			resp, body := s.do("POST", tt[0], typeJSON, `{"system_id":"1","client_id":"`+id+`"`+tt[1]+`}`)
			if resp.StatusCode != 404 || !strings.Contains(body, `"code":10004,`) || !strings.Contains(body, `"field":"client_id"`) {
				t.Errorf("%s %s: %d %s", tt[0], id, resp.StatusCode, body)
			}
			answers = append(answers, body)
		}
		if answers[0] != answers[1] {
			t.Errorf("%s tells that the client exists: %s, %s", tt[0], answers[0], answers[1])
		}
	}
	if resp, _ := s.do("GET", "/client?system_id=1&client_id="+theirs.id, "", ""); resp.StatusCode != 404 {
		t.Errorf("GET /client: %d", resp.StatusCode)
	}
	var page clientsPage
	s.get("/clients?system_id=1", &page)
	if page.Total != 1 || !slices.Equal(page.Clients, []string{mine.id}) {
		t.Errorf("clients of system 1: %+v", page)
	}
	s.get("/clients?system_id=2&group_name=g", &page)
	if page.Total != 1 || !slices.Equal(page.Clients, []string{theirs.id}) {
		t.Errorf("group of system 2: %+v", page)
	}
	s.get("/clients?system_id=2&group_name=h", &page)
	if page.Total != 0 || len(page.Clients) != 0 {
		t.Errorf("bound all the same: %+v", page)
	}
	s.call("/push_to_system", `{"system_id":"1","data":1,"exclude":["`+theirs.id+`"]}`, 200)
	mine.next()
	s.silent("1", mine)
	s.silent("2", theirs)
}

func TestCloseClient(t *testing.T) {
	s := newServer(t, Options{})
	for _, path := range []string{"/close_client", "/close"} {
		p := s.dial("system_id=1")
		body := `{"system_id":"1","client_id":"` + p.id + `","reason":"bye \u00e9"}`
		if got := s.call(path, body, 200); got.Code != 10005 || got.ClientID != p.id || string(got.Data) != "null" {
			t.Errorf("%s: %+v", path, got)
		}
		_, _, err := p.conn.Read(t.Context())
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != 3500 || closed.Reason != "bye é" {
			t.Errorf("%s: the client read %v", path, err)
		}
		if got := s.call(path, body, 404); got.Code != 10004 {
			t.Errorf("%s again: %+v", path, got)
		}
	}
	p := s.dial("system_id=1")
	if got := s.call("/close", "system_id=1&client_id="+p.id+"&reason="+strings.Repeat("r", 124), 400); got.Code != 10017 || got.Field != "reason" {
		t.Errorf("long reason: %+v", got)
	}
	s.silent("1", p)
	s.call("/close", "system_id=1&client_id="+p.id, 200)
}

func TestBadCallsAboutClients(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	long := strings.Repeat("n", engine.MaxNameBytes+1)
	tests := []struct {
		method, path, body string
		code               engine.Code
		field              string
	}{
		{"POST", "/bind_to_group", `{"client_id":"ID","group_name":"g"}`, 10011, "system_id"},
		{"POST", "/bind_to_group", `{"system_id":"1","group_name":"g"}`, 10017, "client_id"},
		{"POST", "/bind_to_group", `{"system_id":"1","client_id":"ID"}`, 10017, "group_name"},
		{"POST", "/bind_to_group", `{"system_id":"1","client_id":"ID","group_name":"` + long + `"}`, 10017, "group_name"},
		{"POST", "/bind_to_group", `{"system_id":"1","client_id":"ID","group_name":"g","notify":"true"}`, 10017, "notify"},
		{"POST", "/unbind_from_group", `{"system_id":"1","client_id":"ID","group_name":""}`, 10017, "group_name"},
		{"POST", "/close_client", `{"system_id":"1","client_id":"ID","reason":1}`, 10017, "reason"},
		{"POST", "/close_client", `{"client_id":"ID"}`, 10011, "system_id"},
		{"GET", "/client", "", 10017, "client_id"},
		{"GET", "/client?client_id=x", "", 10017, "client_id"},
		{"GET", "/client?client_id=ID&client_id=ID", "", 10017, "client_id"},
		{"GET", "/client?client_id=ID&system_id=", "", 10011, "system_id"},
		{"GET", "/clients?system_id=", "", 10011, "system_id"},
		{"GET", "/clients?group_name=g", "", 10011, "system_id"},
		{"GET", "/clients?system_id=1&group_name=", "", 10017, "group_name"},
		{"GET", "/clients?system_id=%ff", "", 10017, "system_id"},
		{"GET", "/clients?system_id=" + long, "", 10017, "system_id"},
		{"GET", "/clients?limit=0", "", 10017, "limit"},
		{"GET", "/clients?limit=1001", "", 10017, "limit"},
		{"GET", "/clients?limit=-1", "", 10017, "limit"},
		{"GET", "/clients?limit=1e2", "", 10017, "limit"},
		{"GET", "/clients?limit=", "", 10017, "limit"},
		{"GET", "/clients?cursor=x", "", 10017, "cursor"},
		{"GET", "/clients?cursor=0.1&cursor=0.1", "", 10017, "cursor"},
	}
	for _, tt := range tests {
		id := func(s string) string { return strings.ReplaceAll(s, "ID", p.id) }
		resp, body := s.do(tt.method, id(tt.path), typeJSON, id(tt.body))
		var got answer
		if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != 400 || got.Code != tt.code || got.Field != tt.field {
			t.Errorf("%s %s %s: %d %s, want code %d, field %s", tt.method, tt.path, tt.body, resp.StatusCode, body, tt.code, tt.field)
		}
	}
	var page clientsPage
	if s.get("/clients?system_id=1&group_name=g", &page); page.Total != 0 {
		t.Errorf("a refused bind had an effect: %+v", page)
	}
	s.silent("1", p)
}

func TestClient(t *testing.T) {
	s := newServer(t, Options{})
	before := time.Now().Add(-time.Second)
	p := s.dial(url.Values{"system_id": {`s"1`}, "user_id": {"ann"}, "group_name": {"z", "a"}}.Encode())
	var got struct {
		ClientID    string    `json:"client_id"`
		SystemID    string    `json:"system_id"`
		UserID      string    `json:"user_id"`
		Groups      []string  `json:"groups"`
		ConnectedAt time.Time `json:"connected_at"`
		RemoteAddr  string    `json:"remote_addr"`
		Subprotocol *string   `json:"subprotocol"`
		BytesIn     *uint64   `json:"bytes_in"`
		BytesOut    uint64    `json:"bytes_out"`
		MessagesIn  *uint64   `json:"messages_in"`
		MessagesOut uint64    `json:"messages_out"`
		QueuedBytes *int      `json:"queued_bytes"`
	}
	for _, path := range []string{"/client?client_id=" + p.id, "/client?system_id=s%221&client_id=" + p.id} {
		s.get(path, &got)
		if got.ClientID != p.id || got.SystemID != `s"1` || got.UserID != "ann" || !slices.Equal(got.Groups, []string{"a", "z"}) ||
			got.ConnectedAt.Before(before) || got.ConnectedAt.After(time.Now().Add(time.Second)) ||
			!strings.HasPrefix(got.RemoteAddr, "127.0.0.1:") || got.Subprotocol == nil || *got.Subprotocol != "" ||
			got.BytesIn == nil || got.BytesOut == 0 || got.MessagesIn == nil || got.QueuedBytes == nil || *got.QueuedBytes != 0 {
			t.Errorf("%s: %+v", path, got)
		}
	}
	sent := got.MessagesOut
	s.silent(`s"1`, p)
	if s.get("/client?client_id="+p.id, &got); got.MessagesOut != sent+1 {
		t.Errorf("%d messages out after %d and one more", got.MessagesOut, sent)
	}
	if resp, body := s.do("GET", "/client?client_id="+noID, "", ""); resp.StatusCode != 404 || !strings.Contains(body, "10004") {
		t.Errorf("unknown client: %d %s", resp.StatusCode, body)
	}
}

type clientsPage struct {
	Total   int
	Clients []string
	Cursor  string
}

// pages walks all pages of a query and returns the ids in their order.
func (s *server) pages(query string, limit int) []string {
	s.t.Helper()
	var all []string
	cursor := ""
	for {
		var page clientsPage
		s.get(fmt.Sprintf("/clients?%s&limit=%d&cursor=%s", query, limit, url.QueryEscape(cursor)), &page)
		if len(page.Clients) > limit || page.Cursor != "" && len(page.Clients) != limit {
			s.t.Fatalf("page of %d clients at limit %d, cursor %q", len(page.Clients), limit, page.Cursor)
		}
		all = append(all, page.Clients...)
		if cursor = page.Cursor; cursor == "" {
			return all
		}
	}
}

func TestClientsInPages(t *testing.T) {
	s := newServer(t, Options{})
	var want []string
	for i := range 25 {
		query := "system_id=1"
		if i%5 == 0 {
			query += "&group_name=g"
		}
		want = append(want, s.dial(query).id)
	}
	other := s.dial("system_id=2").id
	first := s.pages("system_id=1", 1000)
	for _, limit := range []int{1, 4, 5, 24, 25, 26} {
		if got := s.pages("system_id=1", limit); !slices.Equal(got, first) {
			t.Errorf("limit %d: %v, want %v", limit, got, first)
		}
	}
	sorted := func(ids []string) []string { return slices.Sorted(slices.Values(ids)) }
	if !slices.Equal(sorted(first), sorted(want)) {
		t.Errorf("clients %v, want %v", first, want)
	}
	if got := s.pages("system_id=1&group_name=g", 2); len(got) != 5 {
		t.Errorf("group: %v", got)
	}
	if got := s.pages("", 7); !slices.Equal(sorted(got), sorted(append(want, other))) {
		t.Errorf("everybody: %v", got)
	}
	var page clientsPage
	if s.get("/clients?system_id=1&limit=3", &page); page.Total != 25 || len(page.Clients) != 3 || page.Cursor == "" {
		t.Errorf("page %+v", page)
	}
	if s.get("/clients?system_id=none", &page); page.Total != 0 || page.Clients == nil || len(page.Clients) != 0 || page.Cursor != "" {
		t.Errorf("empty page %+v", page)
	}
}

// Whoever stays is on exactly one page, however many come and go.
func TestPagingWhileClientsComeAndGo(t *testing.T) {
	s := newServer(t, Options{})
	stay := map[string]bool{}
	for range 60 {
		stay[s.dial("system_id=1").id] = true
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+"/ws?system_id=1", nil)
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				_ = conn.CloseNow()
			}
		})
	}
	for range 20 {
		seen := map[string]int{}
		for _, id := range s.pages("system_id=1", 7) {
			seen[id]++
			if seen[id] == 2 {
				t.Errorf("client %s is on two pages", id)
			}
		}
		for id := range stay {
			if seen[id] == 0 {
				t.Errorf("client %s, who stays, is on no page", id)
			}
		}
	}
	close(stop)
	wg.Wait()
}
