package main

import (
	"syscall"

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

// connectionsPossible is how many clients so many descriptors allow. The others are
// for connections to the API, on either port, handshakes that are refused (256), six
// for each loop, files and logs.
func connectionsPossible(descriptors uint64, loops int) int {
	const most = 1 << 31 // engine's limit
	reserved := httpapi.ListenerDescriptors + 256 + 20 + 6*uint64(loops)
	return int(min(max(descriptors, reserved+1)-reserved, most))
}
