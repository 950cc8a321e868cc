package main

import (
	"io"
	"strings"
	"testing"
)

// A placeholder that is not filled in is refused, in each flag that takes some, and the
// one that may be meant is named. What JSON has in braces is none.
func TestPlaceholders(t *testing.T) {
	for _, tt := range []struct {
		flags []string
		want  string // empty: they are right
	}{
		{[]string{"-url", "ws://h/?g={group}&s={system}&i={index}"}, ""},
		{[]string{"-url", "ws://h/?g={grp}"}, "-url: {grp} is not filled in there: did you mean {group}? want one of {system}, {group}, {index}"},
		{[]string{"-url", "ws://h/?g={Group}"}, "did you mean {group}?"},
		{[]string{"-url", "ws://h/?g={room}"}, "-url: {room} is not filled in there: want one of"},
		{[]string{"-url", "ws://h/?g={group"}, "want a brace only around one of {system}, {group}, {index}"},
		{[]string{"-url", "ws://h/?d={data}"}, "-url: {data} is not filled in there"},
		{[]string{"-hello", "join {group} {system} {index}"}, ""},
		{[]string{"-hello", `{"id":1,"connect":{}}`}, ""},
		{[]string{"-hello", "join { group }"}, "did you mean {group}?"},
		{[]string{"-hello", "join {gruop}"}, "-hello: {gruop} is not filled in there: did you mean {group}?"},
		{[]string{"-push-url", "http://h/to_{target}"}, ""},
		{[]string{"-push-url", "http://h/to_{tagret}"}, "-push-url: {tagret} is not filled in there: did you mean {target}?"},
		{[]string{"-push-url", "http://h/{group}"}, "-push-url: {group} is not filled in there: want one of {target}"},
		{[]string{"-push", "ws", "-push-body", "{data}", "-push-url", "ws://h/{system}"}, ""},
		{[]string{"-push", "ws", "-push-body", "{data}", "-push-url", "ws://h/{target}"}, "-push-url: {target} is not filled in there"},
		{[]string{"-push-body", `{"to":{group},"of":{system},"id":{client_id},"by":{target},"what":{data}}`}, ""},
		{[]string{"-push-body", `{"to":{grp},"what":{data}}`}, "-push-body: {grp} is not filled in there: did you mean {group}?"},
		{[]string{"-push-body", `{"to":{clientid},"what":{data}}`}, "did you mean {client_id}?"},
		{[]string{"-push-body", `{"what":"{data}"}`}, "-push-body: it is no JSON when it is filled in"},
		{[]string{"-push-body", `what="{data}"`, "-push-type", "text/plain"}, ""},
		{[]string{"-header", "X-Group: {group}"}, "{group} is not filled in there, only in -url"},
		{[]string{"-header", `X-Tags: {"a":1}`}, ""},
	} {
		_, err := parseFlags(findScenario("fanout"), tt.flags, io.Discard)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%q: %v", tt.flags, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || exitCode(err) != 2):
			t.Errorf("%q: %v, want %q", tt.flags, err, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"group", "group", 0}, {"grp", "group", 2}, {"gruop", "group", 2}, {"kitten", "sitting", 3}} {
		if got, back := distance(tt.a, tt.b), distance(tt.b, tt.a); got != tt.want || back != tt.want {
			t.Errorf("%s, %s: %d and %d, want %d", tt.a, tt.b, got, back, tt.want)
		}
	}
}
