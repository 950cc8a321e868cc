//go:build unix && !linux

package main

// Only Linux has all of 127.0.0.0/8 without being told.
func defaultSources(int) int { return 0 }
