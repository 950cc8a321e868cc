package main

import (
	"syscall"

	"carillon/engine"
	"carillon/httpapi"
)

// raiseDescriptorLimit raises the soft limit to the hard one, and returns it.
func raiseDescriptorLimit() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	l.Cur = l.Max
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	if err != nil {
		_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	}
	return uint64(l.Cur), err
}

// A share is what descriptors are for.
type share struct {
	clients int // for as many
	api     int // connections at -api-addr
}

// fewClients is what is worth a warning: a server for that few is not what this is.
const fewClients = 1000

// shareOut shares descriptors out. Most are for clients. An eighth, but no more than it
// can use, is for the API; some are for handshakes that are refused; and six for each
// loop, and some for files and logs, for the process itself.
func shareOut(descriptors uint64, loops int) share {
	const most = 1 << 31 // engine's limit
	s := share{api: int(min(max(descriptors/8, 16), 1024))}
	left := int64(min(descriptors, 2*most)) - int64(httpapi.ListenerDescriptors(s.api)) - 20 - 6*int64(loops)
	s.clients = int(max(left-int64(engine.RefusedAtOnce(int(max(left, 0)))), 1))
	s.clients = min(s.clients, most)
	return s
}
