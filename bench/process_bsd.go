//go:build unix && !linux

package main

import (
	"os/exec"
	"time"
)

// There is no /proc to read: figures of processes are missing from the results.

func processUsage(int, bool) usage { return usage{} }

func machineCPU() time.Duration { return 0 }

func ownRSS() int64 { return 0 }

func kernelMemory() int64 { return 0 }

func socketObjects() (bytes int64, known bool) { return 0, false }

func dieWithParent(*exec.Cmd) {}

func listenerPID(string) int { return 0 }
