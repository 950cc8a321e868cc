package main

import (
	"os/signal"
	"syscall"
)

// ignoreInterrupt is for a child of this program: its parent decides when it ends.
func ignoreInterrupt() { signal.Ignore(syscall.SIGINT) }
