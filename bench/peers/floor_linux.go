package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// floorServer is the least that does the job in Go: an epoll loop per processor, a
// handshake without checks, and one write(2) per receiver, on as many goroutines as
// there are loops. It trusts its clients and queues nothing: a push waits for a full
// socket. It is what the others are compared with, not something to use.
type floorServer struct {
	hub      *hub[*floorConn]
	echo     bool
	listener int           // descriptor
	api      *handListener // takes the connections that are not for /ws
}

// floorMaxPartial bounds what waits to be whole, in bytes.
const floorMaxPartial = 64 << 10

func startFloor(ln net.Listener, echo bool) (stop func(), err error) {
	s := &floorServer{hub: newHub[*floorConn](), echo: echo, api: &handListener{ln, make(chan net.Conn), make(chan struct{})}}
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := raw.Control(func(fd uintptr) { s.listener = int(fd) }); err != nil {
		return nil, err
	}
	for range runtime.GOMAXPROCS(0) {
		epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("epoll_create1: %w", err)
		}
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: int32(s.listener)}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, s.listener, &event); err != nil {
			return nil, fmt.Errorf("epoll_ctl: %w", err)
		}
		go s.loop(epoll)
	}
	return serveHTTP(s.api, http.NotFoundHandler(), s.push), nil
}

// loop runs until the process ends: it needs no better end, since a stop closes the
// listener and clients close themselves.
func (s *floorServer) loop(epoll int) {
	conns := map[int]*floorConn{}
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, event := range events[:max(n, 0)] {
			fd := int(event.Fd)
			if fd == s.listener {
				if fd, ok := s.accept(epoll); ok {
					conns[fd] = &floorConn{fd: fd}
				}
				continue
			}
			c := conns[fd]
			if c == nil { // closed, but a program that is being started still has it (epoll(7), Q6)
				continue
			}
			n, err := syscall.Read(fd, buf)
			if err == syscall.EAGAIN || err == syscall.EINTR {
				continue
			}
			data := buf[:max(n, 0)]
			if len(c.partial) > 0 {
				data = append(c.partial, data...)
			}
			if n <= 0 || len(data) > floorMaxPartial {
				delete(conns, fd)
				s.close(c)
				continue
			}
			rest, handedOver, ok := s.read(epoll, c, data)
			if handedOver || !ok {
				delete(conns, fd)
			}
			if !ok {
				s.close(c)
			}
			c.partial = append([]byte(nil), rest...) // nil when nothing is left
		}
	}
}

func (s *floorServer) accept(epoll int) (fd int, ok bool) {
	fd, _, err := syscall.Accept4(s.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	if err != nil {
		return 0, false // another loop took it
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // as net does
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		_ = syscall.Close(fd)
		return 0, false
	}
	return fd, true
}

func (s *floorServer) close(c *floorConn) {
	s.hub.leave(c.who, c)
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = syscall.Close(c.fd)
	c.fd = -1
}

// read takes what is whole from data and returns the rest. It is not ok when the
// connection must end.
func (s *floorServer) read(epoll int, c *floorConn, data []byte) (rest []byte, handedOver, ok bool) {
	if c.who.id == "" {
		head, rest, whole := bytes.Cut(data, []byte("\r\n\r\n"))
		if !whole {
			return data, false, true
		}
		if !bytes.HasPrefix(head, []byte("GET /ws?")) {
			_ = unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, c.fd, nil)
			s.api.hand(c.fd, bytes.Clone(data))
			return nil, true, true
		}
		if !s.upgrade(c, string(head)) {
			return nil, false, false
		}
		data = rest
	}
	for {
		opcode, payload, rest, whole := cutFrame(data)
		if !whole {
			return data, false, true
		}
		data = rest
		switch {
		case opcode == 8:
			c.write(appendFrame(nil, 8, payload))
			return nil, false, false
		case opcode == 9:
			c.write(appendFrame(nil, 10, payload))
		case opcode <= 2 && s.echo:
			c.write(appendFrame(nil, opcode, payload))
		}
	}
}

func (s *floorServer) upgrade(c *floorConn, head string) bool {
	line, headers, _ := strings.Cut(head, "\r\n")
	path, _, _ := strings.Cut(strings.TrimPrefix(line, "GET /ws?"), " ")
	query, err := url.ParseQuery(path)
	if err != nil {
		return false
	}
	who, err := identify(query)
	if err != nil {
		return false
	}
	key := ""
	for h := range strings.SplitSeq(headers, "\r\n") {
		if name, value, _ := strings.Cut(h, ":"); strings.EqualFold(name, "Sec-WebSocket-Key") {
			key = strings.TrimSpace(value)
		}
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := append([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "),
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n"...)
	c.who = who
	c.mu.Lock() // a push that comes now is written behind the answer
	defer c.mu.Unlock()
	s.hub.join(who, c)
	c.writeLocked(appendFrame(answer, 1, welcome(who)))
	return true
}

// push spreads the receivers over the processors. It returns when all are written to.
func (s *floorServer) push(to target, text []byte) (int, error) {
	clients := s.hub.match(to)
	frame := appendFrame(nil, 1, text)
	var done sync.WaitGroup
	part := len(clients)/runtime.GOMAXPROCS(0) + 1
	for rest := clients; len(rest) > 0; {
		mine := rest[:min(part, len(rest))]
		rest = rest[len(mine):]
		done.Go(func() {
			for _, c := range mine {
				c.write(frame)
			}
		})
	}
	done.Wait()
	return len(clients), nil
}
