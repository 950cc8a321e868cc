package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"carillon/bench/stamp"
)

const (
	floorName    = "floor"
	carillonName = "carillon"
)

type compareOptions struct {
	Conns    int
	Size     int
	Duration time.Duration
	Rounds   int
	Load     int
	only     []string // in the order of the table
	json     string
}

func (o *compareOptions) check(only string) error {
	all := append([]string{floorName, carillonName}, slices.DeleteFunc(peerNames(), func(n string) bool { return n == floorName })...)
	if o.only = all; only != "" {
		names := strings.Split(only, ",")
		for _, n := range names {
			if !slices.Contains(all, n) {
				return fmt.Errorf("-only %q: want some of %s", n, strings.Join(all, ","))
			}
		}
		o.only = slices.DeleteFunc(all, func(n string) bool { return !slices.Contains(names, n) })
	}
	if o.Size < stamp.Len {
		return fmt.Errorf("-size %d: want at least the %d that a message is checked by", o.Size, stamp.Len)
	}
	for name, v := range map[string]int{"-conns": o.Conns, "-rounds": o.Rounds, "-load": o.Load} {
		if v < 1 {
			return fmt.Errorf("%s %d: want at least 1", name, v)
		}
	}
	if o.Duration < time.Second {
		return fmt.Errorf("-duration %v: want at least 1s", o.Duration)
	}
	return nil
}

// A scenario is one run of the load generator against a fresh server.
type scenario struct {
	name string // in measures
	args []string
	echo bool // the server returns what clients send
}

func (o compareOptions) scenarios() []scenario {
	size, duration := "-size="+strconv.Itoa(o.Size), "-duration="+o.Duration.String()
	paced := strconv.FormatFloat(float64(o.Load)/float64(o.Conns), 'f', -1, 64)
	return []scenario{
		{"idle", []string{"idle", duration}, false},
		{"connect", []string{"connect"}, false},
		{"fanout", []string{"fanout", "-rate=0", size, duration}, false},
		{"paced", []string{"fanout", "-rate=" + paced, size, duration}, false},
		{"unicast", []string{"unicast", "-rate=1000", size, duration}, false},
		{"echo", []string{"echo", "-rate=0", size, duration}, true},
	}
}

// command is what to run, in bench/peers, for the same again.
func (o compareOptions) command() string {
	return fmt.Sprintf("go run . -compare -only %s -conns %d -size %d -duration %v -rounds %d -load %d",
		strings.Join(o.only, ","), o.Conns, o.Size, o.Duration, o.Rounds, o.Load)
}

// compare runs everything and prints the table. An interrupt ends all of it.
func compare(o compareOptions) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := build(ctx, dir)
	if err != nil {
		return err
	}
	if o.json != "" { // better now than in half an hour
		f, err := os.OpenFile(o.json, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("-json: %w", err)
		}
		f.Close()
	}
	var runs []run
	// Rounds, rather than one contender after the other: what the machine does
	// besides then hits all alike.
	for round := range o.Rounds {
		for _, s := range o.scenarios() {
			for _, name := range o.only {
				if s.echo && name == "centrifuge" {
					continue // its clients' messages are commands of its protocol
				}
				r := run{Contender: name, Scenario: s.name, Round: round + 1}
				fmt.Fprintf(os.Stderr, "round %d of %d: %s, %s\n", r.Round, o.Rounds, s.name, name)
				if r.Result, err = p.measure(ctx, o, s, name); err != nil {
					r.Error = strings.Join(strings.Fields(err.Error()), " ")
					fmt.Fprintln(os.Stderr, r.Error)
				}
				if ctx.Err() != nil {
					return errors.New("interrupted")
				}
				runs = append(runs, r)
			}
		}
	}
	if err := writeTable(os.Stdout, o.only, runs); err != nil {
		return err
	}
	if o.json != "" {
		if err := newComparison(o, runs).write(o.json); err != nil {
			return fmt.Errorf("-json: %w", err)
		}
	}
	if failed := slices.DeleteFunc(runs, func(r run) bool { return r.Error == "" }); len(failed) > 0 {
		return fmt.Errorf("%d runs failed, the first of %s in %s", len(failed), failed[0].Contender, failed[0].Scenario)
	}
	return nil
}
