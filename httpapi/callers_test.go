package httpapi

import (
	"os/exec"
	"testing"
)

// Callers that we did not write, as backends have them.

const callers = `
import json, sys, urllib.request, urllib.error
api, a, b = sys.argv[1:]
def call(path, body, **header):
    try:
        r = urllib.request.urlopen(urllib.request.Request(api + path, body.encode(), header))
    except urllib.error.HTTPError as e:
        r = e
    return r.status, json.load(r)
form = "system_id=1&data=x&exclude%5B0%5D=" + a + "&exclude%5B1%5D=" + b # http_build_query
status, got = call("/push_to_system", form)
assert status == 200 and got["report"]["matched"] == 1, got
status, got = call("/push_to_system", json.dumps({"system_id": "1", "data": 1}))
assert status == 415 and "looks like JSON" in got["detail"], got
status, got = call("/push_to_all", "data=AAEC&binary=" + str(True))
assert status == 200, got
status, got = call("/push_to_all", json.dumps({"data": "\ud800"}), **{"Content-Type": "application/json"})
assert status == 400 and got["field"] == "data", got
`

func TestPythonCaller(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	s := newServer(t, Options{})
	a, b := s.dial("system_id=1"), s.dial("system_id=1")
	s.dial("system_id=1")
	if out, err := exec.Command(python, "-c", callers, s.url, a.id, b.id).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

const fetching = `
const [api] = process.argv.slice(1);
const body = JSON.stringify({ system_id: "1", data: 1 });
let r = await fetch(api + "/push_to_system", { method: "POST", body }); // text/plain
let got = await r.json();
if (r.status !== 415 || !got.detail.includes("looks like JSON")) throw new Error(JSON.stringify(got));
r = await fetch(api + "/push_to_system", { method: "POST", body, headers: { "Content-Type": "application/json" } });
got = await r.json();
if (!r.ok || got.report.matched !== 1) throw new Error(JSON.stringify(got));
r = await fetch(api + "/clients?user_id=u");
got = await r.json();
if (r.ok || got.field !== "user_id") throw new Error(JSON.stringify(got));
`

func TestFetchingCaller(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	s := newServer(t, Options{})
	s.dial("system_id=1")
	if out, err := exec.Command(node, "--input-type=module", "-e", fetching, s.url).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
