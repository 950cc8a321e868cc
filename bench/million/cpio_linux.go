package main

import (
	"fmt"
	"io"
)

// An archive is an initial file system as the kernel unpacks it: cpio in its "newc"
// form, of files and folders that belong to root.
type archive struct {
	w     io.Writer
	inode int
	err   error // the first
}

// The types of entries, as in stat(2).
const (
	folder     = 0o040000
	executable = 0o100755
	regular    = 0o100644
)

// add appends an entry. Its header, name and data each end at a multiple of four.
func (a *archive) add(name string, mode int, data []byte) {
	a.inode++
	const magic, links = "070701", 1
	header := magic
	// inode, mode, owner, group, links, time, size, device of the file system (2) and
	// of the file (2), length of the name with its zero byte, checksum.
	for _, field := range []int{a.inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0} {
		header += fmt.Sprintf("%08x", field)
	}
	a.write([]byte(header+name+"\x00"), 4)
	a.write(data, 4)
}

// close ends the archive. What it was written to is still to be closed.
func (a *archive) close() error {
	a.add("TRAILER!!!", 0, nil)
	return a.err
}

func (a *archive) write(b []byte, align int) {
	if a.err == nil {
		_, a.err = a.w.Write(append(b, make([]byte, -len(b)&(align-1))...))
	}
}
