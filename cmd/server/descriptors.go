package main

import "syscall"

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

// reservedDescriptors are for what is not a client: connections to the API (at
// most 1,024), handshakes that are refused (256), loops, files and logs.
const reservedDescriptors = 1400

// connectionsPossible is how many clients so many descriptors allow.
func connectionsPossible(descriptors uint64) int {
	const most = 1 << 31 // engine's limit
	return int(min(max(descriptors, reservedDescriptors+1)-reservedDescriptors, most))
}
