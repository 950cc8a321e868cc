package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// binary is the server, built once; with the race detector if that watches the
// tests.
var (
	binary     string
	buildFlags []string
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "carillon")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "server")
	if out, err := exec.Command("go", append(append([]string{"build"}, buildFlags...), "-o", binary, ".")...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	if len(buildFlags) == 0 { // without the race detector: tests that are parallel wait, and hardly compute
		flag.Set("test.parallel", "8")
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A server is a running process.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string // host:port of the WebSocket listener, unless that is a unix socket
	api  string
	logs *lockedBuffer
	out  []string // the first lines
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// environ is the environment without our own variables.
func environ(more ...string) (env []string) {
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, envPrefix) {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// start runs the server on a free port and waits for its two lines.
func start(t *testing.T, args ...string) *server { return startEnv(t, nil, args...) }

func startEnv(t *testing.T, env []string, args ...string) *server {
	t.Helper()
	s := &server{t: t, logs: new(lockedBuffer)}
	s.cmd = exec.Command(binary, append([]string{"-addr", "127.0.0.1:0", "-drain-delay", "0"}, args...)...)
	s.cmd.Env, s.cmd.Stderr = environ(env...), s.logs
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	for len(s.out) < 2 && lines.Scan() {
		s.out = append(s.out, lines.Text())
	}
	if len(s.out) < 2 {
		t.Fatalf("no two lines on standard output: %q; logs: %s", s.out, s.logs)
	}
	if m := regexp.MustCompile(`wss?://([^/]+)/`).FindStringSubmatch(s.out[0]); m != nil {
		s.addr = m[1]
	}
	s.api = regexp.MustCompile(`https?://([^/]+)/`).FindStringSubmatch(s.out[1])[1]
	return s
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// dial connects and reads the welcome.
func (s *server) dial(query string) *websocket.Conn {
	s.t.Helper()
	c, _, err := websocket.Dial(testContext(s.t), "ws://"+s.addr+"/ws?"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.CloseNow() })
	if _, b, err := c.Read(testContext(s.t)); err != nil || !strings.Contains(string(b), `"code":0,`) {
		s.t.Fatalf("welcome: %s, %v", b, err)
	}
	return c
}

// drain reads until the connection ends.
func drain(ctx context.Context, c *websocket.Conn) (websocket.MessageType, []byte, error) {
	for {
		if typ, b, err := c.Read(ctx); err != nil {
			return typ, b, err
		}
	}
}

func asClose(err error, ce *websocket.CloseError) bool { return errors.As(err, ce) }

func (s *server) post(path string, fields url.Values) (int, string) {
	s.t.Helper()
	resp, err := http.PostForm("http://"+s.api+path, fields)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func (s *server) get(path string) string {
	s.t.Helper()
	resp, err := http.Get("http://" + s.api + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// exit waits for the end of the process and returns its exit status.
func (s *server) exit() int {
	s.t.Helper()
	done := make(chan struct{})
	go func() { s.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		s.t.Fatal("the process does not end")
	}
	return s.cmd.ProcessState.ExitCode()
}

func TestServesAndShutsDown(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		s := start(t)
		c := s.dial("system_id=123")
		// The line that was printed does what it says.
		if want := "push:    curl http://" + s.api + "/push_to_system -d system_id=123 -d data=hello"; s.out[1] != want {
			t.Errorf("printed %q, want %q", s.out[1], want)
		}
		if status, body := s.post("/push_to_system", url.Values{"system_id": {"123"}, "data": {"hello"}}); status != 200 || !strings.Contains(body, `"matched":1`) {
			t.Errorf("push: %d %s", status, body)
		}
		if _, b, err := c.Read(testContext(t)); err != nil || !strings.Contains(string(b), `"data":"hello"`) {
			t.Errorf("got %s, %v", b, err)
		}
		if err := s.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		var ce websocket.CloseError
		if _, _, err := drain(testContext(t), c); !asClose(err, &ce) || ce.Code != 3001 || !strings.Contains(ce.Reason, "reconnect_ms") {
			t.Errorf("the client saw %v, want 3001", err)
		}
		if code := s.exit(); code != 0 {
			t.Errorf("%v: exit status %d", sig, code)
		}
		for line := range strings.Lines(s.logs.String()) {
			if !json.Valid([]byte(line)) {
				t.Errorf("a log line is not JSON: %s", line)
			}
		}
		if !strings.Contains(s.logs.String(), `"max_connections":`) {
			t.Errorf("the logs do not say how many connections are possible: %s", s.logs)
		}
	}
}

// A client that does not answer holds up the shutdown until the timeout, or until
// the second signal.
func TestShutdownEnds(t *testing.T) {
	t.Parallel()
	deaf := func(s *server) {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprint(conn, "GET /ws?system_id=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, "-drain-timeout", "1s", "-close-timeout", "1m")
	deaf(s)
	s.cmd.Process.Signal(syscall.SIGTERM)
	if code := s.exit(); code != 0 {
		t.Errorf("after the drain timeout: exit status %d: %s", code, s.logs)
	}
	s = start(t, "-drain-timeout", "10m", "-close-timeout", "1m")
	deaf(s)
	s.cmd.Process.Signal(syscall.SIGTERM)
	time.Sleep(200 * time.Millisecond)
	s.cmd.Process.Signal(os.Interrupt)
	if code := s.exit(); code != 1 {
		t.Errorf("after the second signal: exit status %d", code)
	}
}

func TestOnMessage(t *testing.T) {
	ctx := testContext(t)
	s := start(t)
	c := s.dial("system_id=1")
	c.Write(ctx, websocket.MessageText, []byte("hi"))
	if _, b, err := c.Read(ctx); err != nil || !strings.Contains(string(b), `"code":10007,"msg":"读取消息体成功","data":"hi","params":null}`) {
		t.Errorf("reply: %s, %v", b, err)
	}
	c.Write(ctx, websocket.MessageBinary, []byte{0, 255})
	if _, b, err := c.Read(ctx); err != nil || !strings.Contains(string(b), `"data":"AP8=","params":{"binary":true}}`) {
		t.Errorf("reply to a binary message: %s, %v", b, err)
	}

	s = start(t, "-on-message", "ignore", "-lang", "en")
	c = s.dial("system_id=1")
	c.Write(ctx, websocket.MessageText, []byte("hi"))
	s.post("/push_to_all", url.Values{"data": {"marker"}})
	if _, b, err := c.Read(ctx); err != nil || !strings.Contains(string(b), `"msg":"message sent","data":"marker"`) {
		t.Errorf("ignore: %s, %v", b, err)
	}

	s = start(t, "-on-message", "echo", "-max-message", "16MiB")
	c, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws?system_id=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for _, want := range [][]byte{{}, []byte("hi"), bytes.Repeat([]byte("x"), 16<<20)} {
		for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
			if err := c.Write(ctx, typ, want); err != nil {
				t.Fatal(err)
			}
			if got, b, err := c.Read(ctx); err != nil || got != typ || !bytes.Equal(b, want) {
				t.Errorf("echo of %d bytes: %v, %d bytes, %v", len(want), got, len(b), err)
			}
		}
	}
}

func TestAPIKeyAndOwnListener(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	os.WriteFile(file, []byte("first-secret\nsecond-secret\n"), 0o600)
	s := start(t, "-api-addr", "127.0.0.1:0", "-api-key-file", file, "-log-level", "debug")
	if s.api == s.addr {
		t.Fatalf("one listener: %s", s.api)
	}
	if status, body := s.post("/push_to_all", url.Values{"data": {"x"}}); status != 401 || !strings.Contains(body, "10014") {
		t.Errorf("without a key: %d %s", status, body)
	}
	req, _ := http.NewRequest("GET", "http://"+s.api+"/stats", nil)
	req.Header.Set("Authorization", "Bearer second-secret")
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != 200 {
		t.Errorf("with a key: %v, %v", resp, err)
	}
	if resp, err := http.Get("http://" + s.addr + "/stats"); err != nil || resp.StatusCode != 404 {
		t.Errorf("the API on the clients' listener: %v, %v", resp, err)
	}
	if strings.Contains(s.logs.String()+strings.Join(s.out, ""), "secret") {
		t.Errorf("a key is in the output: %s", s.logs)
	}
}

func TestEnvironment(t *testing.T) {
	s := startEnv(t, []string{"CARILLON_LANG=en", "CARILLON_PATH=/socket", "CARILLON_LOG_LEVEL=debug", "CARILLON_MAX_QUEU=1KiB"}, "-path", "/ws")
	eventually(t, "a warning of a variable that no flag has", func() bool {
		return strings.Contains(s.logs.String(), `"level":"warn","variable":"CARILLON_MAX_QUEU","nearest":"CARILLON_MAX_QUEUE"`)
	})
	s.dial("system_id=1") // the flag beats the variable
	if _, body := s.post("/push_to_all", url.Values{"data": {"x"}}); !strings.Contains(body, "message sent") {
		t.Errorf("CARILLON_LANG has no effect: %s", body)
	}
}

// Real time, real sockets, and the flags: the client that never answers is closed
// for its heartbeat and is in no list; the one that answers stays.
func TestHeartbeatFlags(t *testing.T) {
	t.Parallel()
	s := start(t, "-ping-interval", "1s", "-pong-timeout", "1s")
	alive := s.dial("system_id=1")
	go drain(testContext(t), alive) // answers pings while it reads
	deaf := s.dial("system_id=1")   // does not read, so does not answer
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(s.get("/stats"), `"heartbeat":1`) {
		if time.Now().After(deadline) {
			t.Fatalf("not closed: %s", s.get("/stats"))
		}
		time.Sleep(100 * time.Millisecond)
	}
	var ce websocket.CloseError
	if _, _, err := drain(testContext(t), deaf); !asClose(err, &ce) || ce.Code != 3000 {
		t.Errorf("it saw %v, want 3000", err)
	}
	time.Sleep(3 * time.Second)
	if got := s.get("/clients?system_id=1"); !strings.Contains(got, `"total":1`) {
		t.Errorf("%s: want the one that answers", got)
	}
}

// Whoever reads the logs goes away; the clients stay.
func TestLogReaderGoesAway(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-addr", "127.0.0.1:0", "-log-level", "debug")
	cmd.Env, cmd.Stderr = environ(), w
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	lines.Scan()
	api := regexp.MustCompile(`https?://([^/]+)/`).FindStringSubmatch(lines.Text())[1]
	w.Close()
	r.Close()
	for range 5 { // each is logged
		resp, err := http.Get("http://" + api + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}
