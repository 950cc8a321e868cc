//go:build unix && !linux

package machine

import "time"

// There is no /proc to read: figures of processes are missing from the results.

// Process measures nothing.
func Process(int, bool) Usage { return Usage{} }

// OwnRSS is not known.
func OwnRSS() int64 { return 0 }

// BusyCPU is not known.
func BusyCPU() time.Duration { return 0 }

// KernelMemory is not known.
func KernelMemory() int64 { return 0 }

// SocketObjects are not known.
func SocketObjects() (bytes int64, known bool) { return 0, false }

// ListenerPID finds nobody.
func ListenerPID(int) int { return 0 }
