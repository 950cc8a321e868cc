package httpapi

import (
	"encoding/json"
	"testing"

	"carillon/engine"
)

func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"":                `""`,
		"plain":           `"plain"`,
		`a"b\c`:           `"a\"b\\c"`,
		"\n\r\t\x00\x1f":  `"\n\r\t\u0000\u001f"`,
		"<b>&'\u2028\x7f": "\"<b>&'\u2028\x7f\"",
		"钟🔔":              `"钟🔔"`,
	} {
		got := string(engine.AppendJSONString(nil, in))
		if got != want {
			t.Errorf("AppendJSONString(%q) = %s, want %s", in, got, want)
		}
		var back string
		if err := json.Unmarshal([]byte(got), &back); err != nil || back != in {
			t.Errorf("AppendJSONString(%q) = %s reads back as %q, %v", in, got, back, err)
		}
	}
}

func TestObject(t *testing.T) {
	got := string(newObject([]byte("[")).str("s", "{").int("i", -1).uint("u", 1<<63).bool("b", true).
		strs("l", []string{"x", "y"}).strs("e", nil).raw("o", "{}").end())
	if want := `[{"s":"{","i":-1,"u":9223372036854775808,"b":true,"l":["x","y"],"e":[],"o":{}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string(newObject(nil).end()); got != "{}" {
		t.Errorf("empty object: %s", got)
	}
}

func TestEnvelopeIsTheOriginals(t *testing.T) {
	e := envelope{
		system: "123", client: "1552106203776028672", message: "bmn1pgxsyyryy", code: engine.CodeSent,
		data: string(engine.AppendJSONString(nil, `{"hello":"world1"}`)),
	}
	want := `{"system_id":"123","client_id":"1552106203776028672","message_id":"bmn1pgxsyyryy","group_name":"",` +
		`"code":10009,"msg":"发送消息体成功","data":"{\"hello\":\"world1\"}"}`
	if got := string(e.appendTo(nil, engine.Chinese).end()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
