package stamp

import (
	"bytes"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestNextFindsWhatAppendWrote(t *testing.T) {
	stamps := []Stamp{
		{All, 0, 0, 0},
		{System, 1, 2, 3},
		{Group, 0xFFFFFFFF, 0xFFFFFFFF, 1<<63 - 1},
		{Client, 17_000, 100_000, 123_456_789_012},
		{Own, 1, 0, 1},
	}
	for _, want := range stamps {
		for _, size := range []int{1, Len, Len + 1, 300} {
			b := want.Append([]byte(`{"data":"`), size)
			if got := len(b) - len(`{"data":"`); got != max(size, Len) {
				t.Errorf("%+v of size %d has %d bytes", want, size, got)
			}
			got, rest, ok := Next(append(b, `","params":null}`...))
			if !ok || got != want || !strings.HasSuffix(string(rest), "null}") {
				t.Errorf("Next of %+v: %+v, rest %q, %v", want, got, rest, ok)
			}
		}
	}
}

func TestNextFindsSeveral(t *testing.T) {
	var b []byte
	for seq := range uint32(3) {
		b = append(Stamp{Kind: Group, Seq: seq}.Append(b, 100), '\n')
	}
	for want := uint32(0); ; want++ {
		s, rest, ok := Next(b)
		if !ok {
			if want != 3 {
				t.Errorf("found %d of 3", want)
			}
			return
		}
		if s.Seq != want {
			t.Errorf("seq %d, want %d", s.Seq, want)
		}
		b = rest
	}
}

func TestNextRefuses(t *testing.T) {
	good := string(Stamp{Kind: System, Target: 1, Seq: 2, At: 3}.Append(nil, 0))
	for i := range good {
		if s, _, ok := Next([]byte(good[:i])); ok {
			t.Errorf("found %+v in a part of %d bytes", s, i)
		}
		if s, _, ok := Next([]byte(good[:i] + "!" + good[i+1:])); ok {
			t.Errorf("found %+v with byte %d spoilt", s, i)
		}
	}
	// What only looks like one does not hide the one behind it.
	if s, _, ok := Next([]byte("cb1.cb1.zcb1." + good)); !ok || s.Seq != 2 {
		t.Errorf("found %+v, %v behind false starts", s, ok)
	}
}

// The clock is the one that another process sees.
func TestNowIsSharedWithOtherProcesses(t *testing.T) {
	const tolerance = int64(time.Minute) // that it is the same clock, not how exact
	out, err := exec.Command("cat", "/proc/uptime").Output()
	if err != nil {
		t.Skip("needs /proc/uptime, which only Linux has")
	}
	up, err := time.ParseDuration(strings.Fields(string(out))[0] + "s")
	if err != nil {
		t.Fatal(err)
	}
	// Uptime counts time asleep too; machines that run tests do not sleep long.
	if d := Now() - int64(up); d < -tolerance || d > tolerance {
		t.Errorf("Now is %v away from the uptime", time.Duration(d))
	}
	if a, b := Now(), Now(); b < a {
		t.Error("the clock goes back")
	}
}

func TestTrack(t *testing.T) {
	tests := []struct {
		name    string
		seqs    []uint32
		total   uint32
		lost    uint64
		reorder int
		dup     int
	}{
		{"in order", []uint32{0, 1, 2}, 3, 0, 0, 0},
		{"nothing came", nil, 3, 3, 0, 0},
		{"first lost", []uint32{1, 2}, 3, 1, 0, 0},
		{"middle lost", []uint32{0, 2}, 3, 1, 0, 0},
		{"last lost", []uint32{0, 1}, 3, 1, 0, 0},
		{"one twice", []uint32{0, 1, 1, 2}, 3, 0, 0, 1},
		{"an old one twice", []uint32{0, 1, 2, 0}, 3, 0, 0, 1},
		{"swapped", []uint32{0, 2, 1}, 3, 0, 1, 0},
		{"reversed", []uint32{2, 1, 0}, 3, 0, 2, 0},
		{"swapped and twice", []uint32{1, 0, 1, 0}, 2, 0, 1, 2},
		{"more than was expected", []uint32{0, 1, 2}, 2, 0, 0, 0},
	}
	for _, tt := range tests {
		var tr Track
		count := map[Verdict]int{}
		for _, seq := range tt.seqs {
			count[tr.Saw(seq)]++
		}
		if tr.Lost(tt.total) != tt.lost || count[Reordered] != tt.reorder || count[Duplicated] != tt.dup {
			t.Errorf("%s: %v: lost %d, reordered %d, duplicated %d; want %d, %d, %d", tt.name, tt.seqs,
				tr.Lost(tt.total), count[Reordered], count[Duplicated], tt.lost, tt.reorder, tt.dup)
		}
	}
}

func TestTrackStartsLater(t *testing.T) {
	var tr Track
	tr.Start(5)
	for seq := uint32(5); seq < 200; seq++ {
		if v := tr.Saw(seq); v != InOrder {
			t.Fatalf("message %d: verdict %d", seq, v)
		}
	}
	if tr.Saw(150) != Duplicated || tr.Lost(200) != 0 {
		t.Errorf("lost %d", tr.Lost(200))
	}
	if tr.Saw(3) != Duplicated {
		t.Error("a message from before the start is not one to expect")
	}
}

// Random faults in a long stream: each is found, and counted as what it is.
func TestTrackFindsRandomFaults(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		const total = 2000
		var tr Track
		var lost, dup, reordered, gotDup, gotReordered int
		saw := func(seq uint32) {
			switch tr.Saw(seq) {
			case Duplicated:
				gotDup++
			case Reordered:
				gotReordered++
			}
		}
		for seq := uint32(0); seq < total; seq++ {
			switch rng.IntN(100) {
			case 0:
				lost++
			case 1:
				saw(seq)
				saw(seq)
				dup++
			case 2:
				if seq+1 < total { // a later one overtakes
					saw(seq + 1)
					saw(seq)
					reordered++
					seq++
				} else {
					saw(seq)
				}
			default:
				saw(seq)
			}
		}
		if got := tr.Lost(total); int(got) != lost || gotDup != dup || gotReordered != reordered {
			t.Fatalf("round %d: lost %d, duplicated %d, reordered %d; want %d, %d, %d", round, got, gotDup, gotReordered, lost, dup, reordered)
		}
	}
}

// A message that comes far too late fills its hole, however long ago that was.
func TestTrackFarBehind(t *testing.T) {
	var tr Track
	for seq := uint32(1); seq < 1000; seq++ {
		tr.Saw(seq)
	}
	if tr.Saw(0) != Reordered || tr.Lost(1000) != 0 {
		t.Errorf("lost %d", tr.Lost(1000))
	}
	if tr.Saw(0) != Duplicated {
		t.Error("came twice")
	}
}

func FuzzNext(f *testing.F) {
	f.Add([]byte("cb1.s00000001.00000002.0000000000000003."))
	f.Add([]byte("cb1.cb1."))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rest, ok := Next(b)
		if !ok {
			return
		}
		if at := len(b) - len(rest) - Len; at < 0 || !bytes.EqualFold(s.Append(nil, 0), b[at:at+Len]) {
			t.Errorf("%+v is not what is in %q", s, b)
		}
	})
}
