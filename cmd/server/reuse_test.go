package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A caller has one connection, for API calls and then an upgrade.
type caller struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// call connects, with TLS if that is not nil.
func call(t *testing.T, addr string, secured *tls.Config) *caller {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if secured != nil {
		conn = tls.Client(conn, secured)
	}
	return &caller{t, conn, bufio.NewReader(conn)}
}

func (c *caller) say(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads an answer whole.
func (c *caller) hear(method string) (status int, body string, err error) {
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return 0, "", err
	}
	if resp.StatusCode == 100 {
		return c.hear(method)
	}
	if resp.StatusCode == 101 {
		return 101, "", nil
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// chats shows that the connection is a client now: it has its welcome, and an echo.
func (c *caller) chats() error {
	p := &peer{t: c.t, conn: c.conn, in: c.in}
	if a := p.read(); !strings.Contains(a.payload, `"code":0,`) {
		return fmt.Errorf("the welcome is %v", a)
	}
	p.write(frame(0x81, "hello"))
	if a := p.read(); !strings.Contains(a.payload, `"hello"`) {
		return fmt.Errorf("the reply is %v", a)
	}
	return nil
}

const joining = "GET /ws?system_id=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"

// line adds a header to a request.
func line(request, header string) string {
	return strings.Replace(request, "\r\n\r\n", "\r\n"+header+"\r\n\r\n", 1)
}

func calling(method, path, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
}

// ways starts the server with a key and without, with TLS and without.
func ways(t *testing.T, test func(t *testing.T, s *server, secured *tls.Config), args ...string) {
	for _, key := range []bool{false, true} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("key %v, TLS %v", key, secure), func(t *testing.T) {
				args := args
				if key {
					args = append([]string{"-api-key", "k"}, args...)
				}
				var secured *tls.Config
				if secure {
					dir := t.TempDir()
					secured = &tls.Config{RootCAs: writeCertificate(t, dir, "test"), ServerName: "127.0.0.1"}
					args = append([]string{"-tls-cert", filepath.Join(dir, "cert.pem"), "-tls-key", filepath.Join(dir, "key.pem")}, args...)
				}
				test(t, start(t, args...), secured)
			})
		}
	}
}

// refusedOver asks for the counters over a connection of its own.
func (s *server) refusedOver(t *testing.T, secured *tls.Config) string {
	c := call(t, s.api, secured)
	c.say(line(calling("GET", "/stats", ""), "Connection: close"))
	_, body, err := c.hear("GET")
	_, after, ok := strings.Cut(body, `"refused":`)
	if err != nil || !ok {
		t.Fatal(body, err)
	}
	counted, _, _ := strings.Cut(after, "}")
	return counted + "}"
}

// Whatever came before on the connection, and however the requests lie in its packets, an
// upgrade is judged by itself.
func TestReusedConnection(t *testing.T) {
	push := calling("POST", "/push_to_all", "data=x")
	type step struct {
		request, method string
		status          int
	}
	health := step{healthz, "GET", 200}
	before := map[string][]step{
		"nothing": nil,
		"GET":     {health},
		"HEAD":    {{strings.Replace(healthz, "GET", "HEAD", 1), "HEAD", 200}},
		"push":    {{push, "POST", 200}},
		"several": {health, {push, "POST", 200}, health},
		"Expect":  {{line(push, "Expect: 100-continue"), "POST", 200}},
		"chunked": {{strings.Replace(push, "Content-Length: 6\r\n\r\ndata=x", "Transfer-Encoding: chunked\r\n\r\n3\r\ndat\r\n3\r\na=x\r\n0\r\n\r\n", 1), "POST", 200}},
		"4xx":     {{calling("POST", "/push_to_all", "data=x&report=some"), "POST", 400}, {calling("GET", "/nothing", ""), "GET", 404}, health},
	}
	upgrades := []struct {
		name, request string
		status        int
		reason        string
	}{
		{"joins", joining, 101, ""},
		{"no system", strings.Replace(joining, "system_id=1", "x=1", 1), 400, "identity"},
		{"another page", line(joining, "Origin: https://evil.example"), 403, "origin"},
		{"plain", "GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", 426, "upgrade"},
		{"HEAD", strings.Replace(joining, "GET", "HEAD", 1), 405, "method"},
	}
	ways(t, func(t *testing.T, s *server, secured *tls.Config) {
		want := map[string]int{}
		for name, steps := range before {
			for _, up := range upgrades {
				for _, pipelined := range []bool{false, true} {
					c := call(t, s.addr, secured)
					method, _, _ := strings.Cut(up.request, " ")
					all := ""
					for _, one := range steps {
						all += one.request
					}
					if pipelined {
						c.say(all + up.request)
					}
					for _, one := range steps {
						if !pipelined {
							c.say(one.request)
						}
						if status, body, err := c.hear(one.method); status != one.status || err != nil {
							t.Fatalf("behind %s: %d %s, %v, want %d", name, status, body, err, one.status)
						}
					}
					if !pipelined {
						c.say(up.request)
					}
					status, body, err := c.hear(method)
					if status != up.status || err != nil {
						t.Errorf("%s behind %s, pipelined %v: %d %s, %v, want %d", up.name, name, pipelined, status, body, err, up.status)
						continue
					}
					if status == 101 {
						if err := c.chats(); err != nil {
							t.Errorf("%s behind %s, pipelined %v: %v", up.name, name, pipelined, err)
						}
					} else {
						want[up.reason]++
					}
					c.conn.Close()
				}
			}
		}
		for reason, n := range want {
			if got := s.refusedOver(t, secured); !strings.Contains(got, fmt.Sprintf("%q:%d", reason, n)) {
				t.Errorf("counted as %s, want %d of %s", got, n, reason)
			}
		}
		if got := s.refusedOver(t, secured); strings.Count(got, ":") != len(want) {
			t.Errorf("counted as %s, want %v and no more", got, want)
		}
	})
}

// Clients that we did not write make a call and join, on one connection. Each is told the
// port, and prints what it got. The server counts connections: there was one.
var reusing = map[string]struct{ tool, file, program string }{
	"node": {"node", "reuse.js", `
const http = require("http");
const port = process.argv[2], agent = new http.Agent({keepAlive: true, maxSockets: 1});
const at = {host: "127.0.0.1", port, agent};
function call(next) {
	http.get({...at, path: "/healthz"}, (res) => {
		const port = res.socket.localPort;
		res.resume();
		res.on("end", () => setImmediate(next, res.statusCode, port));
	});
}
call((status, was) => {
	const req = http.request({...at, path: "/ws?system_id=1", headers: {
		Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": 13, "Sec-WebSocket-Key": "AAECAwQFBgcICQoLDA0ODw=="}});
	const done = (...what) => { console.log(status, ...what); process.exit(0); };
	req.on("response", (res) => done(res.statusCode));
	req.on("upgrade", (res, socket, head) => {
		const same = socket.localPort === was ? "same" : "another";
		const read = (b) => b.includes('"code":0,') ? done(res.statusCode, same, "welcome") : 0;
		socket.on("data", read);
		read(head);
	});
	req.end();
});`},
	"python": {"python3", "reuse.py", `
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
c.request("GET", "/healthz")
r = c.getresponse()
r.read()
was, first = c.sock.getsockname(), r.status
c.request("GET", "/ws?system_id=1", headers={"Connection": "Upgrade", "Upgrade": "websocket",
	"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAECAwQFBgcICQoLDA0ODw=="})
sock = c.sock
same = "same" if sock.getsockname() == was else "another"
b = b""
while b'"code":0,' not in b and b"HTTP/1.1 4" not in b:
	more = sock.recv(4096)
	if not more:
		break
	b += more
print(first, b.split(b" ")[1].decode(), same, "welcome" if b'"code":0,' in b else b)
`},
	"java": {"java", "Reuse.java", `
import java.net.URI;
import java.net.http.*;
import java.util.concurrent.*;

public class Reuse {
	public static void main(String[] args) throws Exception {
		HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
		String at = "127.0.0.1:" + args[0];
		int status = client.send(HttpRequest.newBuilder(URI.create("http://" + at + "/healthz")).build(),
			HttpResponse.BodyHandlers.ofString()).statusCode();
		CompletableFuture<String> welcome = new CompletableFuture<>();
		try {
			WebSocket ws = client.newWebSocketBuilder().buildAsync(URI.create("ws://" + at + "/ws?system_id=1"), new WebSocket.Listener() {
				public CompletionStage<?> onText(WebSocket ws, CharSequence data, boolean last) {
					welcome.complete(data.toString().contains("\"code\":0,") ? "welcome" : data.toString());
					return null;
				}
			}).join();
			System.out.println(status + " 101 same " + welcome.get(10, TimeUnit.SECONDS));
		} catch (CompletionException e) {
			System.out.println(status + " " + e);
		}
		System.exit(0);
	}
}`},
}

func TestForeignClientsReuse(t *testing.T) {
	t.Parallel()
	for name, client := range reusing {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(client.tool); err != nil && name != "python" { // the others are not asked for
				t.Skipf("%s is not installed: the test uses it as a user would", client.tool)
			}
			tool := needs(t, client.tool)
			flags := [][]string{nil, {"-api-key", "k"}}
			if name == "java" { // which takes seconds to start
				flags = flags[1:]
			}
			for _, args := range flags {
				s := start(t, append(args, "-log-level", "debug")...)
				_, port, _ := net.SplitHostPort(s.addr)
				out, err := exec.Command(tool, write(t, t.TempDir(), client.file, client.program), port).CombinedOutput()
				if err != nil || strings.TrimSpace(string(out)) != "200 101 same welcome" {
					t.Errorf("%v: %s, %v, want 200 101 same welcome", args, out, err)
				}
				// Java does not tell its port: the server's log has both requests from it.
				logs := strings.Split(s.logs.String(), "\n")
				var from []string
				for _, l := range logs {
					if _, after, ok := strings.Cut(l, `"remote":"`); ok {
						addr, _, _ := strings.Cut(after, `"`)
						from = append(from, addr)
					}
				}
				for _, addr := range from {
					if addr != from[0] {
						t.Errorf("%v: the client had several connections: %v", args, from)
					}
				}
			}
		})
	}
}
