package machine

import (
	"os"
	"strings"
	"syscall"
)

func describe() (model, kernel string, memory int64) {
	text, _ := os.ReadFile("/proc/cpuinfo") // no model without it
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
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
	return model, kernel, Memory()["MemTotal"]
}
