// Command peers compares Carillon with other Go libraries at the same job: clients
// of systems and groups on WebSocket, and HTTP calls that push to them.
//
//	go run . -compare                                  # everything, about 25 minutes
//	go run . -compare -only floor,carillon -rounds 1   # less of it
//	go run . -compare -json compare.json               # with the figures of each run
//	go run . -serve gws -addr 127.0.0.1:9992           # one peer, to try it by hand
//
// -compare must run in this folder. It builds Carillon's server and its load
// generator, gives each contender in turn, in a process of its own, the same
// scenarios, and prints one table: medians, and ratios to the floor of the same
// round. Compressing is off, and every server keeps its defaults but for what its
// file here says.
//
// The peers are the floor (epoll and write(2), nothing else), gws, gorilla, nbio's
// own HTTP and WebSocket layers, and centrifuge. Each serves /ws?system_id=S&group_name=G
// and the four /push_to_… calls, keeps its clients in maps under a mutex (centrifuge:
// in channels of its own), and pings them as often as Carillon does.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	var o compareOptions
	compareAll := flag.Bool("compare", false, "run every contender through every scenario and print the table")
	name := flag.String("serve", "", "serve as the peer of this `name`: "+strings.Join(peerNames(), ", "))
	addr := flag.String("addr", "127.0.0.1:9991", "with -serve: `host:port` to listen on")
	onMessage := flag.String("on-message", "ignore", "with -serve: `what` becomes of a client's message: ignore, echo")
	only := flag.String("only", "", "with -compare: `names` of the contenders, separated by commas")
	flag.IntVar(&o.Conns, "conns", 10_000, "with -compare: connections")
	flag.IntVar(&o.Size, "size", 128, "with -compare: `bytes` of data in a message")
	flag.DurationVar(&o.Duration, "duration", 10*time.Second, "with -compare: how long each scenario lasts")
	flag.IntVar(&o.Rounds, "rounds", 3, "with -compare: how often everything is done; the table shows medians")
	flag.IntVar(&o.Load, "load", 20_000, "with -compare: deliveries a second of the fan-out whose latency is measured")
	flag.StringVar(&o.json, "json", "", "with -compare: write the figures to this `file`")
	flag.Parse()
	err, status := o.check(*only), 2 // of a wrong command line, as package flag ends the program too
	switch {
	case flag.NArg() > 0:
		err = fmt.Errorf("%q: want only flags", flag.Arg(0))
	case err != nil:
	case *compareAll == (*name != ""):
		err = errors.New("want either -compare or -serve NAME")
	case *onMessage != "ignore" && *onMessage != "echo":
		err = fmt.Errorf("-on-message %q: want ignore or echo", *onMessage)
	case *compareAll:
		err, status = compare(o), 1
	case !slices.Contains(peerNames(), *name):
		err = fmt.Errorf("-serve %q: want one of %s", *name, strings.Join(peerNames(), ", "))
	default:
		err, status = serve(*name, *addr, *onMessage == "echo"), 1
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(status)
	}
}
