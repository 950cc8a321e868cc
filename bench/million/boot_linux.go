package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"carillon/bench/machine"
)

// A guestMachine is what QEMU is to run.
type guestMachine struct {
	kernel, server string // files
	accel          string // tcg: software, works everywhere
	limit          time.Duration
}

// emulator is what QEMU needs for itself, mostly for what it has translated.
const emulator = 1 << 30

// memory is what n clients need in bytes: of each there are two sockets and what
// waits in them, one connection of the server, and one of the load generator.
func memory(n int) int64 { return 1<<30 + 13<<10*int64(n) }

// kernelArgs are: where its lines go; that it ends when it fails; no care for flaws
// that an emulated CPU does not have, nor for accounts, rules and huge pages, which cost
// one its time; its clock is good though it is late at times, and so are the CPUs; how
// many connections its hash table is for; and what the first process is called with.
const kernelArgs = "console=ttyS0 quiet panic=-1 mitigations=off cgroup_disable=memory apparmor=0 audit=0 " +
	"transparent_hugepage=never tsc=reliable nowatchdog thash_entries=%d -- " + prepareArg

// run boots the machine, and returns what its last line said.
func (m guestMachine) run(ctx context.Context, p plan) (*result, error) {
	need := memory(p.Clients)
	if free := machine.Memory()["MemAvailable"]; free < need+emulator {
		return nil, fmt.Errorf("%d clients want %d MiB of memory, %d MiB are available", p.Clients, (need+emulator)>>20, free>>20)
	}
	dir, err := os.MkdirTemp("", "carillon-million-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	files := filepath.Join(dir, "initrd")
	if err := m.pack(files, p); err != nil {
		return nil, fmt.Errorf("packing the guest's files: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", m.accel,
		"-cpu", "max,-smap,-smep,-la57", "-smp", strconv.Itoa(guestCPUs), "-m", strconv.FormatInt(need>>20, 10),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", m.kernel, "-initrd", files, "-append", fmt.Sprintf(kernelArgs, 2*p.Clients),
	)
	qemu.Stderr = os.Stderr
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	console, err := qemu.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := qemu.Start(); err != nil {
		return nil, err
	}
	r, err := watch(console, os.Stderr)
	if waited := qemu.Wait(); err != nil {
		return nil, errors.Join(err, waited, ctx.Err())
	}
	r.Date, r.Machine, r.Commit = time.Now().UTC().Truncate(time.Second), machine.This(), machine.Commit()
	r.Command = fmt.Sprintf("bench/million/run.sh -n %d -hold %v", p.Clients, p.Hold)
	r.judge()
	return r, nil
}

// pack writes the guest's file system.
func (m guestMachine) pack(file string, p plan) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	init, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	server, err := os.ReadFile(m.server)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	a := archive{w: &b}
	for _, name := range []string{"proc", "sys", "dev"} {
		a.add(name, folder, nil)
	}
	a.add("plan.json", regular, text)
	a.add("init", executable, init)
	a.add("server", executable, server)
	return errors.Join(a.close(), os.WriteFile(file, b.Bytes(), 0o600))
}

// watch copies the console to out until it has the result or ends.
func watch(console io.Reader, out io.Writer) (*result, error) {
	lines := bufio.NewReader(console)
	for {
		line, err := lines.ReadString('\n')
		if _, text, ok := strings.Cut(strings.TrimSpace(line), resultMark); ok {
			r := new(result)
			if err := json.Unmarshal([]byte(text), r); err != nil {
				return nil, fmt.Errorf("the guest's result: %w: %s", err, text)
			}
			_, _ = io.Copy(io.Discard, lines)
			return r, nil
		}
		fmt.Fprint(out, line)
		if err != nil {
			return nil, fmt.Errorf("the guest ended without a result: %w", err)
		}
	}
}
