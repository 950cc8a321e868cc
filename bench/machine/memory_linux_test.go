package machine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKilobytes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "meminfo")
	if err := os.WriteFile(file, []byte("MemTotal:  2048 kB\nHugePages_Total:  7\nPss: 1 kB\n\nRange: 1 - 2 kB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := kilobytes(file)
	if len(got) != 2 || got["MemTotal"] != 2<<20 || got["Pss"] != 1<<10 {
		t.Errorf("%v", got)
	}
	if got := kilobytes(file + "x"); len(got) != 0 {
		t.Errorf("of no file: %v", got)
	}
	m := Memory()
	if m["MemTotal"] < 1<<26 || m["MemFree"] > m["MemTotal"] || KernelMemory() < 0 || Retransmitted() < 0 {
		t.Errorf("%v", m)
	}
}
