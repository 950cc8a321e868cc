//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "million: want Linux, whose kernel it boots")
	os.Exit(1)
}
