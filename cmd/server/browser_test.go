package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// browse opens a page in a headless browser until the test ends.
func browse(t *testing.T, page string, flags ...string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "carillon-browser")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(needs(t, "chromium"), append(flags,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
		"--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
		"--user-data-dir="+profile, page)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a browser is many processes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		for range 100 { // until the last of them is gone
			if os.RemoveAll(profile) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// The README's own lines of JavaScript, in a browser: what it logs comes back to
// the test.
func TestSnippetInBrowser(t *testing.T) {
	t.Parallel()
	s := start(t)
	snippet := ""
	for _, b := range tourBlocks(t) {
		if b.kind == "connect" {
			snippet = strings.ReplaceAll(b.text, exampleAddr, s.addr)
		}
	}
	logged := make(chan string, 10)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><script>
console.log = (line) => fetch("/log", {method: "POST", body: line});
%s
ws.onclose = (e) => console.log("closed " + e.code + " " + e.wasClean + " " + e.reason);
</script>`, snippet)
	})
	mux.HandleFunc("POST /log", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		logged <- string(b)
	})
	page := httptest.NewServer(mux)
	defer page.Close()
	browse(t, page.URL)

	expect := func(want string) string {
		t.Helper()
		select {
		case got := <-logged:
			if !strings.Contains(got, want) {
				t.Fatalf("the browser logged %s, want %s", got, want)
			}
			return got
		case <-time.After(60 * time.Second):
			t.Fatalf("the browser did not log %s", want)
			return ""
		}
	}
	welcome := expect(`"msg":"客户端连接成功"`)
	_, id, _ := strings.Cut(welcome, `"client_id":"`)
	id, _, _ = strings.Cut(id, `"`)
	s.post("/push_to_client", url.Values{"system_id": {"123"}, "client_id": {id}, "data": {"ring ♪"}})
	expect(`"data":"ring ♪"`)
	s.post("/close_client", url.Values{"system_id": {"123"}, "client_id": {id}, "reason": {"bye"}})
	expect("closed 3500 true bye")
}

// The page that the server itself serves: it connects, and a push shows in it. The
// browser gets it through a proxy that adds a script to report what it shows.
func TestDemoPageInBrowser(t *testing.T) {
	s := start(t)
	target, err := url.Parse("http://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	const spy = `<script>
new MutationObserver(() => fetch("/spy", {method: "POST", body: document.body.innerText}))
  .observe(document.getElementById("messages"), {childList: true});
</script>`
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.URL.Path != "/" {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(b) + spy))
		r.ContentLength = int64(len(b) + len(spy))
		r.Header.Set("Content-Length", strconv.Itoa(len(b)+len(spy)))
		if r.Header.Get("Content-Security-Policy") == "" {
			t.Error("the page has no Content-Security-Policy")
		}
		r.Header.Del("Content-Security-Policy")
		return err
	}
	shown := make(chan string, 10)
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("POST /spy", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		shown <- string(b)
	})
	page := httptest.NewServer(mux)
	defer page.Close()
	browse(t, page.URL+"/?system_id=demo&group_name=vip")
	deadline := time.Now().Add(60 * time.Second)
	for {
		_, body := s.post("/push_to_group", url.Values{"system_id": {"demo"}, "group_name": {"vip"}, "data": {"ding <b>dong</b>"}})
		if strings.Contains(body, `"written":1`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the page does not connect: %s", body)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for {
		select {
		case got := <-shown:
			if strings.Contains(got, "ding <b>dong</b>") && strings.Contains(got, "curl ") {
				return
			}
		case <-time.After(60 * time.Second):
			t.Fatal("the message is not in the page")
		}
	}
}

// The page at a port of the API's own connects to the clients', with the policy that it
// has: by address, and by a name that the server goes by.
func TestDemoPageOfTheAPIInBrowser(t *testing.T) {
	for _, args := range [][]string{
		{"-api-addr", "127.0.0.1:0"},
		{"-addr", "0.0.0.0:0", "-api-addr", "0.0.0.0:0", "-insecure", "-allow-host", "shop.example"},
	} {
		s := start(t, args...)
		_, port, _ := strings.Cut(s.api, ":")
		host := "127.0.0.1"
		if len(args) > 2 {
			host = "shop.example"
		}
		browse(t, "http://"+host+":"+port+"/?system_id=demo", "--host-resolver-rules=MAP shop.example 127.0.0.1",
			"--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests")
		eventually(t, "the page at "+host+" connects", func() bool {
			_, body := s.post("/push_to_system", url.Values{"system_id": {"demo"}, "data": {"ding"}})
			return strings.Contains(body, `"written":1`)
		})
	}
}
