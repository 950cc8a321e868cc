package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"carillon/bench/report"
)

const reportHelp = `report: results side by side, on one page or in a table

Usage: go run ./bench report -html out.html a.json b.json …
       go run ./bench report -markdown a.json b.json …
       go run ./bench report -readme README.md

  -html file
      page to write; it needs nothing but itself
  -json file
      file to write all results to, as one
  -markdown
      print a table in Markdown; a file may also be one that bench/peers wrote
  -readme file
      README to write the most telling figures of bench/results/2-core.json into, which is
      looked for below its folder: between its lines <!-- claims: begin --> and
      <!-- claims: end -->. All of them, and those of peers.json, go into
      bench/results/README.md in the same way, between the marks of numbers and peers
`

// runReport makes something to read of results that were written with -json.
func runReport(args []string, stdout io.Writer) error {
	f := flag.NewFlagSet("report", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	html := f.String("html", "", "")
	all := f.String("json", "", "")
	markdown := f.Bool("markdown", false, "")
	readme := f.String("readme", "", "")
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, reportHelp)
		return errHelp
	case err != nil:
		return usage(unknownFlag(err, "report"))
	case *readme != "" && (*html != "" || *all != "" || *markdown || f.NArg() > 0):
		return usage(errors.New("-readme: want nothing else with it, its results are those below its folder"))
	case *readme != "":
		if err := report.UpdateReadme(*readme); err != nil {
			return fmt.Errorf("-readme: %w", err)
		}
		return nil
	case *html == "" && *all == "" && !*markdown:
		return usage(errors.New("-html: want the file to write, or -markdown, -json or -readme"))
	case f.NArg() == 0:
		return usage(errors.New("want one or more results that were written with -json"))
	}
	if *markdown && f.NArg() == 1 && *html == "" && *all == "" {
		if c, err := report.ReadComparison(f.Arg(0)); err == nil {
			fmt.Fprint(stdout, c.Markdown())
			return nil
		}
	}
	var results []*report.Result
	for _, name := range f.Args() {
		r, err := report.ReadFile(name)
		if err != nil {
			return err
		}
		results = append(results, r...)
	}
	if *markdown {
		fmt.Fprint(stdout, report.Markdown(results))
	}
	if *all != "" {
		if err := report.WriteFile(*all, results...); err != nil {
			return fmt.Errorf("-json: %w", err)
		}
	}
	if *html != "" {
		if err := report.WriteHTML(*html, results); err != nil {
			return fmt.Errorf("-html: %w", err)
		}
	}
	return nil
}
