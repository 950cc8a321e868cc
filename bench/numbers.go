package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"carillon/bench/report"
)

// numbers are the runs that the README's figures come from: of scenarios, and of Go
// benchmarks.
var numbers = []string{
	"connect -servers 1",
	"idle -servers 1",
	"fanout -servers 1 -floor",
	"fanout -servers 1 -floor -rate 0",
	"unicast -servers 1",
	"echo -servers 1",
	"churn -servers 1",
	"storm -servers 1",
	"soak -servers 1",
	"fanout -servers 6 -conns 100000 -rate 0.5 -duration 8s",
	"go test -run NONE -bench Footprint -benchtime 1x ./engine",
	"go test -run NONE -bench Heap -benchtime 1x ./engine",
	"go test -run NONE -bench Fanout -benchtime 500000x ./engine",
	"go test -run NONE -bench Fairness -benchtime 3x ./engine",
	"go test -run NONE -bench StuckPeers -benchtime 1x ./engine",
	"go test -run NONE -bench HeartbeatMinute -benchtime 1x ./engine",
	"go test -run NONE -bench ID ./engine",
	"go test ./engine -run Million -million 1000000 -timeout 30m -v",
	"go test -run NONE -bench . -benchtime 1x ./engine/wheel",
	"go test -run NONE -bench . -timeout 30m ./registry",
}

// runNumbers does all of them, one after the other, and writes one file.
func runNumbers(ctx context.Context, lines, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("numbers", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	file := f.String("json", "", "")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "numbers: the runs that the README's figures come from, some minutes in all\n\nUsage: go run ./bench numbers -json file\n\n"+
			"  -json file\n      file to write all results to\n\nThe runs:\n  %s\n", strings.Join(lines, "\n  "))
		return errHelp
	case err != nil:
		return usage(unknownFlag(err, "numbers"))
	case f.NArg() > 0:
		return usage(fmt.Errorf("unexpected argument %q; flags begin with -", f.Arg(0)))
	case *file == "":
		return usage(errors.New("-json: want the file to write"))
	}
	if err := report.Writable(*file); err != nil {
		return fmt.Errorf("-json: %w", err)
	}
	var results []*report.Result
	for _, line := range lines {
		r, err := runNumber(ctx, line, stdout, stderr)
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		results = append(results, r)
	}
	return report.WriteFile(*file, results...)
}

func runNumber(ctx context.Context, line string, stdout, stderr io.Writer) (*report.Result, error) {
	args := strings.Fields(line)
	if args[0] == "go" {
		fmt.Fprintln(stdout, line)
		return goBenchmark(ctx, line, stdout)
	}
	fmt.Fprintln(stdout, "go run ./bench", line)
	cfg, err := parseFlags(findScenario(args[0]), args[1:], stdout)
	if err != nil {
		return nil, err
	}
	r, err := runScenario(ctx, cfg, args, stdout, stderr)
	if err != nil {
		return nil, err
	}
	return r, failed(r)
}
