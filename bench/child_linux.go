package main

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel end the child when this process does, however that
// comes about.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
