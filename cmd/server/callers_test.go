package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Callers that we did not write, as backends have them.

// bothPorts runs a test with the API on the clients' port, and on its own.
func bothPorts(t *testing.T, test func(t *testing.T, args ...string)) {
	t.Run("one port", func(t *testing.T) { test(t) })
	t.Run("two ports", func(t *testing.T) { test(t, "-api-addr", "127.0.0.1:0") })
}

// netcat is the one whose -N sends FIN behind its input.
func netcat(t *testing.T) string {
	t.Helper()
	nc := needs(t, "nc")
	help, _ := exec.Command(nc, "-h").CombinedOutput()
	if !bytes.Contains(help, []byte("OpenBSD")) {
		if os.Getenv(requireTools) != "" {
			t.Fatalf("nc is not OpenBSD's, and %s is set", requireTools)
		}
		t.Skip("nc is not OpenBSD's: the test needs its -N")
	}
	return nc
}

// Every push that a half-closing caller makes is made, and answered.
func TestNetcatHalfCloses(t *testing.T) {
	t.Parallel()
	nc := netcat(t)
	bothPorts(t, func(t *testing.T, args ...string) {
		s := start(t, args...)
		c := s.dial("system_id=1")
		host, port, _ := net.SplitHostPort(s.api)
		const pushes = 300
		for i := range pushes {
			body := fmt.Sprintf("system_id=1&data=push+%d", i)
			cmd := exec.Command(nc, "-N", host, port)
			cmd.Stdin = strings.NewReader(fmt.Sprintf("POST /push_to_system HTTP/1.1\r\nHost: %s\r\n"+
				"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", s.api, len(body), body))
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), "HTTP/1.1 200") || !strings.Contains(string(out), `"written":1`) {
				t.Fatalf("push %d: %q, %v", i, out, err)
			}
			if _, b, err := c.Read(testContext(t)); err != nil || !strings.Contains(string(b), fmt.Sprintf(`"push %d"`, i)) {
				t.Fatalf("push %d: delivered %s, %v", i, b, err)
			}
		}
	})
}

const urllib = `
import sys, urllib.request, urllib.error
api, size = sys.argv[1], int(sys.argv[2])
form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Bearer k"}
cases = {
    401: ("/push_to_all", {**form, "Authorization": "Bearer wrong"}, "POST"),
    403: ("/push_to_all", {**form, "Origin": "https://evil.example"}, "POST"),
    404: ("/nothing", form, "POST"),
    405: ("/push_to_all", form, "PUT"),
    413: ("/push_to_all", form, "POST"),
    415: ("/push_to_all", {**form, "Content-Type": "text/plain"}, "POST"),
}
for want, (path, header, method) in cases.items():
    for chunked in False, True:
        for _ in range(10):
            data = b"data=" + b"x" * size
            body = (data[i:i+65536] for i in range(0, len(data), 65536)) if chunked else data
            try:
                urllib.request.urlopen(urllib.request.Request(api + path, body, header, method=method))
                got = 200
            except urllib.error.HTTPError as e:
                got = e.code if b'"code"' in e.read() else "no body"
            except Exception as e:
                got = repr(e)
            if got != want:
                print(want, "chunked" if chunked else "", got)
`

// Python sends the whole body before it looks for the answer.
func TestPythonSeesEarlyAnswers(t *testing.T) {
	t.Parallel()
	python := needs(t, "python3")
	bothPorts(t, func(t *testing.T, args ...string) {
		s := start(t, append(args, "-api-key", "k")...)
		sizes := []int{1<<20 + 1, 3 << 20}
		if full() {
			sizes = append(sizes, 20<<20)
		}
		for _, size := range sizes {
			out, err := exec.Command(python, "-c", urllib, "http://"+s.api, strconv.Itoa(size)).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%d bytes: %v: %s", size, err, out)
			}
		}
	})
}

// curl asks first (Expect: 100-continue), and is not told to send what is refused.
func TestCurlIsNotAskedForRefusedBodies(t *testing.T) {
	curl := needs(t, "curl")
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	bothPorts(t, func(t *testing.T, args ...string) {
		s := start(t, args...)
		for _, path := range []string{"/push_to_all", "/nothing"} {
			started := time.Now()
			out, err := exec.Command(curl, "-sS", "-o", os.DevNull, "-w", "%{http_code} %{size_upload}", "-H", "Expect: 100-continue",
				"--data-binary", "@"+file, "http://"+s.api+path).CombinedOutput()
			want := map[string]string{"/push_to_all": "413 0", "/nothing": "404 0"}[path]
			if err != nil || string(out) != want {
				t.Errorf("%s: %q, %v, want %q", path, out, err, want)
			}
			if took := time.Since(started); took > 900*time.Millisecond { // curl's patience is a second
				t.Errorf("%s took %v", path, took)
			}
		}
	})
}

// behindProxy starts a proxy of the command's on a free port. The command gets the port
// and a directory to write to.
func behindProxy(t *testing.T, command func(dir, addr string) *exec.Cmd) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	ln.Close()
	logs := new(lockedBuffer)
	cmd := command(t.TempDir(), addr)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it may be several processes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return addr
		}
		if time.Now().After(end) {
			t.Fatalf("%v does not start: %s", cmd.Args, logs)
		}
	}
}

// write writes a file of a test and returns its name.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// nginx starts it in front of the server, with settings of its location.
func (s *server) nginx(t *testing.T, settings string) (addr string) {
	nginx := needs(t, "nginx")
	return behindProxy(t, func(dir, addr string) *exec.Cmd {
		return exec.Command(nginx, "-p", dir, "-e", "stderr", "-c", write(t, dir, "nginx.conf", fmt.Sprintf(`
daemon off; master_process off; error_log stderr; pid %[1]s/pid;
events {}
http {
	access_log off; client_max_body_size 0;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	upstream carillon { server %[2]s; server %[2]s; keepalive 4; }
	map $http_upgrade $upgrading { default upgrade; "" ""; }
	server {
		listen %[3]s;
		location / { proxy_pass http://carillon; proxy_http_version 1.1; %[4]s }
	}
}`, dir, s.api, addr, settings)))
	})
}

func (s *server) haproxy(t *testing.T, settings string) (addr string) {
	haproxy := needs(t, "haproxy")
	return behindProxy(t, func(dir, addr string) *exec.Cmd {
		return exec.Command(haproxy, "-db", "-f", write(t, dir, "haproxy.cfg", fmt.Sprintf(`
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
listen carillon
	bind %s
	%s
	server one %s
`, addr, settings, s.api)))
	})
}

// A proxy passes the answer to too long a body on, and does not take the server for
// broken: the next call goes through.
func TestProxiesPassEarlyAnswersOn(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, s *server) string{
		"nginx":             func(t *testing.T, s *server) string { return s.nginx(t, "") }, // asks for "Connection: close"
		"nginx, persistent": func(t *testing.T, s *server) string { return s.nginx(t, `proxy_set_header Connection "";`) },
		"nginx, unbuffered": func(t *testing.T, s *server) string {
			return s.nginx(t, `proxy_request_buffering off;`)
		},
		"haproxy": func(t *testing.T, s *server) string { return s.haproxy(t, "") },
	}
	for name, proxy := range tests {
		t.Run(name, func(t *testing.T) {
			bothPorts(t, func(t *testing.T, args ...string) {
				s := start(t, append(args, "-api-key", "k")...)
				addr := proxy(t, s)
				call := func(method, path, contentType, key string, size int) int {
					req, _ := http.NewRequest(method, "http://"+addr+path, strings.NewReader("data="+strings.Repeat("x", size)))
					req.Header.Set("Content-Type", contentType)
					req.Header.Set("Authorization", "Bearer "+key)
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Errorf("%s %s: %v", method, path, err)
						return 0
					}
					resp.Body.Close()
					return resp.StatusCode
				}
				const form = "application/x-www-form-urlencoded"
				var callers sync.WaitGroup
				sizes := []int{1 << 20, 3 << 20}
				if full() {
					sizes = append(sizes, 12<<20)
				}
				for range 4 {
					callers.Go(func() {
						for _, tt := range []struct {
							method, path, contentType, key string
							want                           int
						}{
							{"POST", "/push_to_all", form, "wrong", 401},
							{"POST", "/nothing", form, "k", 404},
							{"PUT", "/push_to_all", form, "k", 405},
							{"POST", "/push_to_all", form, "k", 413},
							{"POST", "/push_to_all", "text/plain", "k", 415},
						} {
							for _, size := range sizes {
								if got := call(tt.method, tt.path, tt.contentType, tt.key, size); got != tt.want {
									t.Errorf("%d bytes: %d, want %d", size, got, tt.want)
								}
								if got := call("POST", "/push_to_all", form, "k", 1); got != 200 {
									t.Errorf("a push after %d: %d, want 200", tt.want, got)
								}
							}
						}
					})
				}
				callers.Wait()
			})
		})
	}
}

// What a visitor's browser sends through a proxy on the same machine is judged as what
// it is, however little the proxy tells.
func TestOriginsThroughProxies(t *testing.T) {
	const upgrade = `proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; `
	tests := []struct {
		name, settings string
		args           []string
		// of pages of the site itself, another site, and the visitor's own machine
		site, evil, local int
	}{
		{"nginx as it is", upgrade, []string{"-api-key", "k"}, 403, 403, 403},
		{"nginx as it is, allowed", upgrade, []string{"-allow-origin", "https://shop.example"}, 101, 403, 403},
		{"nginx, Host", upgrade + `proxy_set_header Host $host;`, []string{"-api-key", "k"}, 101, 403, 403},
		{"nginx, Host, named", upgrade + `proxy_set_header Host $host;`, []string{"-allow-host", "shop.example"}, 101, 403, 403},
		{"nginx, address", upgrade + `proxy_set_header Host 127.0.0.1:9991; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;`,
			nil, 403, 403, 403},
	}
	for _, tt := range tests {
		s := start(t, tt.args...)
		addr := s.nginx(t, tt.settings)
		for origin, want := range map[string]int{
			"https://shop.example": tt.site, "https://evil.example": tt.evil, "null": 403, "http://localhost:3000": tt.local,
		} {
			if got := handshake(t, addr, "shop.example", origin, http.Header{"Cookie": {"session=1"}}); got != want {
				t.Errorf("%s: page of %s: %d, want %d", tt.name, origin, got, want)
			}
		}
	}
	s := start(t, "-api-key", "k")
	addr := s.haproxy(t, "option forwardfor")
	for origin, want := range map[string]int{"https://shop.example": 101, "https://evil.example": 403, "http://localhost:3000": 403} {
		if got := handshake(t, addr, "shop.example", origin, nil); got != want {
			t.Errorf("haproxy: page of %s: %d, want %d", origin, got, want)
		}
	}
}

// Connections to the API that do nothing take neither the clients' descriptors nor the
// API from others.
func TestIdleAPIConnections(t *testing.T) {
	s := start(t, "-api-addr", "127.0.0.1:0")
	for range 3000 {
		conn, err := net.Dial("tcp", s.api)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	time.Sleep(200 * time.Millisecond) // the last of them are no newcomers any more
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err == nil && len(open) > 1200 {
		t.Errorf("the server has %d descriptors open, want some 1,100 at most", len(open))
	}
	for range 20 {
		s.dial("system_id=1")
		resp, err := http.Post("http://"+s.api+"/push_to_system", "application/x-www-form-urlencoded", strings.NewReader("system_id=1&data=x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("push: %d, want 200", resp.StatusCode)
		}
		http.DefaultClient.CloseIdleConnections()
	}
}
