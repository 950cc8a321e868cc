package main

import (
	"regexp"
	"strings"
)

const envPrefix = "CARILLON_"

func envName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// An unknownVariable has our prefix and is no flag's.
type unknownVariable struct {
	name    string
	nearest string // the variable that may have been meant, if any is near
}

// fromEnv sets what the command line did not. Variables that it does not know are
// returned, not refused: they may be somebody else's.
func (s *settings) fromEnv(environ []string) (unknown []unknownVariable, err error) {
	known := map[string]*setting{}
	var names []string
	for _, st := range s.all {
		names = append(names, envName(st.name))
		known[names[len(names)-1]] = st
	}
	for _, kv := range environ {
		name, text, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		switch st := known[name]; {
		case st != nil && st.from == "":
			if err := st.set(name, text); err != nil {
				return unknown, err
			}
		case st == nil && !isServiceLink(name, text):
			unknown = append(unknown, unknownVariable{name, nearest(strings.ToUpper(name), names)})
		}
	}
	return unknown, nil
}

// What Kubernetes makes of a service that is called carillon, or carillon-something, in
// every container beside it, as Docker did for links. The values tell them from a
// CARILLON_PORT=9991 of somebody who wanted -addr.
var serviceLinks = []struct{ name, value *regexp.Regexp }{
	{regexp.MustCompile(`_SERVICE_HOST$`), regexp.MustCompile(`^[0-9A-Fa-f.:]+$`)},
	{regexp.MustCompile(`_SERVICE_PORT(_[0-9A-Z_]+)?$`), regexp.MustCompile(`^\d+$`)},
	{regexp.MustCompile(`_PORT(_\d+_(TCP|UDP|SCTP))?$`), regexp.MustCompile(`^(tcp|udp|sctp)://`)},
	{regexp.MustCompile(`_PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)$`), regexp.MustCompile(`^(tcp|udp|sctp|\d+|[0-9A-Fa-f.:]+)$`)},
}

func isServiceLink(name, text string) bool {
	for _, l := range serviceLinks {
		if l.name.MatchString(name) && l.value.MatchString(text) {
			return true
		}
	}
	return false
}

// nearest is the one of names that takes the fewest changes of a letter, empty if even
// that takes as many as half of its letters.
func nearest(name string, names []string) (near string) {
	if len(name) > 64 {
		return ""
	}
	prefix := 0
	if strings.HasPrefix(name, envPrefix) {
		prefix = len(envPrefix)
	}
	least := -1
	for _, n := range names {
		d := distance(name, n)
		if 2*d <= max(len(name), len(n))-prefix && (least < 0 || d < least) {
			near, least = n, d
		}
	}
	return near
}

// distance is how many letters must be put in, taken out or changed (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
