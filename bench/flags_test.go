package main

import (
	"io"
	"strings"
	"testing"
)

func TestBadCommandLines(t *testing.T) {
	tests := []struct{ args, want string }{
		{"", "want a scenario"},
		{"fanuot", "want a scenario, one of connect, idle, fanout"},
		{"fanout x", `unexpected argument "x"`},
		{"fanout -conns 0", "-conns: want a whole number from 1"},
		{"fanout -conns many", "-conns: want a whole number from 1"},
		{"fanout -rate -1", "-rate: want a number from 0"},
		{"fanout -duration 10", "-duration: want a time up to 24h"},
		{"fanout -target everyone", "-target: want one of system, group, all"},
		{"fanout -receivers 10 -conns 5", "-receivers 10: want at most the 5 of -conns"},
		{"fanout -url http://x/", "-url \"http://x/\": want ws://"},
		{"fanout -url ws://me:secret@x/", "-url \"ws://…@x\": want no user and password"},
		{"fanout -url ws://{group}.x/", "want placeholders behind the host only"},
		{"fanout -url ws://x/#top", "want a URL without a fragment"},
		{"fanout -push-url ftp://x/", "-push-url \"ftp://x/\": want http://host:port/path, or https://"},
		{"fanout -insecure-tls", "-insecure-tls: want a wss://"},
		{"fanout -insecure-tls -url ws://x/", "-insecure-tls: want a wss://"},
		{"fanout -size 10", "-size: want a whole number from 40"},
		{"echo -size 39", "-size: want a whole number from 40"},
		{"fanout -cons 5", "-cons: want one of those that `go run ./bench fanout -h` lists"},
		{"report -htlm x", "-htlm: want one of those that `go run ./bench report -h` lists"},
		{"numbers -jsn x", "-jsn: want one of those that `go run ./bench numbers -h` lists"},
		{"fanout -url ws://x:y/", "-url \"x:y\": want host:port"},
		{"fanout -push-url ws://127.0.0.1:1/", "-push-url \"ws://127.0.0.1:1/\": want http://"},
		{"fanout -push-url http://a/ -push-url http://b/", "-push-url: want one for each -url"},
		{"fanout -push-body x", "-push-body \"x\": want {data}"},
		{"fanout -push ws", "-push ws: want -push-body"},
		{"fanout -servers 1 -pid 1", "-servers: want no -url"},
		{"fanout -server-flags x", "-server-flags: want -servers"},
		{"fanout -header x", "-header \"x\": want 'Name: value'"},
		{"fanout -pid x", "-pid \"x\": want the ID"},
		{"fanout -pid 4194999", "-pid 4194999: want the ID of a process, there is none"},
		{"fanout -json /does/not/exist", "-json: open /does/not/exist"},
		{"fanout -html /does/not/exist", "-html: open /does/not/exist"},
		{"fanout -procs 1 -servers 2", "-procs 1: want at least one for each of 2"},
		{"fanout -floor=perhaps", "-floor: want true or false"},
		{"echo -target all", "-target"},
		{"floor -url ws://127.0.0.1:1/", "-url"},
		{"churn -inflight 5 -conns 5", "-inflight 5: want less than"},
		{"unicast -id-key=", "-id-key: want the key"},
		{"numbers", "-json: want the file"},
		{"numbers x", `unexpected argument "x"`},
		{"numbers -json /does/not/exist", "-json: open /does/not/exist"},
		{"report -readme x -markdown", "-readme: want nothing else"},
		{"report -readme /does/not/exist", "-readme: open /does/not/exist"},
		{"report a.json", "-html: want the file"},
		{"report -html x", "want one or more results"},
		{"report -html x /does/not/exist", "/does/not/exist"},
	}
	for _, tt := range tests {
		var out strings.Builder
		err := run(t.Context(), strings.Fields(tt.args), &out, &out)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `value "`, `"`), tt.want) && !strings.Contains(withoutValue(err.Error()), tt.want) {
			t.Errorf("bench %s: %v, want %q in it", tt.args, err, tt.want)
			continue
		}
		want := 2
		if strings.Contains(tt.want, "/does/not/exist") { // the line is right, the file system is not
			want = 1
		}
		if got := exitCode(err); got != want {
			t.Errorf("bench %s: exit status %d, want %d", tt.args, got, want)
		}
	}
}

// withoutValue cuts what package flag says before the flag's own words: invalid
// value "x" for flag -conns: …
func withoutValue(s string) string {
	_, after, _ := strings.Cut(s, "for flag ")
	_, after2, ok := strings.Cut(s, "for ")
	if after == "" && ok {
		after = after2
	}
	return after
}

// A server that runs at a URL is called by its host, unless it is given a name; the
// module's own is called by its own.
func TestLabels(t *testing.T) {
	for args, want := range map[string]string{
		"":                                      "carillon",
		"-servers 2":                            "carillon",
		"-url ws://push.example/ws":             "push.example",
		"-url wss://push.example:8443/?g=1":     "push.example:8443",
		"-url ws://[::1]:80":                    "[::1]:80",
		"-url ws://push.example/ws -label mine": "mine",
		"-url ws://a/ -url ws://b:1/ -url ws://b:2/x -url ws://a/y": "a and 2 more",
	} {
		c, err := parseFlags(findScenario("connect"), strings.Fields(args), io.Discard)
		if err != nil || c.label != want {
			t.Errorf("%s: %v, label %q, want %q", args, err, c.label, want)
		}
	}
}
