package main

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// availableMemory is the memory of the control group that the process is in, or
// else of the machine, in bytes; 0 where neither is known. root is the root of the
// file system.
func availableMemory(root string) int64 {
	least := machineMemory(filepath.Join(root, "proc/meminfo"))
	for _, file := range cgroupFiles(root) {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max" is no number
		if err == nil && n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// cgroupFiles are where limits may stand: for version 2 in the group and those
// above it, for version 1 in its place, and for both at the top, which is where a
// container sees its own.
func cgroupFiles(root string) (files []string) {
	v2, v1 := filepath.Join(root, "sys/fs/cgroup"), filepath.Join(root, "sys/fs/cgroup/memory")
	files = []string{filepath.Join(v2, "memory.max"), filepath.Join(v1, "memory.limit_in_bytes")}
	b, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0":
			for dir := parts[2]; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
				files = append(files, filepath.Join(v2, dir, "memory.max"))
			}
		case strings.Contains(parts[1], "memory"):
			files = append(files, filepath.Join(v1, parts[2], "memory.limit_in_bytes"))
		}
	}
	return files
}

func machineMemory(meminfo string) int64 {
	b, err := os.ReadFile(meminfo)
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
