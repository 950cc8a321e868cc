package main

import (
	"context"
	"sync/atomic"

	"carillon/bench/stamp"
)

// totals are the streams. Clients are those of all workers.
type totals struct {
	all     stream
	systems []stream
	groups  []stream
	clients []stream
}

// A stream counts its messages. Any goroutine may read it; one pushes.
type stream struct {
	begun atomic.Uint32 // a client that joins now will get those from here on
	done  atomic.Uint32 // a client that was there must get those up to here
}

func done(streams []stream) []uint32 {
	n := make([]uint32, len(streams))
	for i := range streams {
		n[i] = streams[i].done.Load()
	}
	return n
}

// push sends the stream's next message, which was due at the given time. It
// reports whether the server took it; false with no error if it was too busy.
func (st *stream) push(ctx context.Context, ps *pusher, servers []int, t pushTarget, target uint32, due int64, size int) (bool, error) {
	seq := st.begun.Add(1) - 1
	data := stamp.Stamp{Kind: t.kind, Target: target, Seq: seq, At: due}.Append(make([]byte, 0, max(size, stamp.Len)), size)
	busy, err := ps.push(ctx, servers, t, data)
	if busy {
		st.begun.Store(seq)
		return false, nil
	}
	st.done.Store(seq + 1)
	return err == nil, err
}
