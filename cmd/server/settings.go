package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A value is what a flag is set to, one of the kinds in flags.go.
type value interface {
	String() string
	Set(string) error // says what was expected
}

// A setting is a flag, which may also come from the environment: -max-queue from
// CARILLON_MAX_QUEUE. A flag beats the environment.
type setting struct {
	name, usage string
	value       value
	def         string
	secret      bool // what it is set to is never printed

	from string // what set it: the flag, or the variable; empty: nothing did
	text string // what it was set to
}

// A settings is all flags, in groups with a heading each.
type settings struct {
	all    []*setting
	groups []group
}

type group struct {
	title string
	of    []*setting
}

// A usageError is a mistake in the flags, the environment or a file that they name. It
// is one line and names the flag or the variable, whichever was used.
type usageError string

// Error implements error.
func (e usageError) Error() string { return string(e) }

// errHelp means that help was asked for, and printed.
const errHelp = usageError("help")

func (s *settings) group(title string) { s.groups = append(s.groups, group{title: title}) }

func (s *settings) add(v value, name, usage string) *setting {
	st := &setting{name: name, usage: usage, value: v, def: v.String()}
	s.all = append(s.all, st)
	g := &s.groups[len(s.groups)-1]
	g.of = append(g.of, st)
	return st
}

// find is nil if there is no such setting.
func (s *settings) find(name string) *setting {
	if i := slices.IndexFunc(s.all, func(st *setting) bool { return st.name == name }); i >= 0 {
		return s.all[i]
	}
	return nil
}

// source is what the setting is called where it was set.
func (s *settings) source(name string) string {
	if from := s.find(name).from; from != "" {
		return from
	}
	return "-" + name
}

// wrong says that a setting is not as it must be.
func (s *settings) wrong(name, want string) error {
	return s.find(name).wrong(want)
}

func (st *setting) wrong(want string) error {
	from := st.from
	if from == "" {
		from = "-" + st.name
	}
	if st.secret || st.text == "" {
		return usageError(from + ": " + want)
	}
	return usageError(from + ": " + printable(st.text) + ": " + want)
}

// printable is text as it can stand in a line.
func printable(text string) string {
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` || strings.Contains(text, " ") {
		return quoted
	}
	return text
}

func (st *setting) set(from, text string) error {
	st.from, st.text = from, text
	if err := st.value.Set(text); err != nil {
		return st.wrong(err.Error())
	}
	return nil
}

// parse reads the command line: -name value, -name=value, both also with two dashes,
// and -name alone for what is on or off. It prints no argument that may be a key:
// neither what belongs to a secret nor what came adrift from it.
func (s *settings) parse(args []string) error {
	seek := "; " + program + " -h lists the flags"
	for n := 0; n < len(args); n++ {
		arg := args[n]
		name, isFlag := strings.CutPrefix(arg, "-")
		name, text, hasValue := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		switch {
		case n == 0 && (arg == "help" || arg == "version"):
			name, text, hasValue = arg, "", false
		case arg == "--" && n == len(args)-1:
			return nil
		case !isFlag || arg == "-" || arg == "--":
			what := printable(arg)
			if slices.ContainsFunc(s.all, func(st *setting) bool { return st.secret && st.from != "" }) {
				what = fmt.Sprintf("number %d", n+1)
			}
			return usageError("argument " + what + " is unexpected: flags begin with -" + seek)
		}
		if name == "h" || name == "help" {
			return errHelp
		}
		st := s.find(name)
		if st == nil {
			return usageError("-" + s.unknown(name) + ": no such flag" + s.suggest(name) + seek)
		}
		if _, onOff := st.value.(yes); onOff && !hasValue {
			text, hasValue = "true", true
		}
		if !hasValue {
			if n++; n == len(args) {
				return usageError("-" + name + ": want a value behind it" + seek)
			}
			text = args[n]
		}
		if err := st.set("-"+name, text); err != nil {
			return err
		}
	}
	return nil
}

// unknown is what may be printed of a flag that there is none of: not what was glued
// to the name of a secret one.
func (s *settings) unknown(name string) string {
	for _, st := range s.all {
		if rest, ok := strings.CutPrefix(name, st.name); ok && st.secret && len(rest) > 3 && !strings.HasPrefix(rest, "-file") {
			return st.name + "…"
		}
	}
	return printable(name)
}

// suggest names the flag that may have been meant.
func (s *settings) suggest(name string) string {
	var names []string
	for _, st := range s.all {
		names = append(names, st.name)
	}
	if near := nearest(name, names); near != "" {
		return ", is it -" + near + "?"
	}
	return ""
}

func (s *settings) help(w io.Writer) {
	fmt.Fprintf(w, `Carillon pushes messages to WebSocket clients; a backend tells it what and to whom over HTTP.

Usage:
  %[1]s [flags]     serve
  %[1]s version     print version, commit and platform
  %[1]s help        print this

Each flag may also come from the environment variable behind it.
SIGTERM or SIGINT shuts down, SIGHUP reads keys and certificate again.
Exit status: 0 after a shutdown, 1 for a failure, 2 for a mistake in flags, variables or their files.
Build one that knows its version: go build -ldflags "-X main.version=v1.2.3" -o %[1]s ./cmd/server
`, program)
	for _, g := range s.groups {
		fmt.Fprintf(w, "\n%s\n", g.title)
		for _, st := range g.of {
			kind, usage := unquote(st.usage)
			fmt.Fprintf(w, "  -%s\n      %s", strings.TrimSpace(st.name+" "+kind), usage)
			if st.def != "" && st.def != "false" {
				fmt.Fprintf(w, " (default %s)", st.def)
			}
			fmt.Fprintf(w, "  [%s]\n", envName(st.name))
		}
	}
}

// unquote takes the name of the value out of a usage, where it is in back quotes.
func unquote(usage string) (kind, plain string) {
	parts := strings.SplitN(usage, "`", 3)
	if len(parts) < 3 {
		return "", usage
	}
	return parts[1], strings.Join(parts, "")
}
