//go:build unix && !linux

package engine

import "github.com/lesismal/nbio"

// unwatch has nothing to do: kqueue forgets a descriptor that is closed, also when
// a duplicate of it is open (kqueue(2)).
func unwatch(*nbio.Conn) error { return nil }
