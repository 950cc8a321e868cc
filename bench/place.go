package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"carillon/bench/machine"
)

// A placement puts clients into systems and groups. Those outside the target hear
// nothing, and notice if they do.
type placement struct {
	Receivers   int  // clients from 0 on: in system 0, spread over the groups
	Groups      int  // at least 1
	OtherSystem bool // the others are in system 1, not in another group of system 0
	Stable      int  // clients from here on come and go: in system 0 and no group
}

func (p placement) of(client int) (system, group int32) {
	switch {
	case client >= p.Stable:
		return 0, -1
	case client < p.Receivers:
		return 0, int32(client % p.Groups)
	case p.OtherSystem:
		return 1, int32(p.Groups)
	}
	return 0, int32(p.Groups)
}

// names are what systems and groups are called. Run keeps runs against one server
// apart.
type names struct{ Run string }

func (n names) system(i int32) string { return fmt.Sprintf("bench-%s-%d", n.Run, i) }

func (n names) group(i int32) string {
	if i < 0 {
		return "none"
	}
	return "g" + strconv.Itoa(int(i))
}

// replacer fills in a client's URL and first messages.
func (n names) replacer(system, group int32, client int) *strings.Replacer {
	return strings.NewReplacer("{system}", n.system(system), "{group}", n.group(group), "{index}", strconv.Itoa(client))
}

// A place is where clients connect, or where pushes go: a URL, of which the path and the
// query may hold placeholders.
type place struct {
	secure bool   // wss or https
	host   string // as it was written: with a port, or without
	addr   string // host:port
	target string // path and query as in the request line
}

func parseWebSocketURL(s string) (place, error) { return parseURL(s, "ws") }

func parseHTTPURL(s string) (place, error) { return parseURL(s, "http") }

// parseURL reads a URL of a scheme, or with an s behind it of its encrypted form.
func parseURL(s, scheme string) (p place, err error) {
	name, rest, ok := strings.Cut(s, "://")
	i := strings.IndexAny(rest, "/?#")
	if i < 0 {
		i = len(rest)
	}
	if _, host, userinfo := strings.Cut(rest[:i], "@"); userinfo {
		return p, fmt.Errorf("%q: want no user and password in it; say -header 'Authorization: …'", name+"://…@"+host) // which is nobody's to read
	}
	p.secure = name == scheme+"s"
	switch {
	case !ok || name != scheme && !p.secure:
		return p, fmt.Errorf("%q: want %s://host:port/path, or %ss://", s, scheme, scheme)
	case strings.ContainsAny(s, " \r\n\t"):
		return p, fmt.Errorf("%q: want a URL without blanks", s)
	case strings.Contains(rest, "#"):
		return p, fmt.Errorf("%q: want a URL without a fragment", s)
	case strings.ContainsAny(rest[:i], "{}"):
		return p, fmt.Errorf("%q: want placeholders behind the host only", s)
	}
	p.host, p.target = rest[:i], rest[i:]
	if !strings.HasPrefix(p.target, "/") {
		p.target = "/" + p.target
	}
	p.addr, err = withPort(p.host, map[bool]string{false: "80", true: "443"}[p.secure])
	return p, err
}

// withPort adds the port if there is none.
func withPort(addr, usual string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	var missing *net.AddrError
	if errors.As(err, &missing) && missing.Err == "missing port in address" {
		host, port, err = strings.Trim(addr, "[]"), usual, nil
	}
	if n, err2 := strconv.ParseUint(port, 10, 16); err != nil || err2 != nil || n == 0 || host == "" {
		return "", fmt.Errorf("%q: want host:port", addr)
	}
	return net.JoinHostPort(host, port), nil
}

// tls is how to encrypt what goes to the place; nil for not at all. Insecure takes any
// certificate.
func (p place) tls(insecure bool) *tls.Config {
	if !p.secure {
		return nil
	}
	host, _, _ := net.SplitHostPort(p.addr) // withPort has made it
	return &tls.Config{ServerName: host, InsecureSkipVerify: insecure, NextProtos: []string{"http/1.1"}}
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback() && ip.To4() != nil)
}

// listenerPID finds the process of this machine that listens on addr; 0 if it cannot
// be told.
func listenerPID(addr string) int {
	_, port, err := net.SplitHostPort(addr)
	n, err2 := strconv.Atoi(port)
	if err != nil || err2 != nil || !isLoopback(addr) {
		return 0
	}
	return machine.ListenerPID(n)
}
