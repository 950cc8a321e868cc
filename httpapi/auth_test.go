package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// withKey is the status of a call that bears the key.
func withKey(a *API, key string, header ...string) int {
	r := httptest.NewRequest("GET", "/clients", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	r.RemoteAddr = "10.0.0.1:4711"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	a.ServeHTTP(rec, r)
	return rec.Code
}

// Keys are replaced as a whole, while calls are made, and bad ones replace nothing.
func TestSetKeys(t *testing.T) {
	a := newServer(t, Options{APIKeys: []string{"old", "both"}}).api
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 200 {
				if status := withKey(a, "both"); status != 200 {
					t.Errorf("a key that always was: %d", status)
				}
			}
		})
	}
	for range 100 {
		for _, keys := range [][]string{{"both", "new"}, {"old", "both"}, {"both", "new"}} {
			if err := a.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
		}
	}
	callers.Wait()
	for _, bad := range [][]string{nil, {}, {"fine", "with secret"}, {"secret\n"}, {""}, make([]string, MaxKeys+1)} {
		if err := a.SetKeys(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("SetKeys(%.40q): %v", bad, err)
		}
	}
	for key, want := range map[string]int{"old": 401, "new": 200, "both": 200, "fine": 401, "": 401} {
		if got := withKey(a, key); got != want {
			t.Errorf("with %q: %d, want %d", key, got, want)
		}
	}
	if err := newServer(t, Options{}).api.SetKeys([]string{"k"}); err == nil {
		t.Error("an API without keys takes one")
	}
	_, err := New(Options{Engine: a.eng, APIKeys: []string{"a secret"}})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("New: %v", err)
	}
}

// Wrong keys are counted, each, and logged, not each, with whom they are from and
// without the key.
func TestUnauthorizedIsTold(t *testing.T) {
	s := newServer(t, Options{APIKeys: []string{"k"}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for range 50 {
		withKey(s.api, "secret", "X-Forwarded-For", "192.0.2.9")
	}
	if got := strings.Count(s.log.String(), "unauthorized calls"); got != 1 {
		t.Errorf("%d warnings: %s", got, s.log)
	}
	time.Sleep(time.Second)
	withKey(s.api, "secret", "X-Forwarded-For", "192.0.2.9")
	for _, want := range []string{`"level":"warn"`, `"remote":"192.0.2.9"`, `"calls":50,`} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log has no %s: %s", want, s.log)
		}
	}
	if strings.Contains(s.log.String(), "secret") {
		t.Errorf("a key is in the log: %s", s.log)
	}
	r := httptest.NewRequest("GET", "/stats", nil)
	r.Header.Set("Authorization", "Bearer k")
	rec := httptest.NewRecorder()
	s.api.ServeHTTP(rec, r)
	if want := fmt.Sprintf(`"unauthorized":%d,`, 51); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), want) {
		t.Errorf("stats: %s: no %s", rec.Body, want)
	}
}

func TestLeave(t *testing.T) {
	a := newServer(t, Options{}).api
	a.Leave()
	for path, want := range map[string]int{"/readyz": 503, "/healthz": 200, "/clients": 200} {
		if rec := serve(a, "GET", path, ""); rec.Code != want {
			t.Errorf("%s: %d %s, want %d", path, rec.Code, rec.Body, want)
		}
	}
}
