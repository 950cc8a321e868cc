package engine

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sony/sonyflake/v2"
)

// An ID names a client: 41 bits of milliseconds since 2025, 10 of sequence, 12
// of the node that owns the connection. In JSON it is a decimal string, because
// JavaScript loses integers above 2^53.
type ID uint64

// String is the id in decimal.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// ParseID reads the decimal form. Anything but 1 to 2^63-1, in digits only, is a
// *FieldError about client_id.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, &FieldError{"client_id", "a decimal integer from 1 to 9223372036854775807"}
	}
	return ID(n), nil
}

const (
	idMachineBits  = 12
	idSequenceBits = 10

	// MaxNodeID is the largest Options.NodeID.
	MaxNodeID = 1<<idMachineBits - 1
)

// The epoch is written down here rather than left to the library's default:
// ids of one fleet must not change their order with a library's version.
var idEpoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// idSource makes client and message ids, unique in the process, across restarts and
// across nodes; in the order of their making within one process. They are sonyflake's
// ids, at times of an idClock.
//
// Sonyflake's own NextID sleeps when its milliseconds are used up, under the lock
// that all callers need; for an hour, if the clock was set back by one. And two of
// its sources that are used in the same millisecond, one after the other, begin with
// the same ids.
type idSource struct {
	flake *sonyflake.Sonyflake // lays the bits out
	node  int
	start time.Time // with a monotonic reading
	clock *idClock
}

// newIDSource waits until the ids that the node's process before this one may have
// made are in the past.
func newIDSource(node int) (idSource, error) {
	flake, err := sonyflake.New(sonyflake.Settings{
		BitsSequence:  idSequenceBits,
		BitsMachineID: idMachineBits,
		TimeUnit:      time.Millisecond,
		StartTime:     idEpoch,
		MachineID:     func() (int, error) { return node, nil },
	})
	if err != nil {
		return idSource{}, fmt.Errorf("engine: id source: %w", err)
	}
	time.Sleep(idLead + time.Millisecond)
	return idSource{flake, node, time.Now(), new(idClock)}, nil
}

// next is a new id. It waits only if more than 1,024,000 a second are asked for, for
// a millisecond at a time.
func (s idSource) next() (ID, error) {
	for {
		now := time.Now()
		ms, sequence, wait := s.clock.next(now.Sub(idEpoch), now.Sub(s.start))
		if wait > 0 {
			time.Sleep(wait)
			continue
		}
		n, err := s.flake.Compose(idEpoch.Add(time.Duration(ms)*time.Millisecond), sequence, s.node)
		if err != nil { // only when the 69 years are over
			return 0, fmt.Errorf("engine: next id: %w", err)
		}
		return ID(n), nil
	}
}

// time is when the id was made, which is when its client connected: to the
// millisecond, but for what idClock says.
func (id ID) time() time.Time {
	return idEpoch.Add(time.Duration(id>>(idMachineBits+idSequenceBits)) * time.Millisecond)
}

// messageID is an id in base 32 (digits 0-9, a-v): 12 or 13 characters that sort
// in the order of their making.
func messageID(id ID) string { return strconv.FormatUint(uint64(id), 32) }
