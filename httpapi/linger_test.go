package httpapi

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"carillon/engine"
)

// send is a client that sends its whole request before it reads, as most do. An error
// says that it could not.
func (s *server) send(head string, size int, chunked bool) (status int, a answer, err error) {
	conn, r := s.settled()
	defer conn.Close()
	framing := fmt.Sprintf("Content-Length: %d\r\n\r\n", size)
	if chunked {
		framing = "Transfer-Encoding: chunked\r\n\r\n"
	}
	if _, err = io.WriteString(conn, head+framing); err != nil {
		return
	}
	piece := strings.Repeat("x", 64<<10)
	for sent := 0; sent < size; sent += len(piece) {
		b := piece
		if chunked {
			b = fmt.Sprintf("%x\r\n%s\r\n", len(b), b)
		}
		if _, err = io.WriteString(conn, b); err != nil {
			return
		}
	}
	if chunked {
		if _, err = io.WriteString(conn, "0\r\n\r\n"); err != nil {
			return
		}
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return
	}
	if err = json.Unmarshal(b, &a); err != nil {
		return
	}
	// And then the end, in time and without a reset.
	start := time.Now()
	if _, err = io.ReadAll(r); err == nil && time.Since(start) > time.Second {
		err = fmt.Errorf("the end came %v after the answer", time.Since(start))
	}
	if err == nil && (!resp.Close || resp.Header.Get("Date") == "") {
		err = fmt.Errorf("Connection: close is missing, or Date: %v", resp.Header)
	}
	return resp.StatusCode, a, err
}

// Whatever the answer and however long the body that it does not wait for, the answer
// arrives, and then the connection ends; on each kind of port.
func TestEarlyAnswersArrive(t *testing.T) {
	const form, auth = "Content-Type: " + typeForm + "\r\n", "Authorization: Bearer k\r\n"
	tests := []struct {
		line, header string
		status       int
		code         engine.Code
	}{
		{"POST /push_to_all", form, 401, 10014},
		{"POST /push_to_all", form + "Authorization: Bearer wrong\r\n", 401, 10014},
		{"POST /push_to_all", form + auth + "Origin: https://evil.example\r\n", 403, 10014},
		{"POST /nothing", form + auth, 404, 10017},
		{"PUT /push_to_all", form + auth, 405, 10016},
		{"BREW /push_to_all", form + auth, 405, 10016},
		{"OPTIONS /push_to_all", form + auth, 405, 10016},
		{"OPTIONS *", form + auth, 404, 10017},
		{"OPTIONS *", form, 401, 10014},
		{"POST /stats", form + auth, 405, 10016},
		{"POST /push_to_all", form + auth, 413, 10017},
		{"POST /push_to_all", auth, 415, 10017},
		{"POST /push_to_all", form + auth + "Content-Encoding: gzip\r\n", 415, 10017},
		{"POST /push_to_all", auth + "Content-Type: multipart/form-data\r\n", 400, 10017},
		{"GET /clients?limit=0", auth, 400, 10017},
		{"GET /client?client_id=" + noID, auth, 400, 10017},
		{"GET /stats", auth, 200, 0},
		{"GET /healthz", "", 200, 0},
		{"PATCH /", "", 401, 10014},
	}
	sizes := []int{2 << 20}
	if full() {
		sizes = append(sizes, 12<<20)
	}
	for _, on := range ports {
		s := newServerOn(t, Options{APIKeys: []string{"k"}}, on)
		for _, tt := range tests {
			for _, chunked := range []bool{false, true} {
				for _, size := range sizes {
					status, a, err := s.send(tt.line+" HTTP/1.1\r\nHost: x\r\n"+tt.header, size, chunked)
					if err != nil || status != tt.status || a.Code != tt.code {
						t.Errorf("%+v: %s, %d bytes, chunked %v: %d %+v, %v, want %d with code %d", on, tt.line, size, chunked, status, a, err, tt.status, tt.code)
					}
				}
			}
		}
	}
}

// The WebSocket's path, behind another request on the connection.
func TestEarlyAnswerForWebSocketPath(t *testing.T) {
	s := newServer(t, Options{})
	first := "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	for method, want := range map[string]string{"POST": "HTTP/1.1 405", "GET": "HTTP/1.1 400"} {
		body := strings.Repeat("x", 4<<20)
		got := s.exchange(fmt.Sprintf("%s%s /ws HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", first, method, len(body), body))
		if !strings.Contains(got, want) || !strings.Contains(got, "Connection: close\r\n") {
			t.Errorf("%s: %q, want %s", method, got, want)
		}
	}
}

// Who has no key keeps no connection, with the requests that it sent ahead; who has one
// does, also when the answer is an error.
func TestStrangersKeepNoConnection(t *testing.T) {
	for _, on := range ports {
		s := newServerOn(t, Options{APIKeys: []string{"k"}}, on)
		for _, auth := range []string{"", "Authorization: Bearer wrong\r\n", "Authorization: Basic k\r\n"} {
			req := "GET /stats HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n"
			got := s.exchange(strings.Repeat(req, 3000))
			if !strings.HasPrefix(got, "HTTP/1.1 401") || strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") {
				t.Errorf("%+v, %q: %q, want one 401 that closes", on, auth, got)
			}
		}
		conn := s.connect()
		r := bufio.NewReader(conn)
		for _, path := range []string{"/stats", "/nothing", "/client", "/push_to_all", "/stats"} {
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n", path)
			if resp, _ := readAnswer(t, r, "GET"); resp.Close {
				t.Errorf("%+v: GET %s with a key closes the connection", on, path)
			}
		}
		for _, body := range []string{"data=1", "", "data=1&report=some"} { // read to their ends
			fmt.Fprintf(conn, "POST /push_to_all HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", typeForm, len(body), body)
			if resp, _ := readAnswer(t, r, "POST"); resp.Close {
				t.Errorf("%+v: %q with a key closes the connection", on, body)
			}
		}
	}
}

// Who asks first is told not to send; who is told nothing but the answer need not wait
// for the end. A body that is wanted is asked for.
func TestExpectContinue(t *testing.T) {
	for _, on := range ports {
		s := newServerOn(t, Options{}, on)
		head := "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + typeForm + "\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
		for path, size := range map[string]int{"/push_to_all": 4 << 20, "/nothing": 10, "/stats": 10} {
			start := time.Now()
			got := s.exchange(fmt.Sprintf(head, path, size))
			if !strings.HasPrefix(got, "HTTP/1.1 4") || strings.Contains(got, " 100 ") {
				t.Errorf("%+v: %s: %q, want an error and no 100", on, path, got)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("%+v: %s: the end came after %v", on, path, took)
			}
			// Impatient ones send anyway.
			body := strings.Repeat("x", size)
			if got := s.exchange(fmt.Sprintf(head, path, size) + body); !strings.HasPrefix(got, "HTTP/1.1 4") {
				t.Errorf("%+v: %s, sent at once: %q", on, path, got)
			}
		}
		conn := s.connect()
		fmt.Fprintf(conn, head, "/push_to_all", 6)
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
			t.Errorf("%+v: %q, %v, want 100", on, line, err)
		}
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(conn, "data=1")
		if resp, body := readAnswer(t, r, "POST"); resp.StatusCode != 200 || resp.Close {
			t.Errorf("%+v: %d %s", on, resp.StatusCode, body)
		}
	}
}

// A refused caller that goes on is cut off, by bytes or by time.
func TestLingeringEnds(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{APIKeys: []string{"k"}})
	const head = "POST /push_to_all HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n"
	conn := s.connect()
	_, _ = io.WriteString(conn, head)
	piece, sent := make([]byte, 256<<10), 0
	for sent < 4*lingerBytes {
		n, err := conn.Write(piece)
		if sent += n; err != nil {
			break
		}
	}
	if sent < lingerBytes || sent > 2*lingerBytes {
		t.Errorf("cut off after %d bytes, want some more than %d", sent, lingerBytes)
	}

	if !full() {
		return // the rest takes lingerTime
	}
	silent := s.connect()
	start := time.Now()
	_, _ = io.WriteString(silent, head)
	if _, err := io.ReadAll(silent); err != nil {
		t.Error(err)
	}
	for {
		if _, err := silent.Write(piece[:1]); err != nil {
			break
		}
		time.Sleep(500 * time.Millisecond) // within lingerIdle
	}
	if took := time.Since(start); took < lingerTime-2*time.Second || took > lingerTime+5*time.Second {
		t.Errorf("cut off after %v, want some %v", took, lingerTime)
	}
}

// A caller that sends FIN behind its request is served as any other: what it asks for
// is done, and it gets the answer.
func TestHalfClosingCallers(t *testing.T) {
	for _, on := range ports {
		s := newServerOn(t, Options{}, on)
		p := (&server{t: t, eng: s.eng, url: "http://" + s.eng.Addr().String(), client: s.client}).client1()
		calls := []struct{ line, body, want string }{
			{"POST /push_to_client", "system_id=1&client_id=" + p + "&data=x", `"code":10009`},
			{"POST /push_to_clients", `system_id=1&client_ids=["` + p + `"]&data=x`, `"code":10009`},
			{"POST /push_to_group", "system_id=1&group_name=g&data=x", `"written":1`},
			{"POST /push_to_system", "system_id=1&data=x", `"written":1`},
			{"POST /push_to_all", "data=x", `"written":1`},
			{"POST /push_to_all", "data=x&report=none", `"code":10009`},
			{"POST /push_to_group", "system_id=1&group_name=g&data=x&report=none", `"code":10009`},
			{"POST /bind_to_group", "system_id=1&client_id=" + p + "&group_name=h&notify=true", `"added":`},
			{"POST /unbind_from_group", "system_id=1&client_id=" + p + "&group_name=h", `"removed":`},
			{"POST /close_client", "system_id=1&client_id=" + noID, `"code":10004`},
			{"GET /clients", "", `"total":1`},
			{"GET /client?client_id=" + p, "", `"system_id":"1"`},
			{"GET /stats", "", `"connections":1`},
			{"GET /healthz", "", `"ok"`},
			{"POST /push_to_all", "", `"field":"data"`},
			{"GET /nothing", "", `"code":10017`},
		}
		rounds := 4
		if full() {
			rounds = 40
		}
		for range rounds {
			for _, c := range calls {
				conn, r := s.settled()
				_, _ = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", c.line, typeForm, len(c.body), c.body)
				closeWrite(conn)
				b, err := io.ReadAll(r)
				conn.Close()
				if err != nil || !strings.Contains(string(b), c.want) {
					t.Fatalf("%+v: %s: %q, %v, want %s", on, c.line, b, err, c.want)
				}
			}
		}
	}
}

// client1 connects a client of system 1 and group g that reads and forgets, and
// returns its id.
func (s *server) client1() string {
	s.t.Helper()
	conn := s.connect()
	_ = conn.SetDeadline(time.Time{})
	_, _ = io.WriteString(conn, "GET /ws?system_id=1&group_name=g HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(conn)
	welcome, err := r.ReadString('}')
	_, id, ok := strings.Cut(welcome, `"client_id":"`)
	if err != nil || !ok {
		s.t.Fatalf("%q, %v, want a welcome", welcome, err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	id, _, _ = strings.Cut(id, `"`)
	return id
}

// What a caller without patience asked for is done although nobody reads the answer.
func TestCallersThatAreGone(t *testing.T) {
	s := newServer(t, Options{})
	p := s.dial("system_id=1")
	const rounds = 100
	for range rounds {
		conn := s.connect()
		_, _ = fmt.Fprintf(conn, "POST /push_to_all HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 6\r\n\r\ndata=x", typeForm)
		conn.Close()
	}
	for range rounds {
		if got := p.next(); string(got.Data) != `"x"` {
			t.Fatalf("received %s", got.Data)
		}
	}
}

// closeWrite ends both of the layers that a TLS connection has.
func TestCloseWriteOfTLS(t *testing.T) {
	server, client := testTLS(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	bound := tls.NewListener(NewListener(ln, ListenerOptions{TLS: true}), server)
	go func() {
		conn, err := bound.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.(*tls.Conn).Handshake()
		closeWrite(conn)
		_, _ = io.Copy(io.Discard, conn)
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, client)
	if _, err := io.ReadAll(conn); err != nil { // close_notify
		t.Error(err)
	}
	if n, err := raw.Read(make([]byte, 1)); n != 0 || err != io.EOF { // FIN
		t.Errorf("behind close_notify: %d bytes, %v, want EOF", n, err)
	}
}
