package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"carillon/bench/stamp"
)

// A config is what the command line says.
type config struct {
	scenario *scenario

	// What is tested.
	urls, pushURLs       []string
	headers, hello       []string
	pids                 []int
	push                 string // http or ws
	pushBody, pushType   string
	idKey                string
	ready                int // -1 for what the scenario needs
	servers              int
	serverFlags          string
	label                string
	insecureTLS          bool
	pushURLGiven, urlSet bool

	// The load.
	conns, procs, sources, connecting int
	receivers, groups                 int
	target                            string
	size                              int
	rate, pushRate                    float64
	duration                          time.Duration
	inflight, senders                 int
	floor                             bool
	seed                              uint64
	timeout                           time.Duration

	// What is printed.
	json, html string
	quiet      bool
}

// defaultURL is where a server that was started without flags listens.
const (
	defaultPlace = "ws://127.0.0.1:9991"
	defaultURL   = defaultPlace + "/ws?system_id={system}&group_name={group}"
)

// connsPerProcess is below the 20,000 descriptors that a process may have.
const connsPerProcess = 17_000

// A flagSet is a flag.FlagSet whose flags are grouped in -h.
type flagSet struct {
	*flag.FlagSet
	groups []flagGroup
}

type flagGroup struct {
	title string
	names []string
}

func (f *flagSet) group(title string) { f.groups = append(f.groups, flagGroup{title: title}) }

func (f *flagSet) add(v flag.Value, name, usage string) {
	f.Var(v, name, usage)
	g := &f.groups[len(f.groups)-1]
	g.names = append(g.names, name)
}

func (f *flagSet) help(w io.Writer, s *scenario) {
	fmt.Fprintf(w, "%s: %s\n\nUsage: go run ./bench %s [flags]\n", s.name, s.about, s.name)
	for _, g := range f.groups {
		fmt.Fprintf(w, "\n%s\n", g.title)
		for _, name := range g.names {
			fl := f.Lookup(name)
			value, usage := flag.UnquoteUsage(fl)
			fmt.Fprintf(w, "  %s\n      %s", strings.TrimSpace("-"+name+" "+value), usage)
			if fl.DefValue != "" && fl.DefValue != "false" && fl.DefValue != "0" && fl.DefValue != "-1" {
				fmt.Fprintf(w, " (default %s)", fl.DefValue)
			}
			fmt.Fprintln(w)
		}
	}
}

// errHelp means that -h was asked for, and printed.
var errHelp = errors.New("help")

// parseFlags reads what follows the scenario's name.
func parseFlags(s *scenario, args []string, stdout io.Writer) (*config, error) {
	c := &config{scenario: s, push: "http", target: "system", ready: -1}
	f := &flagSet{FlagSet: flag.NewFlagSet(s.name, flag.ContinueOnError)}
	f.SetOutput(io.Discard) // our caller prints the error, on one line
	var pids []string

	if !s.ownServer {
		c.addServerFlags(f, &pids)
	}
	f.group("The load")
	f.add(integer{&c.conns, 1, 10_000_000}.init(s.conns), "conns", "`number` of clients")
	f.add(integer{&c.conns, 1, 10_000_000}, "n", "`number` of clients, the same as -conns")
	if s.receivers {
		f.add(oneOf{&c.target, []string{"system", "group", "all"}}, "target", "whom a push is for, `system|group|all`")
		f.add(integer{&c.receivers, 0, 10_000_000}.init(0), "receivers", "`number` of clients that a push is for, the others are in another system or group; 0 for all of them")
	}
	if s.groups > 0 {
		f.add(integer{&c.groups, 1, 1_000_000}.init(s.groups), "groups", "`number` of groups that the clients are spread over")
	}
	if s.size {
		f.add(integer{&c.size, stamp.Len, 1 << 20}.init(128), "size", fmt.Sprintf("payload of a message in `bytes`; the first %d are what it is checked by", stamp.Len))
	}
	if s.rateOf != "" {
		f.add(decimal{&c.rate}.init(s.rate), "rate", "`number` of "+s.rateOf+" a second, on a schedule that does not wait for the server; 0 for as fast as possible with a bounded number under way")
	}
	if s.pushRate > 0 {
		f.add(decimal{&c.pushRate}.init(s.pushRate), "push-rate", "`number` of pushes to many a second meanwhile; 0 for none")
	}
	if s.duration > 0 {
		f.add(span64{&c.duration}.init(s.duration), "duration", "`time` that it takes, connecting not included")
	}
	if s.inflight != "" {
		f.add(integer{&c.inflight, 1, 100_000}.init(s.inflightN), "inflight", "`number` of "+s.inflight)
	}
	if s.senders {
		f.add(integer{&c.senders, 1, 256}.init(8), "senders", "`number` of HTTP connections to push over")
	}
	if s.seeded {
		f.add(unsigned{&c.seed}.init(1), "seed", "`number` that the order of events follows from")
	}
	if s.floors {
		f.add(yes{&c.floor}, "floor", "also push to as many clients of a bare write loop, in turns with the server, and print the ratio")
	}

	f.group("The clients")
	f.add(integer{&c.procs, 0, 256}.init(0), "procs", fmt.Sprintf("`number` of processes that hold them; 0 for one per %d clients, and at least one per server", connsPerProcess))
	f.add(integer{&c.sources, -1, 60_000}.init(-1), "sources", "`number` of source addresses to a server on loopback, from 127.0.0.2, so that ports do not run out; 0 to leave it to the system; by default, on Linux, one per 10,000 clients and at least 16")
	f.add(integer{&c.connecting, 1, 10_000}.init(128), "connecting", "`number` of connections that may be on their way at once")
	f.add(span64{&c.timeout}.init(10*time.Second), "timeout", "`time` for one connection, for what is still to come at the end, and that a schedule may fall behind")

	f.group("The report")
	f.add(text{&c.json}.init(""), "json", "`file` to write the result to")
	f.add(text{&c.html}.init(""), "html", "`file` to write a page with charts to")
	f.add(yes{&c.quiet}, "quiet", "print nothing while it runs")

	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.help(stdout, s)
		return nil, errHelp
	case err != nil:
		return nil, usage(unknownFlag(err, s.name))
	case f.NArg() > 0:
		return nil, usage(fmt.Errorf("unexpected argument %q; flags begin with -", f.Arg(0)))
	}
	for _, p := range pids {
		pid, err := strconv.Atoi(p)
		if err != nil || pid < 1 {
			return nil, usage(fmt.Errorf("-pid %q: want the ID of a process", p))
		}
		if !slices.Contains(c.pids, pid) {
			c.pids = append(c.pids, pid)
		}
	}
	return c, usage(c.check())
}

// addServerFlags adds those that say what is tested.
func (c *config) addServerFlags(f *flagSet, pids *[]string) {
	s := c.scenario
	f.group("What is tested: a Carillon at 127.0.0.1:9991, or another server by these")
	f.add(integer{&c.servers, 0, 64}.init(0), "servers", "build Carillon and start `N` of it on free ports, to be ended with the run; 0 to use what runs at -url")
	f.add(text{&c.serverFlags}.init(""), "server-flags", "`flags` for these, such as '-pollers 1 -max-queue 1MiB'")
	f.add(&list{p: &c.urls}, "url", "where clients connect, a `URL` ws://host:port/path, or wss://; {system}, {group} and {index} are filled in for each client. Repeated, the client processes take them in turn (default "+defaultURL+")")
	f.add(&list{p: pids}, "pid", "process `ID` of the server, for its CPU and memory; once for each process. By default, the one that listens at -url, if it is on this machine")
	f.add(&list{p: &c.headers}, "header", "a `header`, 'Name: value', to send along with every handshake and push; may be repeated")
	f.add(&list{p: &c.hello}, "hello", "`text` message that a client sends first; may be repeated; templates as in -url")
	f.add(text{&c.idKey}.init("client_id"), "id-key", "JSON `key` of the client's id in the first message that has one; empty if there are no ids")
	f.add(integer{&c.ready, -1, 1000}.init(-1), "ready-messages", "`number` of messages that a client waits for before it counts as connected; by default 1 if there is an -id-key, except in echo and floor")
	f.add(text{&c.label}, "label", "`name` of the server in the report (default carillon, or with -url the host of it)")
	f.add(yes{&c.insecureTLS}, "insecure-tls", "take any certificate of a wss:// or https:// server, such as one that it signed itself")
	if s.pushes {
		f.add(oneOf{&c.push, []string{"http", "ws"}}, "push", "how to push, `http|ws`: by an HTTP call, or by a message that a client of its own sends")
		f.add(&list{p: &c.pushURLs}, "push-url", "`URL` to push to, once for each -url: http://host:port/path, or https://; {target} is system, group, all or client (default http://HOST/push_to_{target}); with -push ws where the pushing client connects (default -url)")
		f.add(text{&c.pushBody}.init(""), "push-body", "`text` of the call or message; {data}, {client_id}, {group}, {system} and {target} are filled in; default: the fields of Carillon's call")
		f.add(text{&c.pushType}.init("application/json"), "push-type", "content `type` of it, which also says how what is filled in is written: quoted for JSON, escaped for a form, as it is for all else")
	}
}

// check completes the configuration and refuses what does not go together.
func (c *config) check() error {
	s := c.scenario
	c.urlSet, c.pushURLGiven = len(c.urls) > 0, len(c.pushURLs) > 0
	switch {
	case c.servers > 0 && (c.urlSet || c.pushURLGiven || len(c.pids) > 0):
		return errors.New("-servers: want no -url, -push-url and -pid with it, they say where a running server is")
	case c.serverFlags != "" && c.servers == 0:
		return errors.New("-server-flags: want -servers with it, a running server has its flags")
	case c.push == "ws" && c.pushBody == "" && s.pushes:
		return errors.New("-push ws: want -push-body with it, the message that has the server push {data}")
	case s.pushes && c.pushBody != "" && !strings.Contains(c.pushBody, "{data}"):
		return fmt.Errorf("-push-body %q: want {data} in it", c.pushBody)
	}
	if !c.urlSet {
		c.urls = []string{defaultURL}
	}
	secure := c.servers > 0
	for _, u := range c.urls {
		p, err := parseWebSocketURL(u)
		if err != nil {
			return fmt.Errorf("-url %w", err)
		}
		secure = secure || p.secure
	}
	if n := len(c.pushURLs); n > 0 && n != len(c.urls) {
		return fmt.Errorf("-push-url: want one for each -url, %d, not %d", len(c.urls), n)
	}
	for _, u := range c.pushURLs {
		parse := parseHTTPURL
		if c.push == "ws" {
			parse = parseWebSocketURL
		}
		p, err := parse(u)
		if err != nil {
			return fmt.Errorf("-push-url %w", err)
		}
		secure = secure || p.secure
	}
	if c.insecureTLS && !secure {
		return errors.New("-insecure-tls: want a wss:// or https:// URL with it")
	}
	for _, h := range c.headers {
		if name, _, ok := strings.Cut(h, ":"); !ok || name == "" || strings.ContainsAny(h, "\r\n") {
			return fmt.Errorf("-header %q: want 'Name: value'", h)
		}
	}
	if err := c.checkTemplates(); err != nil {
		return err
	}
	c.label = cmp.Or(c.label, c.defaultLabel())
	if c.receivers > c.conns {
		return fmt.Errorf("-receivers %d: want at most the %d of -conns", c.receivers, c.conns)
	}
	if c.receivers == 0 || c.target == "all" {
		c.receivers = c.conns
	}
	if s.churns && c.inflight >= c.conns {
		return fmt.Errorf("-inflight %d: want less than the %d of -conns: the others stay", c.inflight, c.conns)
	}
	if (s.churns || s.name == "unicast") && c.idKey == "" {
		return fmt.Errorf("-id-key: want the key of the client's id, %s addresses clients", s.name)
	}
	c.groups = max(c.groups, 1)
	if c.sources < 0 {
		c.sources = defaultSources(c.conns)
	}
	if c.procs == 0 {
		c.procs = max((c.conns+connsPerProcess-1)/connsPerProcess, c.servers, len(c.urls))
	}
	if n := max(c.servers, len(c.urls)); c.procs < n {
		return fmt.Errorf("-procs %d: want at least one for each of %d servers", c.procs, n)
	}
	if c.ready < 0 {
		c.ready = 0
		if c.idKey != "" && !s.noWelcome {
			c.ready = 1
		}
	}
	return nil
}

// carillonName is what the server of this module is called in reports.
const carillonName = "carillon"

// defaultLabel is what a server is called that the command line does not name: one that
// runs at a URL may be any.
func (c *config) defaultLabel() string {
	if !c.urlSet {
		return carillonName
	}
	var hosts []string
	for _, u := range c.urls {
		if p, err := parseWebSocketURL(u); err == nil && !slices.Contains(hosts, p.host) {
			hosts = append(hosts, p.host)
		}
	}
	if more := len(hosts) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", hosts[0], more)
	}
	return hosts[0]
}

// unknownFlag says where the flags are listed, to who has not found one.
func unknownFlag(err error, command string) error {
	if strings.HasPrefix(err.Error(), "flag provided but not defined") {
		return fmt.Errorf("%w: want one of those that `go run ./bench %s -h` lists", err, command)
	}
	return err
}
