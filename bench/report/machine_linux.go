package report

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
)

func describeMachine() (model, kernel string, memory int64) {
	model = procField("/proc/cpuinfo", "model name")
	kb, _, _ := strings.Cut(procField("/proc/meminfo", "MemTotal"), " ")
	if n, err := strconv.ParseInt(kb, 10, 64); err == nil {
		memory = n << 10
	}
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		for _, c := range u.Release {
			if c == 0 {
				break
			}
			kernel += string(rune(c))
		}
		// What comes after the version names a distribution, or a host.
		kernel, _, _ = strings.Cut("Linux "+kernel, "-")
	}
	return model, kernel, memory
}

// procField is the value of the first line that begins with name.
func procField(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
