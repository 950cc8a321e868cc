package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Where the README's figures come from, below its folder.
const (
	numbersFile = "bench/results/2-core.json"
	peersFile   = "bench/results/peers.json"
)

// UpdateReadme writes the committed results into the README of the name, between the
// lines <!-- numbers: begin --> and <!-- numbers: end -->, and the same of peers.
func UpdateReadme(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text, err := renderReadme(string(b), filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// renderReadme is the README's text with the figures of the files below dir.
func renderReadme(text, dir string) (string, error) {
	results, err := ReadFile(filepath.Join(dir, numbersFile))
	if err != nil {
		return "", err
	}
	peers, err := ReadComparison(filepath.Join(dir, peersFile))
	if err != nil {
		return "", err
	}
	if text, err = replaceBlock(text, "numbers", Markdown(results)); err != nil {
		return "", err
	}
	return replaceBlock(text, "peers", peers.Markdown())
}

// replaceBlock puts a block between the marks of the name.
func replaceBlock(text, name, block string) (string, error) {
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("want a line %q, and %q after it", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + block + end + after, nil
}
