//go:build race

package engine

// race says that the race detector makes each connection and message cost five to ten
// times as much, in every process, and has memory of its own.
const race = true
