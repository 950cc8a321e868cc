package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Where the README's figures come from, below its folder, and where all of them stand.
const (
	numbersFile = "bench/results/2-core.json"
	peersFile   = "bench/results/peers.json"
	figuresFile = "bench/results/README.md"
)

// UpdateReadme writes the committed results into the README of the name, the most telling
// ones between the lines <!-- claims: begin --> and <!-- claims: end -->, and all into
// bench/results/README.md below its folder, where numbers and peers are such blocks.
func UpdateReadme(name string) error {
	texts, err := renderReadmes(name)
	if err != nil {
		return err
	}
	for name, text := range texts {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// renderReadmes are the texts with the figures, by the names of their files.
func renderReadmes(name string) (map[string]string, error) {
	if _, err := os.ReadFile(name); err != nil { // of the files that it takes, the one that was asked for
		return nil, err
	}
	dir := filepath.Dir(name)
	results, err := ReadFile(filepath.Join(dir, numbersFile))
	if err != nil {
		return nil, err
	}
	peers, err := ReadComparison(filepath.Join(dir, peersFile))
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for file, blocks := range map[string]map[string]string{
		name:                            {"claims": headlines(results)},
		filepath.Join(dir, figuresFile): {"numbers": Markdown(results), "peers": peers.Markdown()},
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text := string(b)
		for block, content := range blocks {
			if text, err = replaceBlock(text, block, content); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
		texts[file] = text
	}
	return texts, nil
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
