package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The figures that are written down are those of the committed results.
func TestReadmesHaveTheCommittedFigures(t *testing.T) {
	const root = "../../README.md"
	texts, err := renderReadmes(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range texts {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if want != string(b) {
			t.Errorf("%s differs from bench/results: go run ./bench report -readme README.md", name)
		}
		most := len(claims)
		if name == root {
			most = headline
		}
		for _, c := range claims[:most] {
			if !strings.Contains(want, "| "+c.text+" | ") {
				t.Errorf("%s: the results have no figure for %q", name, c.text)
			}
		}
	}
}

func TestUpdateReadme(t *testing.T) {
	dir := t.TempDir()
	name, figures := filepath.Join(dir, "README.md"), filepath.Join(dir, figuresFile)
	const text = "above\n<!-- numbers: begin -->\nstale\n<!-- numbers: end -->\nbetween\n<!-- peers: begin -->\n<!-- peers: end -->\nbelow\n"
	write := func(file, text string) {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(name, "above\n<!-- claims: begin -->\nstale\n<!-- claims: end -->\nbelow\n")
	write(figures, text)
	if err := UpdateReadme(name); err == nil || !strings.Contains(err.Error(), "2-core.json") {
		t.Errorf("without results: %v", err)
	}
	write(filepath.Join(dir, numbersFile), `[{"scenario":"idle","conns":7,"command":"go run ./bench idle"},
		{"scenario":"go benchmark","command":"go test","extra":[{"name":"Heap","unit":"heap-B/conn","value":507}]}]`)
	write(filepath.Join(dir, peersFile), comparisonText)
	for range 2 { // the second time changes nothing
		if err := UpdateReadme(name); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(figures)
		got := string(b)
		if err != nil || strings.Contains(got, "stale") || !strings.HasPrefix(got, "above\n<!-- numbers: begin -->\nMeasured on") ||
			strings.Count(got, "| 7 clients are idle |") != 1 || strings.Count(got, "| floor | gws |") != 1 || !strings.HasSuffix(got, "<!-- peers: end -->\nbelow\n") {
			t.Errorf("%v:\n%s", err, got)
		}
		b, err = os.ReadFile(name)
		got = string(b)
		if err != nil || strings.Contains(got, "stale") || strings.Count(got, "| heap that it keeps | 507 heap-B/conn |") != 1 || strings.Contains(got, "idle |") {
			t.Errorf("%v:\n%s", err, got)
		}
	}
	write(figures, strings.Replace(text, "<!-- peers: end -->", "", 1))
	if err := UpdateReadme(name); err == nil || !strings.Contains(err.Error(), `"<!-- peers: end -->"`) {
		t.Errorf("without an end: %v", err)
	}
}
