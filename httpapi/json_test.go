package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"carillon/engine"
)

func TestScanValue(t *testing.T) {
	tests := []struct {
		in    string
		value string
		depth int
	}{
		{`1,2`, `1`, 0},
		{`-1.5e3}`, `-1.5e3`, 0},
		{"true\n}", `true`, 0},
		{`null]`, `null`, 0},
		{`12`, `12`, 0},
		{`"a,]}" ,`, `"a,]}"`, 0},
		{`"\\",1`, `"\\"`, 0},
		{`"\"",1`, `"\""`, 0},
		{`{},`, `{}`, 1},
		{`[[],{"a":"]}"}],1`, `[[],{"a":"]}"}]`, 2},
		{`{"a":[{}]}}`, `{"a":[{}]}`, 3},
	}
	for _, tt := range tests {
		n, depth := scanValue(tt.in)
		if tt.in[:n] != tt.value || depth != tt.depth {
			t.Errorf("scanValue(%s) = %s, depth %d, want %s, depth %d", tt.in, tt.in[:n], depth, tt.value, tt.depth)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	f, err := decodeJSON([]byte(" {\"a\" : 1.0e-2 ,\n\"b\":{\"x\":[1, 2]},\"\\u0061\":\"\\ud83d\\udd14\",\"c\":\"\" }\t"), []string{"a", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	got, want := f.values, map[string][]string{"a": {"1.0e-2", `"\ud83d\udd14"`}, "b": {`{"x":[1, 2]}`}, "c": {`""`}}
	if len(got) != len(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for k := range want {
		if strings.Join(got[k], "|") != strings.Join(want[k], "|") {
			t.Errorf("%s: got %q, want %q", k, got[k], want[k])
		}
	}
	if f, err := decodeJSON([]byte("{}"), nil); err != nil || len(f.values) != 0 {
		t.Errorf("{}: %v, %v", f, err)
	}
	for _, bad := range []string{
		"", " ", "{", "}", "[]", "1", "null", `"x"`, "{}{}", "{} x", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{'a':1}`,
		`{"a":01}`, `{"a":+1}`, `{"a":1.}`, `{"a":.5}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":0x1}`, `{"a":tru}`,
		"{\"a\":\"\x01\"}", "{\"a\":\"\n\"}", `{"a":"\x"}`, `{"a":"\u12"}`, "{\"a\":\"\xff\"}", "{\"\xc0\x80\":1}",
		"\ufeff{}", `{"\ud800":1}`, "{\"a\":\"\xed\xa0\x80\"}", "{}\x00", "/**/{}",
		`{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + "}",
	} {
		if f, err := decodeJSON([]byte(bad), []string{"a", "x"}); err == nil {
			t.Errorf("%q accepted: %q", bad, f.values)
		} else if p := problemOf(err); p == nil || p.status != 400 || p.field != "body" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := decodeJSON([]byte(`{"a":`+strings.Repeat("[", 63)+strings.Repeat("]", 63)+"}"), []string{"a"}); err != nil {
		t.Errorf("64 deep: %v", err)
	}
}

// Whatever a body looks like, it takes time in proportion to its length.
func TestDecodeJSONHasNoSlowBody(t *testing.T) {
	for name, body := range map[string]string{
		"open arrays":   `{"data":` + strings.Repeat("[", maxBody-9),
		"open objects":  strings.Repeat(`{"a":`, maxBody/5),
		"closed arrays": `{"data":` + strings.Repeat("[", maxBody/2-9) + strings.Repeat("]", maxBody/2-9) + "}",
		"deep garbage":  `{"data":` + strings.Repeat("[", 60) + "n" + strings.Repeat("\x01", maxBody-99),
		"many names":    "{" + strings.Repeat(`"":0,`, maxBody/5-3) + `"":0}`,
		"backslashes":   `{"data":"` + strings.Repeat(`\\`, maxBody/2-9) + `"}`,
		"digits":        `{"client_ids":[` + strings.Repeat("1,", maxBody/2-20) + "1]}",
	} {
		start := time.Now()
		if f, err := decodeJSON([]byte(body), []string{"client_ids", "data", "a", ""}); err == nil {
			f.ids("client_ids")
			f.message()
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func TestUnquote(t *testing.T) {
	for _, text := range []string{
		`""`, `"plain"`, `"\"\\\/\b\f\n\r\t"`, `"\u0041\u00e9\u4e2d"`, `"\ud83d\udd14"`, `"\\ud800"`, `"\\\\u"`, `"\u0000"`, `"\uFFFD"`,
	} {
		var want string
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if got := unquote(text); got != want || engine.HalfSurrogate(text) != "" {
			t.Errorf("unquote(%s) = %q, want %q; half a pair: %s", text, got, want, engine.HalfSurrogate(text))
		}
	}
	for text, want := range map[string]string{
		`"\ud800"`: `\ud800`, `"\uDC00"`: `\uDC00`, `"\ud800\u0041"`: `\ud800`, `"\ud800\n"`: `\ud800`, `"\ud800\ud801"`: `\ud800`,
		`"\\\ud800"`: `\ud800`, `"\ud83d\udd14\udd14"`: `\udd14`, `["\ud83d","\udd14"]`: `\ud83d`, `{"a":["x",{"\udbff":1}]}`: `\udbff`,
	} {
		if got := engine.HalfSurrogate(text); got != want {
			t.Errorf("HalfSurrogate(%s) = %s, want %s", text, got, want)
		}
	}
}
