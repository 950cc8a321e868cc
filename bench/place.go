package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
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

// A webSocketURL is where clients connect.
type webSocketURL struct {
	addr   string // host:port
	target string // path and query as in the request line; may hold templates
}

func parseWebSocketURL(s string) (u webSocketURL, err error) {
	rest, ok := strings.CutPrefix(s, "ws://")
	if !ok {
		return u, fmt.Errorf("%q: want ws://host:port/path", s)
	}
	if strings.ContainsAny(s, " \r\n\t") {
		return u, fmt.Errorf("%q: want a URL without blanks", s)
	}
	i := strings.IndexAny(rest, "/?")
	if i < 0 {
		i = len(rest)
	}
	u.addr, u.target = rest[:i], rest[i:]
	if !strings.HasPrefix(u.target, "/") {
		u.target = "/" + u.target
	}
	return u, checkAddr(&u.addr)
}

// checkAddr adds port 80 if there is none.
func checkAddr(addr *string) error {
	host, port, err := net.SplitHostPort(*addr)
	var missing *net.AddrError
	if errors.As(err, &missing) && missing.Err == "missing port in address" {
		host, port, err = *addr, "80", nil
		*addr = net.JoinHostPort(host, port)
	}
	if n, err2 := strconv.ParseUint(port, 10, 16); err != nil || err2 != nil || n == 0 || host == "" {
		return fmt.Errorf("%q: want host:port", *addr)
	}
	return nil
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

// parseHTTPURL splits http://host:port/path, whose path may hold templates.
func parseHTTPURL(s string) (addr, target string, err error) {
	u, err := url.Parse(strings.NewReplacer("{", "%7B", "}", "%7D").Replace(s))
	if err != nil || u.Scheme != "http" {
		return "", "", fmt.Errorf("%q: want http://host:port/path", s)
	}
	addr = u.Host
	_, rest, _ := strings.Cut(s, "://")
	if target = rest[len(u.Host):]; !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return addr, target, checkAddr(&addr)
}
