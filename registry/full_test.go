package registry

import "os"

// full says that tests are to take their time: more rounds, larger crowds, longer waits.
// .ci/run sets the variable; without it a test shows the same with less, for who waits.
func full() bool { return os.Getenv("TEST_FULL") != "" }
