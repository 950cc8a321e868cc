package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// checkEvery bounds how often files are looked at.
const checkEvery = time.Second

// A watch tells when files change. It belongs to whoever holds its owner's lock.
type watch struct {
	names   []string
	stamp   string    // what they looked like when they were last read
	checked time.Time // when that was last compared
}

// noted is to be called before they are read: what changes meanwhile is seen later.
func (w *watch) noted() { w.stamp, w.checked = look(w.names), time.Now() }

// changed reports whether they are to be read again, and has noted that.
func (w *watch) changed() bool {
	if time.Since(w.checked) < checkEvery {
		return false
	}
	old := w.stamp
	w.noted()
	return w.stamp != old
}

// look is a text that changes when one of the files does.
func look(names []string) (stamp string) {
	for _, name := range names {
		st, err := os.Stat(name) // follows links, which is how some renew
		if err != nil {
			stamp += "missing "
			continue
		}
		stamp += fmt.Sprint(st.Size(), st.ModTime().UnixNano())
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			stamp += fmt.Sprint(" ", sys.Ino) // it was replaced by one of the same size and time
		}
		stamp += " "
	}
	return stamp
}
