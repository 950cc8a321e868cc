//go:build race

package main

// The race detector makes the servers of the tests too slow for more at the same time.
func init() { parallel = "2" }
