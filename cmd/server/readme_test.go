package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// readmeBlock is the fenced piece of the README behind the mark.
func readmeBlock(t *testing.T, mark string) string {
	t.Helper()
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)<!-- " + regexp.QuoteMeta(mark) + " -->\n```\\w+\n(.*?)```").FindSubmatch(b)
	if m == nil {
		t.Fatalf("the README has nothing marked %q", mark)
	}
	return string(m[1])
}

// A program in a module of its own builds as the README says.
func TestProgramInItsOwnModule(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(readmeBlock(t, "embed: main.go")), 0o644); err != nil {
		t.Fatal(err)
	}
	script := "go mod init example.com/program\n" +
		strings.ReplaceAll(readmeBlock(t, "embed: shell"), "../carillon", root) + "go vet .\ngo build -o program .\n"
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v: %s", script, err, out)
	}
}

// The README's client for browsers comes back to a server that was started anew, and not
// to one that has closed it for good.
func TestReconnectingClientInBrowser(t *testing.T) {
	t.Parallel()
	s := start(t)
	snippet := strings.ReplaceAll(readmeBlock(t, "reconnect"), "${location.host}", s.addr)
	logged := make(chan string, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><script>
const show = (message) => fetch("/log", {method: "POST", body: message.client_id});
%s
</script>`, snippet)
	})
	mux.HandleFunc("POST /log", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		logged <- string(b)
	})
	page := httptest.NewServer(mux)
	defer page.Close()
	browse(t, page.URL)
	welcome := func() string {
		t.Helper()
		select {
		case id := <-logged:
			return id
		case <-time.After(60 * time.Second):
			t.Fatal("the client did not connect")
			return ""
		}
	}
	welcome()
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.exit()
	s = start(t, "-addr", s.addr)
	id := welcome()
	s.post("/close_client", url.Values{"system_id": {"123"}, "client_id": {id}})
	select {
	case id := <-logged:
		t.Errorf("it came back as %s after it was closed for good", id)
	case <-time.After(2 * time.Second):
	}
}
