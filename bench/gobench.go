package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"carillon/bench/report"
)

// goBenchmark runs a line such as "go test -run NONE -bench Lookup ./registry", from
// the module's root, and keeps the figures that its benchmarks print.
func goBenchmark(ctx context.Context, line string, stdout io.Writer) (*report.Result, error) {
	args := strings.Fields(line)
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	_, _ = stdout.Write(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, lastLine(string(out)))
	}
	r := &report.Result{Scenario: report.GoBenchmark, Server: carillonName, Extra: benchmarkFigures(string(out))}
	if len(r.Extra) == 0 {
		return nil, errors.New("no benchmark ran")
	}
	sign(r, line)
	return r, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// benchmarkLine is a line of the format that package testing prints: name, number of
// runs, and pairs of value and unit (golang.org/design/14313-benchmark-format).
var benchmarkLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\t(.+)$`)

// benchmarkFigures are those of each benchmark, in order. The name of a figure is its
// benchmark's. The time of an op is left out where there are figures of another kind.
func benchmarkFigures(out string) (figures []report.Figure) {
	for _, m := range benchmarkLine.FindAllStringSubmatch(out, -1) {
		fields := strings.Fields(m[2])
		for i := 0; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil || v == 0 && fields[i+1] == "ns/op" {
				continue
			}
			figures = append(figures, report.Figure{Name: m[1], Value: v, Unit: fields[i+1]})
		}
	}
	return figures
}
