package client

import (
	"strings"
	"testing"

	"carillon/bench/stamp"
)

// newChecker is a swarm of one client, number 7 of all, in system 1 and group 2,
// that has no connection: messages are put into it.
func newChecker() (*Swarm, *conn) {
	s := &Swarm{
		cfg:    Config{Number: func(i int) uint32 { return 7 }},
		conns:  make([]conn, 1),
		tracks: make([]stamp.Track, stamp.Kinds), latency: newRecorder(),
	}
	s.conns[0] = conn{swarm: s, state: up, system: 1, group: 2, groupEnd: noEnd}
	return s, &s.conns[0]
}

// late makes c one that came while messages were under way.
func late(c *conn, kinds ...stamp.Kind) {
	for _, k := range kinds {
		c.track(k).Start(noEnd)
		c.fresh |= 1 << k
	}
}

func (c *conn) got(k stamp.Kind, target uint32, seqs ...uint32) {
	for _, seq := range seqs {
		c.message(stamp.Stamp{Kind: k, Target: target, Seq: seq}.Append(nil, 0), 5000)
	}
}

func TestEachReceiverHearsItsOwn(t *testing.T) {
	s, c := newChecker()
	c.got(stamp.All, 0, 0, 1)
	c.got(stamp.System, 1, 0)
	c.got(stamp.Group, 2, 0, 1, 2)
	c.got(stamp.Client, 7, 0)
	c.got(stamp.Own, 7, 0)
	c.sent = 1
	s.Check(Totals{All: 2, Systems: []uint32{9, 1}, Groups: []uint32{9, 9, 3}, Clients: []uint32{1}, Own: true}, 0, 1)
	if want := (Counts{Messages: 8, Delivered: 8, Bytes: int64(8 * stamp.Len)}); s.counts != want {
		t.Errorf("counts %+v, want %+v; %q", s.counts, want, s.complain)
	}
	if s.latency.current.TotalCount() != 8 || s.latency.current.Max() != 5 {
		t.Errorf("%d latencies up to %d µs, want 8 of 5", s.latency.current.TotalCount(), s.latency.current.Max())
	}
	for _, wrong := range []stamp.Stamp{
		{Kind: stamp.System, Target: 0}, {Kind: stamp.Group, Target: 1}, {Kind: stamp.Client, Target: 6}, {Kind: stamp.Own, Target: 8},
	} {
		before := s.counts.Wrong
		if c.got(wrong.Kind, wrong.Target, 0); s.counts.Wrong != before+1 {
			t.Errorf("%+v is not for this client", wrong)
		}
	}
	if len(s.complain) != 4 || !strings.Contains(s.complain[0], "client 7: wrong receiver of message 0 to system 0") {
		t.Errorf("complaints %q", s.complain)
	}
}

func TestWhatIsMissingIsLost(t *testing.T) {
	s, c := newChecker()
	c.got(stamp.System, 1, 0, 2, 3, 3, 5, 4)
	s.Check(Totals{Systems: []uint32{0, 8}, Groups: []uint32{0, 0, 2}}, 0, 1)
	if c := s.counts; c.Lost != 3+2 || c.Duplicated != 1 || c.Reordered != 1 || c.Wrong != 0 {
		t.Errorf("counts %+v", c)
	}
}

// A client that comes late begins where the first message finds it, and must have
// what was sent from when it was known to be there.
func TestLateClients(t *testing.T) {
	tests := []struct {
		name   string
		before []uint32 // come before it is known to be there
		base   uint32
		after  []uint32
		total  uint32
		lost   int64
	}{
		{"first after", nil, 5, []uint32{5, 6}, 7, 0},
		{"one in between", []uint32{4}, 5, []uint32{5, 6}, 7, 0},
		{"one that was under way", nil, 5, []uint32{4, 5, 6}, 7, 0},
		{"the first is lost", nil, 5, []uint32{6}, 7, 1},
		{"all are lost", nil, 5, nil, 7, 2},
		{"one is lost after one under way", nil, 5, []uint32{4, 6}, 7, 1},
		{"nothing was sent", nil, 5, nil, 5, 0},
	}
	for _, tt := range tests {
		s, c := newChecker()
		late(c, stamp.System)
		c.got(stamp.System, 1, tt.before...)
		s.Begin(0, stamp.System, tt.base)
		c.got(stamp.System, 1, tt.after...)
		must := [stamp.Kinds]uint32{stamp.System: tt.total}
		if has := s.Has(0, must); has != (tt.lost == 0 || len(tt.after) > 0) {
			t.Errorf("%s: has %v", tt.name, has)
		}
		s.Missing(0, must)
		if s.counts.Lost != tt.lost || s.counts.Duplicated+s.counts.Reordered+s.counts.Wrong > 0 {
			t.Errorf("%s: %+v, want %d lost; %q", tt.name, s.counts, tt.lost, s.complain)
		}
	}
}

func TestGroupThatWasLeft(t *testing.T) {
	for _, seqs := range [][]uint32{{10, 11}, {10, 11, 12}} {
		for _, told := range []int{len(seqs), 0} { // before or after the client is known to have left
			s, c := newChecker()
			s.Bind(0, 2)
			s.Begin(0, stamp.Group, 10)
			c.got(stamp.Group, 2, seqs[:told]...)
			s.Unbound(0, 12)
			c.got(stamp.Group, 2, seqs[told:]...)
			if want := int64(len(seqs) - 2); s.counts.Wrong != want {
				t.Errorf("messages %v, %d of them before it left at 12: %d wrong, want %d", seqs, told, s.counts.Wrong, want)
			}
		}
	}
}

func TestFindString(t *testing.T) {
	tests := []struct{ msg, want string }{
		{`{"client_id":"42"}`, "42"},
		{`{"a":1,"client_id" : "x-y","b":2}`, "x-y"},
		{`{"client_id":17}`, "17"},
		{`{"client_id": 17 ,"b":1}`, "17"},
		{`{"connect":{"client_id":"in"}}`, "in"},
		{`{"client_id":"open`, ""},
		{`{"client_id"`, ""},
		{`{"my_client_id":"42"}`, ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := findString([]byte(tt.msg), "client_id"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.msg, got, tt.want)
		}
	}
}
