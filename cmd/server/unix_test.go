package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
)

// socketPath is where a test may listen: such a path is short.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// through connects to the socket, whatever the address.
func through(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

// Clients and the API on unix sockets, on one or on two, without a key, as on loopback;
// the line that is printed works, and the files go.
func TestUnixSockets(t *testing.T) {
	t.Parallel()
	needs(t, "curl")
	both := socketPath(t)
	tests := map[string]struct{ clients, api string }{"one": {both, both}, "two": {socketPath(t), socketPath(t)}}
	for name, tt := range tests {
		args := []string{"-addr", "unix:" + tt.clients, "-socket-mode", "0600"}
		if tt.api != tt.clients {
			args = append(args, "-api-addr", "unix:"+tt.api)
		}
		s := start(t, args...)
		for _, path := range []string{tt.clients, tt.api} {
			if st, err := os.Stat(path); err != nil || st.Mode() != os.ModeSocket|0o600 {
				t.Errorf("%s: %v, %v", name, st, err)
			}
		}
		c, _, err := websocket.Dial(testContext(t), "ws://localhost/ws?system_id=123", &websocket.DialOptions{HTTPClient: through(tt.clients)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if want := "connect: ws+unix:" + tt.clients + ":/ws?system_id=123"; s.out[0] != want {
			t.Errorf("%s: it says %s, want %s", name, s.out[0], want)
		}
		_, command, _ := strings.Cut(s.out[1], " ")
		if out, err := exec.Command("sh", "-c", command).Output(); err != nil || !strings.Contains(string(out), `"written":1`) {
			t.Errorf("%s: %s: %s, %v", name, command, out, err)
		}
		for _, want := range []string{`"code":0,`, `"data":"hello"`} {
			if _, b, err := c.Read(testContext(t)); err != nil || !strings.Contains(string(b), want) {
				t.Errorf("%s: %s, %v, want %s", name, b, err, want)
			}
		}
		// Another one is refused, and takes nothing away.
		out, err := exec.Command(binary, args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "unix:"+tt.clients+": address already in use") && !strings.Contains(string(out), "unix:"+tt.api+": address already in use") {
			t.Errorf("%s: a second server: %v: %s", name, err, out)
		}
		if resp, err := through(tt.api).Get("http://localhost/readyz"); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: then %v, %v", name, resp, err)
		}
		c.CloseNow()
		s.cmd.Process.Signal(os.Interrupt)
		if code := s.exit(); code != 0 {
			t.Errorf("%s: exit status %d: %s", name, code, s.logs)
		}
		for _, path := range []string{tt.clients, tt.api} {
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("%s: its file is still there: %v", name, err)
			}
		}

		// What a killed process leaves is no obstacle.
		s = start(t, args...)
		s.cmd.Process.Signal(syscall.SIGKILL)
		s.exit()
		if _, err := os.Lstat(tt.clients); err != nil {
			t.Errorf("%s: the test proves nothing: %v", name, err)
		}
		start(t, args...)
		if resp, err := through(tt.api).Get("http://localhost/readyz"); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: after a kill: %v, %v", name, resp, err)
		}
	}
}

// A server that cannot have both of its sockets leaves none behind.
func TestFailedStartLeavesNoSocket(t *testing.T) {
	api := socketPath(t)
	cmd := exec.Command(binary, "-addr", "unix:"+filepath.Dir(api), "-api-addr", "unix:"+api)
	cmd.Env = environ()
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "-addr: ") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Lstat(api); !os.IsNotExist(err) {
		t.Errorf("the API's socket is still there: %v", err)
	}
}

// Clients over TLS, and beside them a plain API where only this machine gets at it.
func TestPlainAPIBesideTLS(t *testing.T) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir, "test")
	args := []string{"-tls-cert", filepath.Join(dir, "cert.pem"), "-tls-key", filepath.Join(dir, "key.pem")}
	for _, tt := range []struct {
		args   []string
		client func(s *server) *http.Client
		want   string
	}{
		{[]string{"-api-addr", "127.0.0.1:0", "-api-tls", "off"}, func(*server) *http.Client { return http.DefaultClient }, " http://127.0.0.1:"},
		{[]string{"-api-addr", "localhost:0", "-api-tls", "off"}, func(*server) *http.Client { return http.DefaultClient }, " http://"},
		{[]string{"-api-addr", "127.0.0.1:0"}, func(*server) *http.Client { return trusting(roots) }, " https://127.0.0.1:"},
		{[]string{"-api-addr", "127.0.0.1:0", "-api-tls", "on"}, func(*server) *http.Client { return trusting(roots) }, " https://127.0.0.1:"},
		{[]string{"-api-addr", "unix:" + socketPath(t)}, func(s *server) *http.Client {
			return through(regexp.MustCompile(`--unix-socket (\S+)`).FindStringSubmatch(s.out[1])[1])
		}, " http://localhost/"},
	} {
		s := start(t, append(tt.args, args...)...)
		if !strings.HasPrefix(s.out[0], "connect: wss://") || !strings.Contains(s.out[1], tt.want) {
			t.Errorf("%v: it says %q, want %s", tt.args, s.out, tt.want)
		}
		c, _, err := websocket.Dial(testContext(t), "wss://"+s.addr+"/ws?system_id=1", &websocket.DialOptions{HTTPClient: trusting(roots)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		url := regexp.MustCompile(`https?://[^/]+/`).FindString(s.out[1])
		resp, err := tt.client(s).Get(url + "clients")
		if err != nil {
			t.Errorf("%v: %v", tt.args, err)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(b), `"total":1`) {
			t.Errorf("%v: %s", tt.args, b)
		}
	}
}

// Only where clients connect is public: there nobody can push, so that no key is asked
// for. A request for the WebSocket at the other port is told where to go.
func TestPublicClientsBesidePrivateAPI(t *testing.T) {
	for _, api := range []string{"127.0.0.1:0", "localhost:0"} {
		s := start(t, "-addr", "0.0.0.0:0", "-api-addr", api)
		c := s.dial("system_id=1")
		if status, body := s.post("/push_to_all", map[string][]string{"data": {"x"}}); status != 200 {
			t.Errorf("%d %s", status, body)
		}
		if _, b, err := c.Read(testContext(t)); err != nil || !strings.Contains(string(b), `"data":"x"`) {
			t.Errorf("%s, %v", b, err)
		}
		for _, path := range []string{"/push_to_all", "/stats", "/"} {
			resp, err := http.PostForm("http://"+s.addr+path, map[string][]string{"data": {"x"}})
			if err != nil || resp.StatusCode != 404 {
				t.Errorf("%s where clients connect: %v, %v", path, resp, err)
			}
		}
		resp, err := http.Get("http://" + s.api + "/ws")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 426 || !strings.Contains(string(b), "other listener") {
			t.Errorf("/ws at the API's port: %d %s", resp.StatusCode, b)
		}
	}
}
