package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// A comparison is what -json writes: what was run where and when, the table, and
// the figures of each run. Package report of carillon/bench prints it.
type comparison struct {
	Command string    `json:"command"`
	Date    time.Time `json:"date"`
	Commit  string    `json:"commit"` // of the working tree; -dirty if it was changed
	Machine machine   `json:"machine"`
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

// A machine is as in the load generator's results.
type machine struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

type row struct {
	Measure string            `json:"measure"`
	Figures map[string]figure `json:"figures"` // by contender
}

func newComparison(ctx context.Context, o compareOptions, runs []run) comparison {
	c := comparison{Date: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(), Commit: commit(ctx), Contenders: o.only, Notes: notes(runs), Runs: runs}
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

// commit is empty outside a git checkout.
func commit(ctx context.Context) string {
	name, _ := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output()
	return strings.TrimSpace(string(name))
}

// thisMachine has the kernel and the processor where /proc tells them.
func thisMachine() machine {
	m := machine{CPUs: runtime.NumCPU(), Model: runtime.GOARCH, Kernel: runtime.GOOS, Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel, _, _ = strings.Cut("Linux "+strings.TrimSpace(string(release)), "-") // what follows names a distribution, or a host
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	return m
}
