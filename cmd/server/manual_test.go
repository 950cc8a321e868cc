package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// manual returns the blocks of this directory's README that are marked as kind.
func manual(t *testing.T, kind string) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	marked := regexp.MustCompile("(?s)<!-- manual: ([a-z ]+) -->\n```\\w+\n(.*?)```")
	for _, m := range marked.FindAllStringSubmatch(string(b), -1) {
		if m[1] == kind {
			blocks = append(blocks, m[2])
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("no block is marked %q", kind)
	}
	return blocks
}

// A place is where a test puts what the manual has in /run and /etc.
type place struct {
	*strings.Replacer
	dir   string
	roots *x509.CertPool
}

// newPlace has keys, with the key "k" in them, and certificates.
func newPlace(t *testing.T) place {
	t.Helper()
	dir := filepath.Dir(socketPath(t))
	p := place{dir: dir, roots: writeCertificate(t, dir, "push.example.com")}
	write(t, dir, "keys", "# the manual's\nk\n")
	cert, _ := os.ReadFile(dir + "/cert.pem")
	key, _ := os.ReadFile(dir + "/key.pem")
	write(t, dir, "both.pem", string(cert)+string(key))
	p.Replacer = strings.NewReplacer(
		"/run/carillon/", dir+"/", "/etc/carillon/", dir+"/", "/etc/haproxy/push.example.com.pem", dir+"/both.pem",
		"/etc/ssl/push.example.com.pem", dir+"/cert.pem", "/etc/ssl/push.example.com.key", dir+"/key.pem",
		"0.0.0.0:9991", "127.0.0.1:0", "127.0.0.1:9991", "127.0.0.1:0", "127.0.0.1:9992", "127.0.0.1:0",
	)
	return p
}

// run starts a server with the flags of a line of the manual.
func (p place) run(t *testing.T, line string) *server {
	t.Helper()
	words := strings.Fields(p.Replace(line))
	if words[0] != "carillon" && !strings.HasSuffix(words[0], "/carillon") {
		t.Fatalf("%s: no command line of the server's", line)
	}
	return start(t, words[1:]...)
}

// Every command line of the server's serves.
func TestManualCommands(t *testing.T) {
	needs(t, "curl")
	for _, block := range manual(t, "run") {
		p := newPlace(t)
		s := p.run(t, strings.Split(block, "\n")[0])
		for _, line := range strings.Split(strings.TrimSpace(block), "\n")[1:] {
			if out, err := exec.Command("sh", "-c", p.Replace(line)).Output(); err != nil || !strings.Contains(string(out), `"code":10009`) {
				t.Errorf("%s: %s, %v", line, out, err)
			}
		}
		s.cmd.Process.Signal(os.Interrupt)
		if code := s.exit(); code != 0 {
			t.Errorf("%s: exit status %d: %s", block, code, s.logs)
		}
	}
}

// The lines that build it are those of -h; TestVersion runs them.
func TestManualBuild(t *testing.T) {
	line, _, _ := strings.Cut(manual(t, "build")[0], "\n")
	if help := output(t, binary, "-h"); !strings.Contains(help, line) {
		t.Errorf("-h does not have %s", line)
	}
}

// A key is changed, and at no moment does no key work.
func TestManualRotation(t *testing.T) {
	p := newPlace(t)
	write(t, p.dir, "keys", "old\n")
	s := start(t, "-api-key-file", p.dir+"/keys")
	add, remove, ok := strings.Cut(manual(t, "rotate")[0], "\n# …")
	if !ok {
		t.Fatal("the callers do not change")
	}
	do := func(script string) {
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir, cmd.Env = p.dir, append(os.Environ(), fmt.Sprint("PID=", s.cmd.Process.Pid))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	do(add)
	keys, _ := os.ReadFile(p.dir + "/keys")
	added := strings.Fields(string(keys))[1]
	eventually(t, "the new key works", func() bool { return s.status(added) == 200 })
	if got := s.status("old"); got != 200 {
		t.Errorf("the old key: %d", got)
	}
	do("#" + remove)
	eventually(t, "the old key does not work", func() bool { return s.status("old") == 401 })
	if got := s.status(added); got != 200 {
		t.Errorf("the new key: %d", got)
	}
}

// at returns an HTTP client that calls, as push.example.com would be, the port of addr,
// from an address that is no proxy's.
func (p place) at(addr string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		},
		TLSClientConfig: &tls.Config{RootCAs: p.roots, ServerName: "127.0.0.1"},
	}}
}

// connects opens a WebSocket through the proxy, as a page of the site does, and looks
// whether the server knows whose it is. The caller asks the API at url.
func (p place) connects(t *testing.T, name string, client, api *http.Client, url string) {
	t.Helper()
	c, _, err := websocket.Dial(testContext(t), "wss://push.example.com/ws?system_id=1", &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: http.Header{"Origin": {"https://push.example.com"}},
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer c.CloseNow()
	_, b, err := c.Read(testContext(t))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	id := regexp.MustCompile(`"client_id":"(\d+)"`).FindStringSubmatch(string(b))[1]
	req, _ := http.NewRequest("GET", url+"/client?client_id="+id, nil)
	req.Header.Set("Authorization", "Bearer k")
	resp, err := api.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); !strings.Contains(string(b), `"remote_addr":"127.0.0.9:`) {
		t.Errorf("%s: the client is %s, want that of 127.0.0.9", name, b)
	}
}

func TestManualNginx(t *testing.T) {
	nginx := needs(t, "nginx")
	p := newPlace(t)
	s := p.run(t, manual(t, "run nginx")[0])
	addr := behindProxy(t, func(dir, addr string) *exec.Cmd {
		sites := strings.Replace(p.Replace(manual(t, "nginx")[0]), "listen 443 ssl", "listen "+addr+" ssl", 1)
		return exec.Command(nginx, "-p", dir, "-e", "stderr", "-c", write(t, dir, "nginx.conf", fmt.Sprintf(`
daemon off; master_process off; error_log stderr; pid %[1]s/pid;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	%[2]s
}`, dir, sites)))
	})
	client := p.at(addr)
	p.connects(t, "nginx", client, client, "https://push.example.com")
	// Whose key is wrong is known, too.
	resp, err := client.Get("https://push.example.com/stats")
	if err != nil || resp.StatusCode != 401 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	eventually(t, "the log says who called without a key", func() bool {
		return strings.Contains(s.logs.String(), `"level":"warn","remote":"127.0.0.9"`)
	})
}

func TestManualHAProxy(t *testing.T) {
	haproxy := needs(t, "haproxy")
	p := newPlace(t)
	s := p.run(t, manual(t, "run haproxy")[0])
	_, apiPort, _ := net.SplitHostPort(s.api)
	config := strings.NewReplacer("127.0.0.1:9991", s.addr, "port 9992", "port "+apiPort, "/etc/haproxy/", p.dir+"/", "push.example.com.pem", "both.pem").
		Replace(manual(t, "haproxy")[0])
	addr := behindProxy(t, func(dir, addr string) *exec.Cmd {
		return exec.Command(haproxy, "-db", "-f", write(t, dir, "haproxy.cfg", strings.Replace(config, "bind :443", "bind "+addr, 1)))
	})
	p.connects(t, "haproxy", p.at(addr), http.DefaultClient, "http://"+s.api)
}

// seconds is a time as proxies and systemd write it.
func seconds(t *testing.T, text, setting string) time.Duration {
	t.Helper()
	m := regexp.MustCompile(setting + `\s*=?\s*(\d+)([sm]?)`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s", setting)
	}
	n, _ := strconv.Atoi(m[1])
	if m[2] == "m" {
		n *= 60
	}
	return time.Duration(n) * time.Second
}

// The times of proxies and supervisors fit the server's.
func TestManualTimes(t *testing.T) {
	var c config
	c.addSettings(new(written))
	ping, pong := c.engine.PingInterval, c.engine.PongTimeout
	for setting, text := range map[string]string{
		"proxy_read_timeout": manual(t, "nginx")[0], "timeout client": manual(t, "haproxy")[0], "timeout server": manual(t, "haproxy")[0],
	} {
		if d := seconds(t, text, setting); d <= ping+5*time.Second {
			t.Errorf("%s is %v, and clients are pinged after %v", setting, d, ping)
		}
	}
	if d := seconds(t, manual(t, "haproxy")[0], "timeout tunnel"); d <= ping+pong {
		t.Errorf("timeout tunnel is %v, below %v", d, ping+pong)
	}
	if d := seconds(t, manual(t, "haproxy")[0], "inter") * seconds(t, manual(t, "haproxy")[0], "fall") / time.Second; d >= c.drainDelay {
		t.Errorf("HAProxy takes %v to see that the server leaves, which waits for %v", d, c.drainDelay)
	}
	if d := seconds(t, manual(t, "systemd")[0], "TimeoutStopSec"); d <= c.drainDelay+c.drainTimeout {
		t.Errorf("TimeoutStopSec is %v, and a shutdown may take %v", d, c.drainDelay+c.drainTimeout)
	}
}

// The unit's command line serves, its reload is a reload, and it knows the exit status.
func TestManualSystemd(t *testing.T) {
	unit := manual(t, "systemd")[0]
	value := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("no %s", name)
		}
		return m[1]
	}
	p := newPlace(t)
	s := p.run(t, value("ExecStart"))
	reload := strings.ReplaceAll(value("ExecReload"), "$MAINPID", fmt.Sprint(s.cmd.Process.Pid))
	if out, err := exec.Command("sh", "-c", reload).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", reload, err, out)
	}
	eventually(t, "it reloads", func() bool { return strings.Contains(s.logs.String(), "API keys reloaded") })
	if got := value("RestartPreventExitStatus"); got != fmt.Sprint(exitUsage) {
		t.Errorf("it does not restart after %s, want %d", got, exitUsage)
	}
}

// What is said of flags, variables and settings of the kernel exists.
func TestManualNames(t *testing.T) {
	for _, line := range strings.Split(strings.TrimSpace(manual(t, "sysctl")[0]), "\n") {
		name, _, _ := strings.Cut(line, " = ")
		if _, err := os.Stat("/proc/sys"); err != nil {
			break
		}
		// A container has a part of the network's only.
		if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); err != nil && strings.HasPrefix(name, "fs.") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var c config
	c.addSettings(new(written))
	var variables []string
	for _, st := range c.all {
		variables = append(variables, envName(st.name))
	}
	flags := 0
	for _, m := range regexp.MustCompile("`-([a-z-]+)( [^`]*)?`").FindAllStringSubmatch(string(b), -1) {
		st := c.find(m[1])
		if flags++; st == nil {
			if m[1] != "h" {
				t.Errorf("there is no flag -%s", m[1])
			}
		} else if m[2] != "" {
			if err := st.set("-"+m[1], strings.TrimSpace(m[2])); err != nil {
				t.Errorf("%s: %v", m[0], err)
			}
		}
	}
	if flags < 30 {
		t.Errorf("only %d flags are named", flags)
	}
	for _, name := range regexp.MustCompile(`CARILLON_[A-Z_]+\b`).FindAllString(string(b), -1) {
		if name != "CARILLON_" && name != "CARILLON_PORT" && !slices.Contains(variables, name) {
			t.Errorf("there is no variable %s", name)
		}
	}
	for _, m := range regexp.MustCompile(`\]\((\.\./[^)#]*)`).FindAllStringSubmatch(string(b), -1) {
		if _, err := os.Stat(m[1]); err != nil {
			t.Errorf("a link: %v", err)
		}
	}
}
