//go:build !race

package engine

// race says that the race detector is there; see the other one.
const race = false
