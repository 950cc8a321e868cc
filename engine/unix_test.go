package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// knockUnix sends b over the socket and returns the answer's status and its connection.
func knockUnix(t *testing.T, path, b string) (int, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(conn, b)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, r
}

// A unix socket is served as TCP is: clients, refusals, and what is net/http's; and its
// peers are trusted to be proxies only where that was said.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		path := socketPath(t)
		remotes := make(chan string, 1)
		e := newEngine(t, Options{
			Addr: "unix:" + path, SocketMode: 0o600, CloseTimeout: time.Second, ServeHTTP: true, TrustUnix: trusted, MaxPerIP: 1,
			OnOpen: func(c *Client) { remotes <- c.RemoteAddr().String() },
		})
		if st, err := os.Stat(path); err != nil || st.Mode() != os.ModeSocket|0o600 {
			t.Errorf("%v, %v", st, err)
		}
		if a := e.Addr(); a.Network() != "unix" || a.String() != path {
			t.Errorf("it listens at %v %v", a.Network(), a)
		}
		handed := make(chan string, 1)
		srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { handed <- r.RemoteAddr })}
		ServeUpgrade(srv)
		go srv.Serve(e.HTTP())

		for range 3 { // over the limit of an address, which they have not
			status, r := knockUnix(t, path, fmt.Sprintf(upgrade, "system_id=1"))
			if status != 101 {
				t.Fatalf("%d", status)
			}
			if got := <-remotes; got != "@" {
				t.Errorf("the client is of %s, want @", got)
			}
			if b := make([]byte, 2); !readFull(r, b) || b[0] != 0x81 {
				t.Errorf("the welcome begins with % x", b)
			}
		}
		want := map[bool]string{false: "@", true: "192.0.2.1:0"}[trusted]
		forwarded := strings.Replace(fmt.Sprintf(upgrade, "system_id=1"), "\r\n\r\n", "\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", 1)
		if status, _ := knockUnix(t, path, forwarded); status != 101 {
			t.Errorf("X-Forwarded-For: %d", status)
		} else if got := <-remotes; got != want {
			t.Errorf("X-Forwarded-For, trusted %v: %s, want %s", trusted, got, want)
		}
		wantStatus := map[bool]int{false: 101, true: 429}[trusted]
		if status, _ := knockUnix(t, path, forwarded); status != wantStatus {
			t.Errorf("a second of one address, trusted %v: %d, want %d", trusted, status, wantStatus)
		}
		const get = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
		wantStatus = map[bool]int{false: 400, true: 200}[trusted]
		if status, _ := knockUnix(t, path, "PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\n"+get); status != wantStatus {
			t.Errorf("a PROXY header, trusted %v: %d, want %d", trusted, status, wantStatus)
		} else if trusted {
			if got := <-handed; got != "192.0.2.7:5" {
				t.Errorf("net/http sees %s", got)
			}
		}
		if status, _ := knockUnix(t, path, get); status != 200 {
			t.Errorf("net/http: %d", status)
		} else if got := <-handed; got != "@" {
			t.Errorf("net/http sees %s", got)
		}
		shutdown(t, e)
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket's file is still there: %v", err)
		}
	}
}

func readFull(r io.Reader, b []byte) bool {
	_, err := io.ReadFull(r, b)
	return err == nil
}

// What New says of an option names it, what it is and what it should be.
func TestOptionError(t *testing.T) {
	tests := []struct {
		o    Options
		want OptionError
	}{
		{Options{Addr: "here"}, OptionError{"Addr", "here", ""}},
		{Options{Addr: "unix:"}, OptionError{"Addr", "unix:", ""}},
		{Options{Addr: "unix:@abstract"}, OptionError{"Addr", "unix:@abstract", ""}},
		{Options{Addr: "unix:/" + strings.Repeat("x", 200)}, OptionError{"Addr", "unix:/" + strings.Repeat("x", 200), ""}},
		{Options{SocketMode: 0o1660}, OptionError{"SocketMode", "01660", ""}},
		{Options{Path: "ws"}, OptionError{"Path", "ws", ""}},
		{Options{MaxQueuedBytes: 64}, OptionError{"MaxQueuedBytes", "64", "1KiB to 1GiB"}},
		{Options{MaxHandshakeBytes: 2 << 20}, OptionError{"MaxHandshakeBytes", "2MiB", "512 to 1MiB"}},
		{Options{NodeID: 5000}, OptionError{"NodeID", "5000", "0 to 4095"}},
		{Options{PingInterval: time.Millisecond}, OptionError{"PingInterval", "1ms", "1s to 24h"}},
		{Options{AllowOrigins: []string{"https://a/"}}, OptionError{"AllowOrigins", "https://a/", ""}},
	}
	for _, tt := range tests {
		_, err := New(tt.o)
		var got *OptionError
		if !errors.As(err, &got) || got.Option != tt.want.Option || got.Value != tt.want.Value || tt.want.Want != "" && got.Want != tt.want.Want || got.Want == "" {
			t.Errorf("New(%+v): %v, want %v", tt.o, err, &tt.want)
		}
	}
}
