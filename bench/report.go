package main

import "io"

func runReport(args []string, stdout io.Writer) error { return nil }
