package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const readme = "../../README.md"

// A block is a fenced piece of the README that the tour marks.
type block struct{ kind, text string }

func tourBlocks(t *testing.T) (blocks []block) {
	t.Helper()
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	marked := regexp.MustCompile("(?s)<!-- tour: (\\w+) -->\n```\\w+\n(.*?)```")
	for _, m := range marked.FindAllStringSubmatch(string(b), -1) {
		blocks = append(blocks, block{m[1], m[2]})
	}
	if len(blocks) < 7 {
		t.Fatalf("only %d blocks of the tour are marked", len(blocks))
	}
	return blocks
}

const (
	exampleAddr = "127.0.0.1:9991"
	exampleID   = "250413159318347776"
)

// What differs from one run to the next.
var varying = regexp.MustCompile(`"(message_id":"[0-9a-v]{12,13}|connected_at":"[^"]*|remote_addr":"[^"]*|bytes_in":\d+|bytes_out":\d+)`)

func settled(s string) string {
	return varying.ReplaceAllStringFunc(strings.TrimSpace(s), func(m string) string {
		name, _, _ := strings.Cut(m, ":")
		return name + ":…"
	})
}

// TestTour does what the README's tour says, word for word, and gets the answers
// that it shows.
func TestTour(t *testing.T) {
	needs(t, "curl")
	s := start(t, "-lang", "en")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var ws *websocket.Conn
	id := "" // the real client's
	real := strings.NewReplacer(exampleAddr, s.addr)
	for _, b := range tourBlocks(t) {
		switch b.kind {
		case "connect":
			url := regexp.MustCompile(`"(ws://[^"]*)"`).FindStringSubmatch(b.text)
			if url == nil {
				t.Fatalf("no URL in %s", b.text)
			}
			c, _, err := websocket.Dial(ctx, real.Replace(url[1]), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			ws = c
		case "receives":
			// Messages of calls that the tour does not show are passed over.
			for want := settled(b.text); ; {
				_, got, err := ws.Read(ctx)
				if err != nil {
					t.Fatalf("waiting for %s: %v", want, err)
				}
				if id == "" {
					id = regexp.MustCompile(`"client_id":"(\d+)"`).FindStringSubmatch(string(got))[1]
					real = strings.NewReplacer(exampleAddr, s.addr, exampleID, id)
				}
				if settled(string(got)) == real.Replace(want) {
					break
				}
			}
		case "shell":
			for _, step := range strings.Split("\n"+b.text, "\n$ ")[1:] {
				command, want, _ := strings.Cut(step, "\n")
				got, err := exec.CommandContext(ctx, "sh", "-c", real.Replace(command)).CombinedOutput()
				if err != nil {
					t.Errorf("%s: %v: %s", command, err, got)
				}
				if settled(string(got)) != settled(real.Replace(want)) {
					t.Errorf("%s\ngot  %s\nwant %s", command, settled(string(got)), settled(real.Replace(want)))
				}
			}
		default:
			t.Errorf("unknown kind of block %q", b.kind)
		}
	}
	var ce websocket.CloseError
	if _, _, err := drain(ctx, ws); !asClose(err, &ce) || ce.Code != 3500 || ce.Reason != "bye" {
		t.Errorf("the client ended with %v, want 3500 bye", err)
	}
}

// needs skips a test that uses a tool which is not there, where that is allowed.
func needs(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err == nil {
		return path
	}
	if os.Getenv(requireTools) != "" {
		t.Fatalf("%s is not installed, and %s is set", tool, requireTools)
	}
	t.Skipf("%s is not installed: the test uses it as a user would", tool)
	return ""
}

const requireTools = "TEST_REQUIRES_TOOLS"
