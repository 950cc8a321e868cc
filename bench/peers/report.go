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
// the figures of each run.
type comparison struct {
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
	Table []row `json:"table"`
	Runs  []run `json:"runs"`
}

type machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel,omitempty"`
	CPU    string `json:"cpu,omitempty"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
}

type row struct {
	Measure string            `json:"measure"`
	Figures map[string]figure `json:"figures"` // by contender
}

func newComparison(ctx context.Context, o compareOptions, runs []run) comparison {
	c := comparison{Date: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(), Commit: commit(ctx), Runs: runs}
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
	m := machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel, _, _ = strings.Cut(strings.TrimSpace(string(release)), "-") // what follows names a distribution, or a host
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}
