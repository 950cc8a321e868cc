package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A page that nobody invited, in a browser, with everything at its default: it opens
// no WebSocket, pushes nothing by a form or by fetch, and reads nothing; one on
// another port of this machine may connect, and nothing else.
func TestUninvitedPagesInBrowser(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-api-addr", "127.0.0.1:0"}} {
		s := start(t, args...)
		invited := s.dial("system_id=1")
		logged := make(chan string, 20)
		mux := http.NewServeMux()
		mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `<!doctype html>
<iframe name="answer"></iframe>
<form id="form" method="post" action="http://%[2]s/push_to_all" target="answer"><input name="data" value="from a form"></form>
<script>
const log = (line) => fetch("/log", {method: "POST", body: line});
const socket = (host, done) => {
	const ws = new WebSocket("ws://" + host + "/ws?system_id=1");
	ws.onopen = () => done("open");
	ws.onerror = () => done("refused");
};
document.getElementById("form").submit();
fetch("http://%[2]s/push_to_all", {method: "POST", mode: "no-cors", body: new URLSearchParams({data: "from fetch"})})
	.catch(() => {})
	.then(() => fetch("http://%[2]s/clients")).then(() => "read", () => "unreadable")
	.then((clients) => log("clients " + clients))
	.then(() => socket("%[1]s", (state) => log("socket " + state).then(() => log("end"))));
</script>`, s.addr, s.api)
		})
		mux.HandleFunc("POST /log", func(_ http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			logged <- string(b)
		})
		page := httptest.NewServer(mux)
		defer page.Close()
		_, port, _ := strings.Cut(strings.TrimPrefix(page.URL, "http://"), ":")
		for host, want := range map[string][]string{
			"evil.example": {"clients unreadable", "socket refused", "end"},
			"localhost":    {"clients unreadable", "socket open", "end"},
		} {
			browse(t, "http://"+host+":"+port, "--host-resolver-rules=MAP evil.example 127.0.0.1",
				"--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests") // it is our doing, not the browser's
			var got []string
			for !slices.Contains(got, "end") {
				select {
				case line := <-logged:
					got = append(got, line)
				case <-time.After(60 * time.Second):
					t.Fatalf("the page of %s logged %q, and no end", host, got)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("the page of %s: %q, want %q", host, got, want)
			}
		}
		s.post("/push_to_all", url.Values{"data": {"from the backend"}})
		if _, b, err := invited.Read(testContext(t)); err != nil || !strings.Contains(string(b), "from the backend") {
			t.Errorf("delivered %s, %v, want what the backend pushed and nothing before", b, err)
		}
	}
}

// handshake connects for a page, and returns the status of the answer.
func handshake(t *testing.T, addr, host, origin string, header http.Header) int {
	t.Helper()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Origin", origin)
	c, resp, err := websocket.Dial(testContext(t), "ws://"+addr+"/ws?system_id=1", &websocket.DialOptions{Host: host, HTTPHeader: header})
	if resp == nil {
		t.Fatal(err)
	}
	if err == nil {
		c.CloseNow()
	}
	return resp.StatusCode
}

// Which names a server answers to, by its flags, on both of its ports.
func TestAllowHost(t *testing.T) {
	tests := []struct {
		name             string
		args             []string
		api, webSocket   int // under shop.example
		api2, webSocket2 int // under evil.example
	}{
		{"default", nil, 403, 403, 403, 403},
		{"names", []string{"-allow-host", "shop.example, *.shop.example"}, 200, 101, 403, 403},
		{"key", []string{"-api-key", "k"}, 200, 101, 200, 101},
		{"key and names", []string{"-api-key", "k", "-allow-host", "shop.example"}, 200, 101, 403, 403},
		{"public", []string{"-addr", "0.0.0.0:0", "-insecure"}, 403, 101, 403, 101},
		{"any", []string{"-allow-host", "*"}, 200, 101, 200, 101},
	}
	for _, tt := range tests {
		for _, own := range []bool{false, true} {
			args := tt.args
			if own {
				args = append([]string{"-api-addr", "127.0.0.1:0"}, args...)
			}
			s := start(t, args...)
			for host, want := range map[string][2]int{
				"shop.example": {tt.api, tt.webSocket}, "evil.example": {tt.api2, tt.webSocket2}, "localhost": {200, 101},
			} {
				req, _ := http.NewRequest("GET", "http://"+s.api+"/clients", nil)
				req.Host = host
				req.Header.Set("Authorization", "Bearer k")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != want[0] || resp.StatusCode == 403 && !strings.Contains(string(body), `"field":"Host"`) {
					t.Errorf("%s, own port %v: /clients of %s: %d %s, want %d", tt.name, own, host, resp.StatusCode, body, want[0])
				}
				if got := handshake(t, s.addr, host, "http://"+host, nil); got != want[1] {
					t.Errorf("%s, own port %v: page of %s: %d, want %d", tt.name, own, host, got, want[1])
				}
			}
		}
	}
}
