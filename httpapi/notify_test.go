package httpapi

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"carillon/engine"
)

// told demands that the next message tells p's group about a client.
func (p *peer) told(code engine.Code, group, id, user string) delivered {
	p.t.Helper()
	d := p.next()
	if want := fmt.Sprintf(`{"client_id":"%s","user_id":"%s"}`, id, user); d.Code != code || d.GroupName != group || string(d.Data) != want {
		p.t.Errorf("told %+v %s, want code %d for %s, %s", d, d.Data, code, group, want)
	}
	return d
}

// With notify=true a group hears of each way in which a client joins and leaves; without,
// of none.
func TestNotify(t *testing.T) {
	s := newServer(t, Options{})
	member := s.dial("system_id=1&group_name=g&group_name=h")
	stranger := s.dial("system_id=2&group_name=g")

	p := s.dial("system_id=1&user_id=ann&group_name=g&notify=true")
	d := member.told(10012, "g", p.id, "ann")
	if own := p.told(10012, "g", p.id, "ann"); own.MessageID != d.MessageID {
		t.Errorf("two ids for one message: %s, %s", own.MessageID, d.MessageID)
	}

	leave := "system_id=1&group_name=g&client_id=" + p.id
	got := s.call("/unbind_from_group", leave+"&notify=1", 200)
	if d := member.told(10003, "g", p.id, "ann"); d.MessageID != got.MessageID || got.Code != 10003 {
		t.Errorf("unbind answers %+v, told %+v", got, d)
	}
	if got := s.call("/unbind_from_group", leave+"&notify=1", 200); got.MessageID != "" || *got.Removed {
		t.Errorf("second unbind: %+v", got)
	}

	for _, group := range []string{"g", "h"} {
		s.call("/bind_to_group", "system_id=1&client_id="+p.id+"&group_name="+group, 200)
	}
	got = s.call("/close_client", "system_id=1&notify=true&client_id="+p.id, 200)
	for _, group := range []string{"g", "h"} {
		if d := member.told(10003, group, p.id, "ann"); d.MessageID != got.MessageID || d.MessageID == "" {
			t.Errorf("close answers %+v, told %+v", got, d)
		}
	}
	s.call("/close_client", "system_id=1&notify=true&client_id="+p.id, 404)

	quiet := s.dial("system_id=1&group_name=g&notify=false")
	s.call("/unbind_from_group", "system_id=1&group_name=g&client_id="+quiet.id, 200)
	s.call("/close_client", "system_id=1&client_id="+quiet.id, 200)
	s.dial("system_id=1&notify=True") // in no group
	s.silent("1", member)
	s.silent("2", stranger)
}

func TestNotifyOfAConnect(t *testing.T) {
	s := newServer(t, Options{})
	for query, detail := range map[string]string{
		"notify=yes": `true or false, not "yes"`, "notify=": `true or false, not ""`, "notify=1&notify=1": "one value, not several",
		"system_id[]=1": "one value, not several", "group_name[]=g&group_name[1]=%zz": `"%zz" is no escape`,
	} {
		resp, text := s.do("GET", "/ws?"+query+"&system_id=1", "", "", "Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		field, _, _ := strings.Cut(query, "=")
		field, _, _ = strings.Cut(field, "[")
		if a := decoded(t, text); resp.StatusCode != 400 || a.Code != 10017 || a.Field != field || !strings.Contains(a.Detail, detail) {
			t.Errorf("%s: %d %s, want 400 about %s: %s", query, resp.StatusCode, text, field, detail)
		}
	}
}

// The welcome says what the client was taken for.
func TestWelcomeHasGroupsAndUser(t *testing.T) {
	s := newServer(t, Options{})
	for query, want := range map[string]string{
		"":                                     `{"groups":[],"user_id":""}`,
		"&group_name=vip&user_id=ann":          `{"groups":["vip"],"user_id":"ann"}`,
		"&group=vip&user=ann":                  `{"groups":[],"user_id":""}`,
		"&group_name=z&group_name=a":           `{"groups":["a","z"],"user_id":""}`,
		"&group_name=a&group_name=a":           `{"groups":["a"],"user_id":""}`,
		"&group_name[]=b&group_name[1]=a":      `{"groups":["a","b"],"user_id":""}`,
		"&group_name=%22%0A&user_id=%E6%97%A5": `{"groups":["\"\n"],"user_id":"日"}`,
	} {
		conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+"/ws?system_id=1"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{t: t, conn: conn}
		if d := p.next(); string(d.Params) != want {
			t.Errorf("%s: params %s, want %s", query, d.Params, want)
		}
		_ = conn.CloseNow()
	}
}

func TestCloseCodes(t *testing.T) {
	s := newServer(t, Options{})
	for _, tt := range []struct {
		field string
		want  websocket.StatusCode
	}{{"", 3500}, {`,"code":1000`, 1000}, {`,"code":3000`, 3000}, {`,"code":"4999"`, 4999}, {`,"code":null`, 3500}} {
		p := s.dial("system_id=1")
		s.call("/close_client", `{"system_id":"1","client_id":"`+p.id+`","reason":"bye"`+tt.field+`}`, 200)
		_, _, err := p.conn.Read(t.Context())
		if closed := (websocket.CloseError{}); !errors.As(err, &closed) || closed.Code != tt.want || closed.Reason != "bye" {
			t.Errorf("%s: the client read %v, want %d", tt.field, err, tt.want)
		}
	}
	p := s.dial("system_id=1")
	for _, code := range []string{"0", "1001", "1005", "1006", "2999", "5000", "65536", "-1", "3000.0", "true", `""`, `"bye"`} {
		s.refused("POST", "/close_client", typeJSON, `{"system_id":"1","client_id":"`+p.id+`","code":`+code+`}`, "code")
	}
	s.silent("1", p)
}
