package engine

import "os"

// full says that tests are to take their time: more rounds, larger crowds, longer waits.
// .ci/run sets the variable; without it a test shows the same with less, for who waits.
func full() bool { return os.Getenv("TEST_FULL") != "" }

// fewer divides the counts of the largest tests, which are to end in minutes on two cores.
var fewer = func() int {
	if race || !full() {
		return 5
	}
	return 1
}()
