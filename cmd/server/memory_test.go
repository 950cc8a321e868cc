package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAvailableMemory(t *testing.T) {
	const meminfo = "MemTotal:       1000 kB\nMemFree: 5 kB\n"
	tests := []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing known", nil, 0},
		{"machine", map[string]string{"proc/meminfo": meminfo}, 1000 << 10},
		{"no limit", map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "max\n"}, 1000 << 10},
		{"container", map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "5000\n"}, 5000},
		{"a group above ours", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "7000\n"}, 7000},
		{"version 1", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu:/x\n4:memory:/y\n",
			"sys/fs/cgroup/memory/y/memory.limit_in_bytes": "6000\n"}, 6000},
		{"version 1 without a limit", map[string]string{"proc/meminfo": meminfo,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 1000 << 10},
		{"nonsense", map[string]string{"proc/meminfo": "x\n", "proc/self/cgroup": "x\n", "sys/fs/cgroup/memory.max": "-1"}, 0},
	}
	for _, tt := range tests {
		root := t.TempDir()
		for name, content := range tt.files {
			path := filepath.Join(root, name)
			os.MkdirAll(filepath.Dir(path), 0o755)
			os.WriteFile(path, []byte(content), 0o644)
		}
		if got := availableMemory(root); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := machineMemory("/proc/meminfo"); got < 1<<26 {
		if _, err := os.Stat("/proc/meminfo"); err == nil {
			t.Errorf("this machine has %d bytes?", got)
		}
	}
}
