//go:build !race

package engine

// fewer divides the counts of the largest tests; see the other one.
const fewer = 1
