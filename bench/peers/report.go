package main

import (
	"encoding/json"
	"os"
	"time"

	"carillon/bench/machine"
)

// A comparison is what -json writes: what was run where and when, the table, and
// the figures of each run. Package report of carillon/bench prints it.
type comparison struct {
	Command string          `json:"command"`
	Date    time.Time       `json:"date"`
	Commit  string          `json:"commit"` // of the working tree; -dirty if it was changed
	Machine machine.Machine `json:"machine"`
	Options struct {
		Conns    int                 `json:"conns"`
		Size     int                 `json:"size"`
		Seconds  float64             `json:"seconds"`
		Rounds   int                 `json:"rounds"`
		Load     int                 `json:"load"`
		Scenario map[string][]string `json:"scenarios"`
	} `json:"options"`
	Contenders []string `json:"contenders"` // in the order of the table
	Table      []row    `json:"table"`
	Notes      []string `json:"notes"` // what makes a figure doubtful
	Runs       []run    `json:"runs"`
}

type row struct {
	Measure string            `json:"measure"`
	Figures map[string]figure `json:"figures"` // by contender
}

func newComparison(o compareOptions, runs []run) comparison {
	c := comparison{Date: time.Now().UTC().Truncate(time.Second), Machine: machine.This(), Commit: machine.Commit(), Contenders: o.only, Notes: notes(runs), Runs: runs}
	c.Command = o.command()
	c.Options.Conns, c.Options.Size, c.Options.Seconds = o.Conns, o.Size, o.Duration.Seconds()
	c.Options.Rounds, c.Options.Load = o.Rounds, o.Load
	c.Options.Scenario = map[string][]string{}
	for _, s := range o.scenarios() {
		c.Options.Scenario[s.name] = s.args
	}
	for _, m := range measures {
		r := row{m.name, map[string]figure{}}
		for _, name := range o.only {
			r.Figures[name] = m.figure(runs, name)
		}
		c.Table = append(c.Table, r)
	}
	return c
}

func (c comparison) write(file string) error {
	text, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
