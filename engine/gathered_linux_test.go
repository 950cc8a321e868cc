package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"carillon/engine/ws"
)

func init() { roles["unfinished"] = unfinished }

// An unfinishedSpec is clients that send a part of something, and no more.
type unfinishedSpec struct {
	Addr    string
	Clients int
	Head    bool // a part of the request; otherwise of a message of 65,000 bytes
	Bytes   int
}

// unfinished connects, says how many clients it has got through, and then waits.
func unfinished(b []byte, p *parent) error {
	var spec unfinishedSpec
	if err := json.Unmarshal(b, &spec); err != nil {
		return err
	}
	said := fmt.Appendf(nil, upgrade, "system_id=1")
	if spec.Head {
		said = append(said[:len(said)-2], "X: "...)
		said = append(said, bytes.Repeat([]byte("x"), spec.Bytes-len(said))...)
	} else {
		frame := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 65_000))
		said = append(said, frame[:spec.Bytes]...)
	}
	var conns []net.Conn
	for range spec.Clients {
		conn, err := net.Dial("tcp", spec.Addr)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = conn.Write(said) // it may be ended meanwhile
	}
	if err := p.say(len(conns)); err != nil {
		return err
	}
	return p.hear(new(int))
}

// What clients send in part does not take the server beyond its memory limit.
func TestUnfinishedWithinMemoryLimit(t *testing.T) {
	const limit = 64 << 20
	for name, spec := range map[string]unfinishedSpec{
		"messages": {Clients: 6_000 / fewer, Bytes: 60_000},
		"heads":    {Clients: 10_000 / fewer, Head: true, Bytes: 8_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, serverSpec{MemoryLimit: limit, MaxQueuedTotal: limit / 4})
			spec.Addr = s.addr
			var n int
			if startChild(t, "unfinished", spec).hear(&n); n != spec.Clients {
				t.Fatalf("%d connected", n)
			}
			peak := statusBytes(t, s.cmd.Process.Pid, "VmHWM")
			budget := limit + statusBytes(t, s.cmd.Process.Pid, "RssFile")
			state := s.state()
			t.Logf("resident: %d MiB at most, the budget is %d MiB; %d clients are left", peak>>20, budget>>20, state.Sockets)
			if peak > budget && !race {
				t.Errorf("%d bytes were resident, over the budget of %d", peak, budget)
			}
		})
	}
}

// After a mass disconnect the memory is the system's again within ten seconds.
func TestMemoryComesBack(t *testing.T) {
	if race {
		t.Skip("the race detector has memory of its own, which it keeps")
	}
	s := startServer(t, serverSpec{})
	base := statusBytes(t, s.cmd.Process.Pid, "VmRSS")
	crowd := startChild(t, "unfinished", unfinishedSpec{Addr: s.addr, Clients: 3_000, Bytes: 60_000})
	crowd.hear(new(int))
	full := statusBytes(t, s.cmd.Process.Pid, "VmRSS")
	crowd.end()
	begin, left := time.Now(), full
	for left > base+(full-base)/5 {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%d MiB are resident after 10 s, %d with all, %d before", left>>20, full>>20, base>>20)
		}
		time.Sleep(100 * time.Millisecond)
		left = statusBytes(t, s.cmd.Process.Pid, "VmRSS")
	}
	t.Logf("resident: %d MiB before, %d with all, %d after %v", base>>20, full>>20, left>>20, time.Since(begin).Round(100*time.Millisecond))
}
