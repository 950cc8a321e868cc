package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The README's figures are those of the committed results.
func TestReadmeHasTheCommittedFigures(t *testing.T) {
	const root = "../.."
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := renderReadme(string(b), root)
	if err != nil {
		t.Fatal(err)
	}
	if want != string(b) {
		t.Error("README.md differs from bench/results: go run ./bench report -readme README.md")
	}
	for _, c := range claims {
		if !strings.Contains(want, "| "+c.text+" | ") {
			t.Errorf("the results have no figure for %q", c.text)
		}
	}
}

func TestUpdateReadme(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "README.md")
	const text = "above\n<!-- numbers: begin -->\nstale\n<!-- numbers: end -->\nbetween\n<!-- peers: begin -->\n<!-- peers: end -->\nbelow\n"
	write := func(file, text string) {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(name, text)
	if err := UpdateReadme(name); err == nil || !strings.Contains(err.Error(), "2-core.json") {
		t.Errorf("without results: %v", err)
	}
	write(filepath.Join(dir, numbersFile), `{"scenario":"idle","conns":7,"command":"go run ./bench idle"}`)
	write(filepath.Join(dir, peersFile), comparisonText)
	for range 2 { // the second time changes nothing
		if err := UpdateReadme(name); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		got := string(b)
		if err != nil || strings.Contains(got, "stale") || !strings.HasPrefix(got, "above\n<!-- numbers: begin -->\nMeasured on") ||
			strings.Count(got, "| 7 clients are idle |") != 1 || strings.Count(got, "| floor | gws |") != 1 || !strings.HasSuffix(got, "<!-- peers: end -->\nbelow\n") {
			t.Errorf("%v:\n%s", err, got)
		}
	}
	write(name, strings.Replace(text, "<!-- peers: end -->", "", 1))
	if err := UpdateReadme(name); err == nil || !strings.Contains(err.Error(), `"<!-- peers: end -->"`) {
		t.Errorf("without an end: %v", err)
	}
}
