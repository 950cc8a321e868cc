package engine

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// resources are what a process must give back.
type resources struct{ goroutines, descriptors int }

func resourcesNow(tb testing.TB) resources {
	tb.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return resources{runtime.NumGoroutine(), len(fds)}
}

// givenBack waits until no more is in use than before.
func givenBack(t testing.TB, before resources) {
	t.Helper()
	var now resources
	eventually(t, "goroutines and descriptors are given back", func() bool {
		now = resourcesNow(t)
		return now.goroutines <= before.goroutines && now.descriptors <= before.descriptors
	})
}

// statusBytes reads a field such as VmRSS, or VmHWM for its peak, of a process.
func statusBytes(tb testing.TB, pid int, field string) int64 {
	tb.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == field+":" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return kb << 10
		}
	}
	tb.Fatalf("no %s in the status of %d", field, pid)
	return 0
}
