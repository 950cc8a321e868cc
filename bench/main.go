// Command bench loads a WebSocket server and proves the figures that are claimed of
// it: it counts every delivery, measures from when a message was due, and says what
// the server's processes took.
//
//	go run ./bench SCENARIO [flags]
//	go run ./bench report -html out.html a.json b.json …
//
// The README's figures come from committed results. To measure them again, on a quiet
// machine, and to write them into it, from the top of the repository:
//
//	go run ./bench numbers -json bench/results/2-core.json
//	(cd bench/peers && go run . -compare -json ../results/peers.json)
//	go run ./bench report -readme README.md
//
// See -h, and SCENARIO -h.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"carillon/bench/machine"
	"carillon/bench/report"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case workerFlag:
			os.Exit(workerMain())
		case floorFlag:
			os.Exit(floorMain())
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil || errors.Is(err, errHelp):
		return
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
	default:
		// One line, whatever was quoted in the error.
		fmt.Fprintln(os.Stderr, "bench:", strings.Join(strings.Fields(err.Error()), " "))
	}
	stop()
	os.Exit(exitCode(err))
}

// A usageError is of a command line that asks for what there is not.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usage marks an error as of the command line; nil stays nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// exitCode is 2 for a wrong command line, as it is for the go command, and 1 for all else.
func exitCode(err error) int {
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		help(stderr)
		return usage(errors.New("want a scenario"))
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		help(stdout)
		return errHelp
	case "report":
		return runReport(args[1:], stdout)
	case "numbers":
		return runNumbers(ctx, numbers, args[1:], stdout, stderr)
	}
	s := findScenario(args[0])
	if s == nil {
		return usage(fmt.Errorf("%q: want a scenario, one of %s", args[0], strings.Join(scenarioNames(), ", ")))
	}
	cfg, err := parseFlags(s, args[1:], stdout)
	if err != nil {
		return err
	}
	for name, file := range map[string]string{"-json": cfg.json, "-html": cfg.html} {
		if err := report.Writable(file); err != nil { // better now than after the run
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	var watch io.Writer = stderr
	if cfg.quiet {
		watch = nil
	}
	r, err := runScenario(ctx, cfg, args, stdout, watch)
	if err != nil {
		return err
	}
	if cfg.json != "" {
		if err := report.WriteFile(cfg.json, r); err != nil {
			return fmt.Errorf("-json: %w", err)
		}
	}
	if cfg.html != "" {
		if err := report.WriteHTML(cfg.html, []*report.Result{r}); err != nil {
			return fmt.Errorf("-html: %w", err)
		}
	}
	return failed(r)
}

// runScenario is one run, and its table on stdout. Args are what it was called with.
func runScenario(ctx context.Context, cfg *config, args []string, stdout, watch io.Writer) (*report.Result, error) {
	r, err := cfg.scenario.run(ctx, cfg, watch)
	if err != nil {
		return nil, err
	}
	sign(r, commandLine(args))
	if f := r.Floor; f != nil {
		f.Command, f.Commit, f.Date, f.Machine = r.Command, r.Commit, r.Date, r.Machine
	}
	fmt.Fprintf(stdout, "%s: %s\n", r.Scenario, r.Server)
	r.Table(stdout)
	return r, nil
}

// sign says how, of what, when and where a result was measured.
func sign(r *report.Result, command string) {
	r.Command, r.Commit, r.Date, r.Machine = command, machine.Commit(), time.Now().UTC().Truncate(time.Second), machine.This()
}

// failed is an error if anything went wrong that fails the run.
func failed(r *report.Result) error {
	if failures := r.Failures(); len(failures) > 0 {
		text := "FAILED: " + strings.Join(failures, ", ")
		if len(r.Errors) > 0 {
			text += "; first: " + r.Errors[0]
		}
		return errors.New(text)
	}
	return nil
}

// commandLine is how to run it again: without where the report went.
func commandLine(args []string) string {
	line := "go run ./bench"
	for i := 0; i < len(args); i++ {
		name, _, whole := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		switch {
		case i > 0 && strings.HasPrefix(args[i], "-") && (name == "json" || name == "html"):
			if !whole {
				i++
			}
		case i > 0 && args[i] == "-quiet":
		case args[i] == "" || strings.ContainsAny(args[i], " \"'{}&|$*?;<>()"):
			line += " '" + strings.ReplaceAll(args[i], "'", `'\''`) + "'"
		default:
			line += " " + args[i]
		}
	}
	return line
}

func help(w io.Writer) {
	fmt.Fprint(w, "Loads a WebSocket server, checks every delivery, and measures what it took.\n\n"+
		"Usage: go run ./bench SCENARIO [flags]\n       go run ./bench report -html out.html a.json b.json …\n"+
		"       go run ./bench numbers -json file\n\nScenarios:\n")
	for _, s := range scenarios {
		fmt.Fprintf(w, "  %-8s %s\n", s.name, s.about)
	}
	fmt.Fprint(w, "\nWithout flags they test a Carillon that runs at 127.0.0.1:9991 (`go run ./cmd/server`); with -servers 1 they build\n"+
		"and start one; with -url, -push-url and others any other server. The exit status is 1 if anything was lost, doubled,\n"+
		"out of order, or came to the wrong client, and 2 if the command line is wrong. `go run ./bench SCENARIO -h` lists the flags;\n"+
		"report makes pages and tables of results, numbers does the runs that the README's figures come from.\n")
}
