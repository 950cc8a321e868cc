package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// program is what the binary calls itself, whatever its file is called.
const program = "carillon"

// version is set by -ldflags "-X main.version=v1.2.3", and so may be commit, which Go
// otherwise notes of a clone that it builds in.
var version, commit string

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// buildText is the line that version prints.
func buildText() string {
	commit, changed := commit, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && commit == "":
				commit = s.Value[:min(12, len(s.Value))]
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = "+changes"
			}
		}
	}
	return fmt.Sprintf("%s %s commit %s%s %s %s/%s", program, versionText(), cmp.Or(commit, "unknown"), changed, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
