package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// A signals is what the operator says to the process.
type signals struct {
	stop chan os.Signal
	hup  chan os.Signal // apart, so that many of these displace none of those
}

// listenToSignals begins before all else: a SIGHUP that comes while the server starts
// must not end it.
func listenToSignals() signals {
	s := signals{make(chan os.Signal, 8), make(chan os.Signal, 1)}
	signal.Notify(s.stop, os.Interrupt, syscall.SIGTERM)
	signal.Notify(s.hup, syscall.SIGHUP)
	// Whoever reads the logs may go away; the clients must not go with them.
	signal.Ignore(syscall.SIGPIPE)
	return s
}

// endBefore ends the process if it is told to stop before it has started: it may wait
// for a name server, or for somebody to write keys to a pipe, and there is nobody to be
// told of the end.
func (s signals) endBefore(started <-chan struct{}, stderr io.Writer) {
	select {
	case sig := <-s.stop:
		fmt.Fprintf(stderr, "%s: %v, before it served\n", program, sig)
		os.Exit(0)
	case <-started:
	}
}

// echoTime is for how long the same signal again says nothing new. timeout(1) signals
// its child and then the whole group that the child is in, as others do whose signal a
// shell passes on.
const echoTime = time.Second

// A ladder tells an operator's next word from an echo.
type ladder struct {
	said map[os.Signal]time.Time
}

func (l *ladder) isWord(sig os.Signal, now time.Time) bool {
	if last, ok := l.said[sig]; ok && now.Sub(last) < echoTime {
		return false
	}
	if l.said == nil {
		l.said = map[os.Signal]time.Time{}
	}
	l.said[sig] = now
	return true
}

// words are the signals that are not echoes.
func words(stop <-chan os.Signal) <-chan os.Signal {
	said := make(chan os.Signal, 1)
	go func() {
		var l ladder
		for sig := range stop {
			if l.isWord(sig, time.Now()) {
				said <- sig
			}
		}
	}()
	return said
}
