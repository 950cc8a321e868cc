package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"carillon/engine/ws"
)

// The floor is the least that a push server written in Go can do: it accepts,
// answers the handshake, and on a push writes one frame to every socket in a loop
// of write(2) on each CPU. It reads nothing, checks nothing and keeps nothing but
// descriptors. The write does not tell Go's scheduler (writeOnce), which makes it the
// lower bound: what a real server costs is judged as a ratio to it.

const floorFlag = "-floor-server"

type floorServer struct {
	mu      sync.Mutex // guards fds, and makes pushes take turns
	fds     []int
	waiting chan struct{} // slots of connections that were accepted and not yet read
}

// floorMain is main in the floor's process, which ends with its standard input.
func floorMain() int {
	ignoreInterrupt()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		return 1
	}
	fmt.Printf("floor: ws://%s/\n", ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	f := &floorServer{waiting: make(chan struct{}, 512)}
	for {
		conn, err := ln.Accept()
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors, until some come back
			continue
		}
		f.waiting <- struct{}{}
		go f.serve(conn)
	}
}

// serve answers a handshake and keeps the descriptor, or answers pushes until the
// connection ends.
func (f *floorServer) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReaderSize(conn, 1<<10)
	req, err := http.ReadRequest(r)
	<-f.waiting
	if err != nil {
		return
	}
	if strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
		answer := ws.AppendSwitchingProtocols(nil, req.Header.Get("Sec-WebSocket-Key"), "", "")
		if fd, err := bare(conn.(*net.TCPConn)); err == nil {
			f.mu.Lock()
			f.fds = append(f.fds, fd)
			f.mu.Unlock()
			_, _ = syscall.Write(fd, answer)
		}
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	for {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		f.push(ws.AppendFrame(nil, ws.OpText, body))
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
		if req, err = http.ReadRequest(r); err != nil {
			return
		}
	}
}

// bare duplicates the descriptor; Go's own is closed with conn.
func bare(conn *net.TCPConn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	if err2 := raw.Control(func(orig uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, err = syscall.Dup(int(orig)); err == nil {
			syscall.CloseOnExec(fd)
		}
	}); err2 != nil {
		return -1, err2
	}
	return fd, err
}

// push writes the frame to everyone. It forgets those that are gone.
func (f *floorServer) push(frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	loops := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for k := range loops {
		part := f.fds[k*len(f.fds)/loops : (k+1)*len(f.fds)/loops]
		wg.Go(func() {
			for i, fd := range part {
				if !writeBare(fd, frame) {
					_ = syscall.Close(fd)
					part[i] = -1
				}
			}
		})
	}
	wg.Wait()
	alive := f.fds[:0]
	for _, fd := range f.fds {
		if fd >= 0 {
			alive = append(alive, fd)
		}
	}
	f.fds = alive
}

func writeBare(fd int, b []byte) bool {
	for deadline := (time.Time{}); ; {
		n, err := writeOnce(fd, b)
		if n == len(b) {
			return true
		}
		b = b[max(n, 0):]
		switch err {
		case nil, syscall.EINTR:
		case syscall.EAGAIN: // the client does not keep up: wait, as there is no queue
			if deadline.IsZero() {
				deadline = time.Now().Add(10 * time.Second)
			}
			if time.Now().After(deadline) {
				return false
			}
			time.Sleep(time.Millisecond)
		default:
			return false
		}
	}
}
