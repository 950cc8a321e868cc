package registry

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrCursor is what [ParseCursor] returns, wrapped, for a string that
// [Cursor.String] does not make.
var ErrCursor = errors.New("registry: not a cursor")

// A Cursor is a place in the order of a set: the place of a member, whether or
// not that member is still there. The zero Cursor is the place before all
// members. Cursors are comparable with ==. A cursor is good for every set of
// every registry that has the same number of owners.
type Cursor struct {
	id    uint64
	owner uint8
	valid bool // false only in the zero Cursor
}

// String returns the cursor as text that needs no escaping in a URL: the owner
// and the id in decimal, as in "3.817263540918272". The zero Cursor is "".
func (c Cursor) String() string {
	if !c.valid {
		return ""
	}
	b := strconv.AppendUint(make([]byte, 0, 24), uint64(c.owner), 10)
	return string(strconv.AppendUint(append(b, '.'), c.id, 10))
}

// ParseCursor returns the cursor whose String is s, or an error that wraps
// [ErrCursor].
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	left, right, _ := strings.Cut(s, ".")
	owner, err1 := strconv.ParseUint(left, 10, 8)
	id, err2 := strconv.ParseUint(right, 10, 64)
	c := Cursor{id: id, owner: uint8(owner & math.MaxUint8), valid: true}
	// Comparing refuses what ParseUint lets pass, such as leading zeros.
	if err1 != nil || err2 != nil || c.String() != s {
		return Cursor{}, fmt.Errorf("%w: %q", ErrCursor, s)
	}
	return c, nil
}
