package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"carillon/bench/report"
)

// A plan is what a run is asked for; the guest reads it as JSON.
type plan struct {
	Clients int
	Hold    time.Duration
}

// serverFlags are the defaults but for the heartbeat. By default a million clients
// are pinged 18,500 times a second, which an emulated CPU has no time for: here it
// is at most 1,500. And while each of them is sent a message, an answer to a ping
// may wait behind all others'.
func (p plan) serverFlags() []string {
	return []string{"-addr", addr, "-ping-interval", p.heartbeat().String(), "-pong-timeout", "5m"}
}

// heartbeat is how often an idle client is pinged.
func (p plan) heartbeat() time.Duration {
	return max(15*time.Second, time.Duration(p.Clients/1500)*time.Second)
}

func main() {
	if len(os.Args) == 2 && (os.Args[1] == prepareArg || os.Args[1] == loadArg) && os.Getpid() == 1 {
		guestMain()
		return
	}
	p, m, out, err := parseFlags()
	status := 2 // of a wrong command line, as package flag ends the program too
	if err == nil {
		err, status = hostMain(p, m, out), 1
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "million:", err)
		os.Exit(status)
	}
}

func parseFlags() (p plan, m guestMachine, json string, err error) {
	flag.IntVar(&p.Clients, "n", 20_000, "`number` of clients, from 1,000 to 2,000,000")
	flag.DurationVar(&p.Hold, "hold", 30*time.Second, "`time` for which they are idle")
	flag.StringVar(&m.accel, "accel", "tcg", "what runs the guest, `tcg|kvm`: software, or the CPU itself where the host lets it")
	flag.StringVar(&m.kernel, "kernel", "", "`file` with the guest's kernel")
	flag.StringVar(&m.server, "server", "", "`file` with the server, linked statically")
	flag.DurationVar(&m.limit, "limit", 90*time.Minute, "`time` after which the guest is ended")
	flag.StringVar(&json, "json", "", "`file` for the result, instead of standard output")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Flags; bench/million/run.sh gives -kernel and -server:")
		flag.PrintDefaults()
	}
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q; flags begin with -", flag.Arg(0))
	case p.Clients < 1000 || p.Clients > 2_000_000:
		err = fmt.Errorf("-n %d: want 1000 to 2000000", p.Clients)
	case p.Hold < 0 || p.Hold >= m.limit:
		err = fmt.Errorf("-hold %v: want no less than 0, and less than the %v of -limit", p.Hold, m.limit)
	case m.accel != "tcg" && m.accel != "kvm":
		err = fmt.Errorf("-accel %q: want tcg or kvm", m.accel)
	case m.kernel == "" || m.server == "":
		err = errors.New("want -kernel and -server; bench/million/run.sh gives both")
	}
	return p, m, json, err
}

// hostMain runs the guest, and writes its result to a file.
func hostMain(p plan, m guestMachine, out string) error {
	if err := report.Writable(out); err != nil {
		return fmt.Errorf("-json: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := m.run(ctx, p)
	if err != nil {
		return err
	}
	if err := r.write(out); err != nil {
		return err
	}
	return r.failed()
}
