package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goTests are the go test commands of a document.
var goTests = regexp.MustCompile("go test [^`\n#]*")

// Each go test command that is written down for a reader names tests, benchmarks or fuzz
// targets that there are. What else the documents tell to do is run by other tests: the
// tour, the manual, the program in its own module.
func TestDocumentedTestsExist(t *testing.T) {
	if !full() {
		t.Skip("it builds every test binary: with TEST_FULL set")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{} // what go test -list said, by package
	for _, document := range []string{"README.md", "engine/README.md", "httpapi/README.md", "cmd/server/README.md", "bench/results/README.md", "bench/million/README.md"} {
		b, err := os.ReadFile(filepath.Join(root, document))
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range goTests.FindAllString(strings.ReplaceAll(string(b), `\|`, "|"), -1) {
			words := strings.Fields(strings.ReplaceAll(command, "'", ""))
			var patterns, packages []string
			for i, word := range words {
				switch {
				case strings.HasPrefix(word, "./") && !strings.Contains(word, "..."):
					packages = append(packages, strings.TrimRight(word, ".,;:)"))
				case i > 0 && (words[i-1] == "-run" || words[i-1] == "-bench" || words[i-1] == "-fuzz") && word != "NONE" && word != ".":
					patterns = append(patterns, word)
				}
			}
			for _, p := range packages {
				if _, ok := listed[p]; !ok {
					cmd := exec.Command("go", "test", "-list", ".", p)
					cmd.Dir = root
					out, err := cmd.CombinedOutput()
					if err != nil {
						t.Errorf("%s: %s: go test -list: %v: %s", document, p, err, out)
					}
					listed[p] = string(out)
				}
				for _, pattern := range patterns {
					if re, err := regexp.Compile("(?m)^(Test|Benchmark|Fuzz|Example)?.*(" + strings.Split(pattern, "/")[0] + ")"); err != nil || !re.MatchString(listed[p]) {
						t.Errorf("%s: %s: nothing of %s matches %s", document, command, p, pattern)
					}
				}
			}
		}
	}
}
