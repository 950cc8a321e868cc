//go:build race

package engine

// fewer divides the counts of the largest tests: the race detector makes each
// connection and message cost five to ten times as much, in both processes, and the
// tests are to end in minutes on two cores.
const fewer = 5
