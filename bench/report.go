package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"carillon/bench/report"
)

// runReport makes one page of results that were written with -json.
func runReport(args []string, stdout io.Writer) error {
	f := flag.NewFlagSet("report", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	html := f.String("html", "", "page to write")
	all := f.String("json", "", "file to write all results to")
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, "report: results side by side, on one page\n\nUsage: go run ./bench report -html out.html a.json b.json …\n\n"+
			"  -html file\n      page to write; it needs nothing but itself\n"+
			"  -json file\n      file to write all results to, as one\n")
		return errHelp
	case err != nil:
		return err
	case *html == "" && *all == "":
		return errors.New("-html: want the file to write")
	case f.NArg() == 0:
		return errors.New("want one or more results that were written with -json")
	}
	var results []*report.Result
	for _, name := range f.Args() {
		r, err := report.ReadFile(name)
		if err != nil {
			return err
		}
		results = append(results, r...)
	}
	if *all != "" {
		if err := report.WriteFile(*all, results...); err != nil {
			return fmt.Errorf("-json: %w", err)
		}
	}
	if *html == "" {
		return nil
	}
	if err := report.WriteHTML(*html, results); err != nil {
		return fmt.Errorf("-html: %w", err)
	}
	return nil
}
