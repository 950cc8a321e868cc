package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"testing"
)

// An archive is read back as the kernel does: 13 numbers of 8 hexadecimal digits,
// the name, the data, both up to a multiple of four.
func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := archive{w: &b}
	a.add("dev", folder, nil)
	a.add("plan.json", regular, []byte("{}\n"))
	a.add("init", executable, []byte("12345678"))
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for at := 0; at < b.Len(); {
		header := string(b.Bytes()[at : at+110])
		field := func(i int) int {
			v, err := strconv.ParseUint(header[6+8*i:14+8*i], 16, 32)
			if err != nil {
				t.Fatalf("field %d of %q: %v", i, header, err)
			}
			return int(v)
		}
		if header[:6] != "070701" {
			t.Fatalf("a header begins with %q", header[:6])
		}
		size, length := field(6), field(11)
		name := string(b.Bytes()[at+110 : at+110+length-1])
		at = (at + 110 + length + 3) &^ 3
		got = append(got, fmt.Sprintf("%s %o %s", name, field(1), b.Bytes()[at:at+size]))
		at = (at + size + 3) &^ 3
	}
	want := []string{"dev 40000 ", "plan.json 100644 {}\n", "init 100755 12345678", "TRAILER!!! 0 "}
	if !slices.Equal(got, want) {
		t.Errorf("the archive has %q, want %q", got, want)
	}
}
