package machine

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// Memory is /proc/meminfo, in bytes by name: MemTotal, MemAvailable, Slab and others.
// It is empty if that cannot be read.
func Memory() map[string]int64 { return kilobytes("/proc/meminfo") }

// kilobytes reads a file of lines such as "Pss:  12 kB", in bytes by name.
func kilobytes(file string) map[string]int64 {
	values := map[string]int64{}
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "kB" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			values[strings.TrimSuffix(f[0], ":")] = kb << 10
		}
	}
	return values
}

// KernelMemory is what the whole machine's kernel holds for objects such as
// sockets, and in the buffers of TCP, in bytes; 0 if it is not known. Whatever else
// happens on the machine is in it.
func KernelMemory() (bytes int64) {
	if bytes = Memory()["Slab"]; bytes == 0 {
		return 0
	}
	b, _ := os.ReadFile("/proc/net/sockstat")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "TCP:" {
			pages, _ := strconv.ParseInt(f[len(f)-1], 10, 64)
			bytes += pages * int64(os.Getpagesize())
		}
	}
	return bytes
}

// SocketObjects is what the kernel's objects for one TCP socket in an epoll take,
// in bytes, without its buffers. Only root may read it.
func SocketObjects() (bytes int64, known bool) {
	b, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0, false
	}
	each := map[string]bool{
		"TCP": true, "sock_inode_cache": true, "filp": true, "dentry": true,
		"eventpoll_epi": true, "ep_head": true, "lsm_inode_cache": true, "lsm_file_cache": true,
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && each[f[0]] {
			size, _ := strconv.ParseInt(f[3], 10, 64)
			bytes += size
			known = known || f[0] == "TCP"
		}
	}
	return bytes, known
}

// Retransmitted is how many segments TCP has sent again since the machine began.
func Retransmitted() (n int) {
	b, _ := os.ReadFile("/proc/net/snmp")
	var names []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Tcp:" {
			continue
		}
		if i := slices.Index(names, "RetransSegs"); i > 0 && i < len(f) {
			n, _ = strconv.Atoi(f[i])
		}
		names = f // the line before the one with the values
	}
	return n
}
