package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carillon/engine/ws"
)

func init() { roles["churn"] = churn }

type churnSpec struct {
	Addr string
	N    int
	Seed uint64
}

// churnReport says how the clients of the churn role fared.
type churnReport struct {
	Welcomed  int // saw the 101 and the welcome
	Clean     int // of those, ended with close frames and FINs of both sides
	Unsure    int // asked for the upgrade and left before the answer
	Half      int // never asked for it
	Complaint []string
}

// churn has N clients come and go as fast as they can, each in one of eight ways.
func churn(spec []byte, p *parent) error {
	var s churnSpec
	if err := json.Unmarshal(spec, &s); err != nil {
		return err
	}
	var mu sync.Mutex
	var report churnReport
	var next atomic.Int64
	var all sync.WaitGroup
	for w := range 64 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(s.Seed, uint64(w)))
			var mine churnReport
			for next.Add(1) <= int64(s.N) {
				// From several addresses, or the ports of one run out.
				d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+w%8))}}
				if err := mine.comeAndGo(d, s.Addr, rnd.IntN(8)); err != nil && len(mine.Complaint) < 3 {
					mine.Complaint = append(mine.Complaint, err.Error())
				}
			}
			mu.Lock()
			defer mu.Unlock()
			report.Welcomed += mine.Welcomed
			report.Clean += mine.Clean
			report.Unsure += mine.Unsure
			report.Half += mine.Half
			report.Complaint = append(report.Complaint, mine.Complaint...)
		})
	}
	all.Wait()
	return p.say(report)
}

func (r *churnReport) comeAndGo(d *net.Dialer, addr string, way int) error {
	const query = "system_id=churn&group_name=g&group_name=h"
	if way < 4 {
		w, err := openWire(d, addr, query)
		if err != nil {
			return err
		}
		defer w.Close()
		r.Welcomed++
		switch way {
		case 0, 1:
			w.sendClose()
			// 3500 if the server was first.
			if end := w.each(func([]byte) bool { return true }); end != (ended{1000, io.EOF}) && end != (ended{3500, io.EOF}) {
				return fmt.Errorf("a clean close ended with %+v", end)
			}
			r.Clean++
		case 2: // FIN, in the middle of a message
			w.send(ws.OpText, []byte("hello"))
			io.WriteString(w, "\x81\x85")
		case 3:
			reset(w)
		}
		return nil
	}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	request := fmt.Sprintf(upgrade, query)
	switch way {
	case 4, 5:
		r.Unsure++
		io.WriteString(conn, request)
	case 6:
		r.Half++
		io.WriteString(conn, request[:rand.IntN(len(request)-1)])
	case 7:
		r.Half++
	}
	if way%2 == 1 {
		reset(conn)
	}
	return nil
}

// 50,000 connections come and go, while pushes to all run and the backend closes
// some as soon as it can find them, which is before their OnOpen. OnClose comes exactly
// once for each client, after its OnOpen, and nothing is left of any.
func TestComeAndGo(t *testing.T) {
	connections := 50_000 / fewer
	before := resourcesNow(t)
	o := Options{OnMessage: func(c *Client, k Kind, b []byte) { c.Echo(k, b) }}
	ledger := keepLedger(t, &o)
	open := o.OnOpen
	o.OnOpen = func(c *Client) {
		if rand.IntN(64) == 0 {
			time.Sleep(time.Millisecond)
		}
		open(c)
	}
	e := newEngine(t, o)
	clients := startChild(t, "churn", churnSpec{e.Addr().String(), connections, 1})
	stop := make(chan struct{})
	var backend sync.WaitGroup
	backend.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			for c := range e.Clients(Query{System: "churn"}) {
				c.Close("")
				break
			}
		}
	})
	backend.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			r, err := e.Push(context.Background(), []Target{ToAll(), ToGroup("churn", "g")}[n%2], Message{Data: []byte("1")})
			if err != nil || r.Matched != r.Written+r.Queued+r.Dropped {
				t.Errorf("%+v, %v", r, err)
				return
			}
			runtime.Gosched()
		}
	})
	var report churnReport
	clients.hear(&report)
	close(stop)
	backend.Wait()
	clients.end()
	if len(report.Complaint) > 0 {
		t.Errorf("clients complain: %v", report.Complaint)
	}
	settled(t, e, 0)
	reasons := ledger.closed(e, 0)
	opened := ledger.total
	if total := report.Welcomed + report.Unsure + report.Half; total != connections ||
		opened < report.Welcomed || opened > report.Welcomed+report.Unsure || uint64(opened) != e.Stats().Accepted {
		t.Errorf("OnOpen for %d clients, %d accepted; the clients say %+v", opened, e.Stats().Accepted, report)
	}
	if clean := reasons[ClosePeer] + reasons[CloseBackend]; clean < report.Clean || clean+reasons[CloseReset] != opened {
		t.Errorf("OnClose was given %v; %d clients closed cleanly", reasons, report.Clean)
	}
	shutdown(t, e)
	givenBack(t, before)
	t.Logf("%d clients were opened, closed for %v", opened, reasons)
}
