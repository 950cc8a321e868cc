package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	"carillon/engine"
)

// A server is a real one: an engine and the API on its listener.
type server struct {
	t      *testing.T
	eng    *engine.Engine
	api    *API
	url    string
	log    *lockedBuffer
	client *tls.Config // of a client of the API, nil without TLS
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newServer(t *testing.T, o Options) *server {
	t.Helper()
	return newServerOn(t, o, port{})
}

// A port is how the API is reached.
type port struct {
	own bool // not on the engine's listener
	tls bool
}

var ports = []port{{}, {tls: true}, {own: true}, {own: true, tls: true}}

func newServerOn(t *testing.T, o Options, on port) *server {
	t.Helper()
	s := &server{t: t, log: &lockedBuffer{}}
	eo := engine.Options{Addr: "127.0.0.1:0", ServeHTTP: !on.own, Lang: o.Lang}
	if on.tls {
		eo.TLS, s.client = testTLS(t)
	}
	var err error
	if s.eng, err = engine.New(eo); err != nil {
		t.Fatal(err)
	}
	o.Engine, o.Logger = s.eng, zerolog.New(s.log)
	if s.api, err = New(o); err != nil {
		t.Fatal(err)
	}
	if err := s.eng.Start(); err != nil {
		t.Fatal(err)
	}
	ln := s.eng.HTTP()
	if on.own {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		ln = NewListener(ln, ListenerOptions{TLS: on.tls})
		if on.tls {
			ln = tls.NewListener(ln, eo.TLS)
		}
	}
	srv, served := NewServer(s.api, o.Logger), make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(ln)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.eng.Shutdown(ctx); err != nil && !errors.Is(err, engine.ErrShutdown) {
			t.Errorf("engine.Shutdown: %v", err)
		}
		_ = srv.Close()
		<-served
	})
	s.url = "http://" + ln.Addr().String()
	return s
}

// testTLS returns a server's and a client's configuration.
func testTLS(t *testing.T) (server, client *tls.Config) {
	lender := httptest.NewTLSServer(nil) // of its certificate
	defer lender.Close()
	roots := x509.NewCertPool()
	roots.AddCert(lender.Certificate())
	return &tls.Config{Certificates: lender.TLS.Certificates}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
}

// connect opens a connection to the API.
func (s *server) connect() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if s.client != nil {
		conn = tls.Client(conn, s.client)
	}
	return conn
}

// settled opens a connection to the API that net/http has got. On the event loop, TLS
// has limits of its own for what comes during its handshake: no more than 1 MiB, and
// no FIN.
func (s *server) settled() (net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn := s.connect()
	r := bufio.NewReader(conn)
	if s.client != nil {
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		readAnswer(s.t, r, "GET")
	}
	return conn, r
}

// exchange sends a request and returns all that comes until the connection ends.
func (s *server) exchange(request string) string {
	s.t.Helper()
	conn, r := s.settled()
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatalf("%.60q: %v, behind %.200q", request, err, b)
	}
	return string(b)
}

// readAnswer reads one of several answers.
func readAnswer(t *testing.T, r *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body behind %q: %v", b, err)
	}
	return resp, string(b)
}

// do sends a request and returns the answer with its body read.
func (s *server) do(method, path, contentType, body string, header ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: body: %v", method, path, err)
	}
	return resp, string(got)
}

const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

// An answer has every member of every answer with an object.
type answer struct {
	SystemID  string          `json:"system_id"`
	ClientID  string          `json:"client_id"`
	MessageID string          `json:"message_id"`
	GroupName string          `json:"group_name"`
	Code      engine.Code     `json:"code"`
	Msg       string          `json:"msg"`
	Data      json.RawMessage `json:"data"`
	Report    *struct{ Matched, Written, Queued, Dropped int }
	Added     *bool
	Removed   *bool
	Field     string
	Detail    string
}

// call posts JSON, or a form if the body does not begin with a brace, and
// demands the status.
func (s *server) call(path, body string, status int) answer {
	s.t.Helper()
	contentType := typeJSON
	if !strings.HasPrefix(body, "{") {
		contentType = typeForm
	}
	resp, got := s.do("POST", path, contentType, body)
	if resp.StatusCode != status {
		s.t.Fatalf("POST %s %.200s: %d %s, want %d", path, body, resp.StatusCode, got, status)
	}
	var a answer
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		s.t.Fatalf("POST %s: %v in %s", path, err, got)
	}
	return a
}

// decoded is an answer, of which any member may be missing.
func decoded(t *testing.T, text string) (a answer) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Errorf("%v in %.300s", err, text)
	}
	return a
}

// get demands 200 and decodes the answer into v.
func (s *server) get(path string, v any) {
	s.t.Helper()
	resp, got := s.do("GET", path, "", "")
	if resp.StatusCode != 200 {
		s.t.Fatalf("GET %s: %d %s", path, resp.StatusCode, got)
	}
	if err := json.Unmarshal([]byte(got), v); err != nil {
		s.t.Fatalf("GET %s: %v in %s", path, err, got)
	}
}

// A peer is an open client.
type peer struct {
	t    *testing.T
	conn *websocket.Conn
	id   string
}

// dial connects; query is what follows the question mark.
func (s *server) dial(query string, subprotocols ...string) *peer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+"/ws?"+query,
		&websocket.DialOptions{Subprotocols: subprotocols})
	if err != nil {
		s.t.Fatal(err)
	}
	conn.SetReadLimit(4 << 20)
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	p := &peer{t: s.t, conn: conn}
	if len(subprotocols) == 0 {
		p.id = p.next().ClientID
	}
	return p
}

// read returns the next message.
func (p *peer) read() (websocket.MessageType, string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	kind, b, err := p.conn.Read(ctx)
	if err != nil {
		p.t.Fatalf("client %s: %v", p.id, err)
	}
	return kind, string(b)
}

type delivered struct {
	SystemID  string          `json:"system_id"`
	ClientID  string          `json:"client_id"`
	MessageID string          `json:"message_id"`
	GroupName string          `json:"group_name"`
	Code      engine.Code     `json:"code"`
	Data      json.RawMessage `json:"data"`
	Params    json.RawMessage `json:"params"`
}

// next returns the next message, which must be an envelope.
func (p *peer) next() delivered {
	p.t.Helper()
	_, text := p.read()
	var d delivered
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		p.t.Fatalf("client %s: %v in %s", p.id, err, text)
	}
	return d
}

// silent demands that nothing came before this call: the next message is the
// marker that it pushes.
func (s *server) silent(system string, peers ...*peer) {
	s.t.Helper()
	marker := fmt.Sprintf(`"marker %d"`, time.Now().UnixNano())
	s.call("/push_to_system", fmt.Sprintf(`{"system_id":%q,"data":%s}`, system, marker), 200)
	for _, p := range peers {
		if got := p.next(); string(got.Data) != marker {
			s.t.Errorf("client %s got %s, want nothing", p.id, got.Data)
			p.next()
		}
	}
}

func TestNewChecksItsOptions(t *testing.T) {
	eng, err := engine.New(engine.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"no engine":      {},
		"empty key":      {Engine: eng, APIKeys: []string{"good", ""}},
		"key with space": {Engine: eng, APIKeys: []string{"a b"}},
		"relative path":  {Engine: eng, WebSocketPath: "ws"},
		"taken path":     {Engine: eng, WebSocketPath: "/stats"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "a b") {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
}

func TestRouting(t *testing.T) {
	s := newServer(t, Options{Lang: engine.English})
	tests := []struct {
		method, path string
		status       int
		code         engine.Code
		field, allow string
	}{
		{"GET", "/push_to_client", 405, 10016, "", "POST"},
		{"PUT", "/push_to_all", 405, 10016, "", "POST"},
		{"DELETE", "/close", 405, 10016, "", "POST"},
		{"POST", "/stats", 405, 10016, "", "GET, HEAD"},
		{"OPTIONS", "/clients", 405, 10016, "", "GET, HEAD"},
		{"POST", "/", 405, 10016, "", "GET, HEAD"},
		{"POST", "/ws", 405, 10016, "", "GET"},
		{"GET", "/nothing", 404, 10017, "path", ""},
		{"POST", "/push_to_client/", 404, 10017, "path", ""},
		{"POST", "//push_to_client", 404, 10017, "path", ""},
		{"GET", "/clients?limit=%zz", 400, 10017, "limit", ""},
	}
	for _, tt := range tests {
		resp, body := s.do(tt.method, tt.path, "", "")
		var got answer
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%s %s: %v in %s", tt.method, tt.path, err, body)
			continue
		}
		if resp.StatusCode != tt.status || got.Code != tt.code || got.Field != tt.field ||
			resp.Header.Get("Allow") != tt.allow || got.Msg != tt.code.Text(engine.English) || got.Detail == "" {
			t.Errorf("%s %s: %d %s, Allow %q, want %+v", tt.method, tt.path, resp.StatusCode, body, resp.Header.Get("Allow"), tt)
		}
		if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s %s: Content-Type %q", tt.method, tt.path, ct)
		}
	}
}

func TestHead(t *testing.T) {
	s := newServer(t, Options{})
	for _, path := range []string{"/", "/healthz", "/readyz", "/stats", "/clients"} {
		resp, body := s.do("HEAD", path, "", "")
		if resp.StatusCode != 200 || body != "" || resp.ContentLength <= 0 {
			t.Errorf("HEAD %s: %d, %d bytes, Content-Length %d", path, resp.StatusCode, len(body), resp.ContentLength)
		}
	}
}

func TestAPIKey(t *testing.T) {
	s := newServer(t, Options{APIKeys: []string{"first-key", "second-key"}})
	one := s.dial("system_id=1")
	push := url.Values{"system_id": {"1"}, "client_id": {one.id}, "data": {"x"}}.Encode()
	tests := []struct {
		method, path, auth string
		status             int
	}{
		{"GET", "/healthz", "", 200},
		{"HEAD", "/readyz", "", 200},
		{"GET", "/", "", 200},
		{"POST", "/", "", 401},
		{"GET", "/stats", "", 401},
		{"GET", "/nothing", "", 401},
		{"POST", "/push_to_client", "", 401},
		{"POST", "/push_to_client", "first-key", 401},
		{"POST", "/push_to_client", "Basic first-key", 401},
		{"POST", "/push_to_client", "Bearer ", 401},
		{"POST", "/push_to_client", "Bearer first-ke", 401},
		{"POST", "/push_to_client", "Bearer first-keyy", 401},
		{"POST", "/push_to_client", "Bearer first-key second-key", 401},
		{"GET", "/stats", "Bearer first-key", 200},
		{"GET", "/stats", "bearer second-key", 200},
	}
	for _, tt := range tests {
		var header []string
		if tt.auth != "" {
			header = []string{"Authorization", tt.auth}
		}
		resp, body := s.do(tt.method, tt.path, typeForm, push, header...)
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s with %q: %d %s, want %d", tt.method, tt.path, tt.auth, resp.StatusCode, body, tt.status)
		}
		if tt.status == 401 && (!strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") || !strings.Contains(body, `"code":10014`)) {
			t.Errorf("%s %s with %q: %v %s", tt.method, tt.path, tt.auth, resp.Header, body)
		}
	}
	// Nothing but the push that bears a key arrived.
	resp, body := s.do("POST", "/push_to_client", typeForm, strings.Replace(push, "data=x", "data=marker", 1), "Authorization", "Bearer second-key")
	if resp.StatusCode != 200 {
		t.Fatalf("push with a key: %d %s", resp.StatusCode, body)
	}
	if got := one.next(); string(got.Data) != `"marker"` {
		t.Errorf("received %s, want the marker", got.Data)
	}
	if logs := s.log.String(); strings.Contains(logs, "key") {
		t.Errorf("the log tells of keys: %s", logs)
	}
}

// Handlers answer from an API without an engine by panicking, as a defect would.
func TestPanicIsAnsweredAndLogged(t *testing.T) {
	var logs bytes.Buffer
	a := &API{log: zerolog.New(&logs), timeout: time.Second}
	rec := httptest.NewRecorder()
	a.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/stats", nil))
	if got := rec.Body.String(); rec.Code != 500 || !strings.Contains(got, `"code":10015`) || strings.Contains(got, "nil pointer") {
		t.Errorf("answer: %d %s", rec.Code, got)
	}
	if got := logs.String(); !strings.Contains(got, "nil pointer") || !strings.Contains(got, "stats") || !strings.Contains(got, "stack") {
		t.Errorf("log: %s", got)
	}
}

func TestAccessLogIsForDebugging(t *testing.T) {
	s := newServer(t, Options{})
	s.do("GET", "/clients?system_id=secret", "", "")
	var line struct {
		Level, Method, Path string
		Status              int
	}
	deadline := time.Now().Add(5 * time.Second)
	for s.log.String() == "" && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // it is written after the answer
	}
	if err := json.Unmarshal([]byte(s.log.String()), &line); err != nil {
		t.Fatalf("%v in %q", err, s.log.String())
	}
	if line.Level != "debug" || line.Method != "GET" || line.Path != "/clients" || line.Status != 200 {
		t.Errorf("log line %+v", line)
	}
}

func TestNewServerLogsWarnings(t *testing.T) {
	var logs bytes.Buffer
	srv := NewServer(http.NotFoundHandler(), zerolog.New(&logs))
	srv.ErrorLog.Print("something odd")
	if got, want := logs.String(), `{"level":"warn","error":"something odd","message":"http server"}`+"\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	if srv.ReadHeaderTimeout == 0 || srv.ReadTimeout == 0 || srv.IdleTimeout == 0 || srv.WriteTimeout <= pushTimeout || srv.MaxHeaderBytes == 0 {
		t.Errorf("a limit is missing: %+v", srv)
	}
}
