package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// forWebSocket has nginx pass both kinds of requests on, as its manual says.
const forWebSocket = `proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgrading; proxy_set_header Host $http_host;
	proxy_set_header X-Forwarded-For $http_x_forwarded_for;`

// pools are proxies whose connections to the server carry whatever comes next.
var pools = map[string]func(s *server) string{
	"nginx": func(s *server) string { return s.nginx(s.t, forWebSocket) },
	"haproxy": func(s *server) string {
		return s.haproxy(s.t, "http-reuse always")
	},
}

// joinThrough connects through a proxy for the address of a visitor, and returns the
// client's id.
func joinThrough(t *testing.T, addr, query, visitor string) (c *websocket.Conn, id string, err error) {
	header := http.Header{}
	if visitor != "" {
		header.Set("X-Forwarded-For", visitor)
	}
	c, resp, err := websocket.Dial(testContext(t), "ws://"+addr+"/ws?"+query, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		if resp != nil {
			return nil, "", fmt.Errorf("status %d: %w", resp.StatusCode, err)
		}
		return nil, "", err
	}
	var welcome struct {
		ID string `json:"client_id"`
	}
	_, b, err := c.Read(testContext(t))
	if err == nil {
		err = json.Unmarshal(b, &welcome)
	}
	return c, welcome.ID, err
}

// A proxy's connections serve calls and clients, one after another: every client gets in,
// every call its answer, and a refused one is counted once.
func TestPooledProxies(t *testing.T) {
	const rounds, clients = 8, 5
	for name, proxy := range pools {
		for _, key := range []string{"", "k"} {
			t.Run(name+" "+key, func(t *testing.T) {
				var args []string
				if key != "" {
					args = []string{"-api-key", key}
				}
				s := start(t, args...)
				addr := proxy(s)
				ask := func(method, path, key, body string, want int) {
					t.Helper()
					req, _ := http.NewRequest(method, "http://"+addr+path, strings.NewReader(body))
					req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					req.Header.Set("Authorization", "Bearer "+key)
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Errorf("%s %s: %v", method, path, err)
						return
					}
					defer resp.Body.Close()
					if b, err := io.ReadAll(resp.Body); resp.StatusCode != want || err != nil {
						t.Errorf("%s %s: %d %s, %v, want %d", method, path, resp.StatusCode, b, err, want)
					}
				}
				var all sync.WaitGroup
				for range clients {
					all.Go(func() {
						for round := range rounds {
							ask("GET", "/healthz", "", "", 200)
							ask("POST", "/push_to_all", key, "data=x", 200)
							if key != "" && round%4 == 0 {
								ask("POST", "/push_to_all", "wrong", "data=x", 401)
							}
							c, id, err := joinThrough(t, addr, "system_id=1", "")
							if err != nil {
								t.Errorf("round %d: %v", round, err)
								return
							}
							ask("POST", "/push_to_client", key, "system_id=1&data=%22it+is+you%22&client_id="+id, 200)
							for {
								_, b, err := c.Read(testContext(t))
								if err != nil {
									t.Errorf("round %d: %v", round, err)
									break
								}
								if strings.Contains(string(b), "it is you") {
									break
								}
							}
							if round%4 == 0 {
								if _, _, err := joinThrough(t, addr, "x=1", ""); err == nil || !strings.Contains(err.Error(), "status 400") {
									t.Errorf("a client of no system: %v", err)
								}
							}
							c.Close(websocket.StatusNormalClosure, "")
						}
					})
				}
				all.Wait()
				var stats struct {
					Accepted int
					Refused  map[string]int
				}
				req, _ := http.NewRequest("GET", "http://"+s.api+"/stats", nil)
				req.Header.Set("Authorization", "Bearer "+key)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if err := json.NewDecoder(resp.Body).Decode(&stats); err != nil {
					t.Fatal(err)
				}
				if len(stats.Refused) != 1 || stats.Refused["identity"] != clients*rounds/4 {
					t.Errorf("refused: %v, want %d for want of a system", stats.Refused, clients*rounds/4)
				}
			})
		}
	}
}

// Whose a client is, its own request says, and not the one that its connection came with;
// its limits go by that.
func TestPooledProxiesForward(t *testing.T) {
	for name, proxy := range pools {
		t.Run(name, func(t *testing.T) {
			s := start(t, "-trusted-proxies", "127.0.0.0/8", "-max-per-ip", "1", "-log-level", "debug")
			addr := proxy(s)
			for n := range 6 {
				req, _ := http.NewRequest("GET", "http://"+addr+"/healthz", nil)
				req.Header.Set("X-Forwarded-For", "192.0.2.200")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				visitor := fmt.Sprint("192.0.2.", 1+n)
				if _, _, err := joinThrough(t, addr, "system_id=1", visitor); err != nil {
					t.Errorf("visitor %d: %v", n, err)
				}
				eventually(t, "the log says that a client is from "+visitor, func() bool {
					return strings.Contains(s.logs.String(), `"remote":"`+visitor+`:0"`)
				})
				if _, _, err := joinThrough(t, addr, "system_id=1", visitor); err == nil || !strings.Contains(err.Error(), "status 429") {
					t.Errorf("visitor %d again: %v, want 429", n, err)
				}
			}
			if !strings.Contains(s.logs.String(), `"path":"/ws"`) {
				t.Errorf("no client came over a connection that calls had used: %s", s.logs)
			}
		})
	}
}

// The header of the PROXY protocol is the connection's, for its calls and then its client,
// with TLS behind it or not.
func TestProxyHeaderOfReusedConnection(t *testing.T) {
	ways(t, func(t *testing.T, s *server, secured *tls.Config) {
		for n, header := range []string{proxyLine, proxyBinary, "PROXY UNKNOWN\r\n"} {
			c := call(t, s.addr, nil)
			c.say(header)
			if secured != nil {
				c.conn = tls.Client(c.conn, secured)
				c.in.Reset(c.conn)
			}
			c.say(healthz)
			if status, _, err := c.hear("GET"); status != 200 || err != nil {
				t.Fatalf("%q: %d, %v", header, status, err)
			}
			c.say(line(joining, "X-Forwarded-For: 192.0.2.99")) // whom the proxy does not know
			if status, body, err := c.hear("GET"); status != 101 || err != nil {
				t.Fatalf("%q: %d %s, %v", header, status, body, err)
			}
			if err := c.chats(); err != nil {
				t.Errorf("%q: %v", header, err)
			}
			want := []string{`"remote":"192.0.2.1:4711"`, `"remote":"192.0.2.1:4711"`, `"remote":"192.0.2.99:0"`}[n]
			eventually(t, "the log says whose the client is", func() bool {
				connected := ""
				for l := range strings.SplitSeq(s.logs.String(), "\n") {
					if strings.Contains(l, "client connected") {
						connected = l
					}
				}
				return strings.Contains(connected, want) && strings.Count(s.logs.String(), "client connected") == n+1
			})
		}
	}, "-trusted-proxies", "127.0.0.0/8", "-log-level", "debug")
}
