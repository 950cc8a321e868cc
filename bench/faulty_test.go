package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A faultyServer pushes to groups, with another library, and does one thing wrong
// when it comes to a given delivery.
type faultyServer struct {
	fault string // lose, double, double late, reorder, misdeliver, close, stall, or empty
	at    int    // the delivery that it happens at

	mu      sync.Mutex // guards the following fields
	clients []*faultyClient
	count   int
}

type faultyClient struct {
	conn  *websocket.Conn
	group string
	held  []byte // overtaken by the next message
}

func startFaulty(t *testing.T, fault string, at int) (host string) {
	f := &faultyServer{fault: fault, at: at}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", f.accept)
	mux.HandleFunc("POST /push/{group}", f.push)
	srv := httptest.NewServer(mux)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return strings.TrimPrefix(srv.URL, "http://")
}

func (f *faultyServer) accept(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	f.mu.Lock()
	f.clients = append(f.clients, &faultyClient{conn: conn, group: r.URL.Query().Get("group")})
	err = conn.Write(r.Context(), websocket.MessageText, []byte(`{"hello":true,"id":"`+strconv.Itoa(len(f.clients))+`"}`))
	f.mu.Unlock()
	for err == nil {
		_, _, err = conn.Read(context.Background())
	}
}

func (f *faultyServer) push(_ http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.clients {
		if c.group != r.PathValue("group") {
			continue
		}
		f.count++
		fault := ""
		if f.count == f.at {
			fault = f.fault
		}
		switch fault {
		case "lose":
			continue
		case "reorder":
			c.held = append([]byte{}, data...)
			continue
		case "double":
			c.write(data)
		case "double late":
			again := append([]byte{}, data...)
			time.AfterFunc(300*time.Millisecond, func() { c.write(again) })
		case "misdeliver":
			for _, other := range f.clients {
				if other.group != c.group {
					other.write(data)
					break
				}
			}
		case "stall":
			time.Sleep(stall)
		case "close":
			c.conn.CloseNow()
			continue
		}
		c.write(data)
		if c.held != nil {
			c.write(c.held)
			c.held = nil
		}
	}
}

const stall = 600 * time.Millisecond

func (c *faultyClient) write(b []byte) { c.conn.Write(context.Background(), websocket.MessageText, b) }

// One fault in 100,000 deliveries, or in 10,000, fails the run, which says what it was; none does
// not.
func TestFaultsAreFound(t *testing.T) {
	tests := []struct {
		fault, want string
		lost        int64
		pushes      int // to 200 clients
		at          int // the delivery that it happens at
	}{
		{"", "", 0, 100, 0},
		{"lose", "1 lost; first: client", 1, 500, 70_007},
		{"lose", "1 lost; first: client", 1, 100, 200 * 100}, // the very last
		{"double", "1 duplicated; first: client", 0, 500, 70_007},
		{"double late", "1 duplicated; first: client", 0, 100, 200 * 100}, // when everybody has everything
		{"reorder", "1 reordered; first: client", 0, 500, 70_007},
		{"misdeliver", "1 to the wrong receiver; first: client", 0, 500, 70_007},
		{"close", "1 connections broken; first: client", -1, 100, 14_007},
	}
	for _, tt := range tests {
		if tt.pushes > 100 && !full() {
			tt.pushes, tt.at = 50, 7_007 // one of 10,000
		}
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			host := startFaulty(t, tt.fault, tt.at)
			timeout := "3s"
			if full() {
				timeout = "5s"
			}
			if tt.pushes > 100 {
				timeout = "20s" // this server falls far behind
			}
			r, out, err := bench(t, "fanout", "-conns", "210", "-receivers", "200", "-target", "group", "-rate", strconv.Itoa(tt.pushes), "-duration", "1s", "-timeout", timeout,
				"-url", "ws://"+host+"/ws?group={group}", "-id-key", "id", "-label", "faulty", "-header", "X-Any: thing",
				"-push-url", "http://"+host+"/push/g0", "-push-body", "{data}", "-push-type", "text/plain")
			if r == nil {
				t.Fatal(err)
			}
			if tt.fault == "" {
				if err != nil || r.Deliveries != 200*int64(tt.pushes) || r.Server != "faulty" {
					t.Errorf("without a fault: %v\n%s", err, out)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "FAILED: ") {
				t.Errorf("%s one: %v, want %q", tt.fault, err, tt.want)
			}
			if tt.lost >= 0 && (r.Lost != tt.lost || r.Lost+r.Duplicated+r.Reordered+r.Wrong != 1) {
				t.Errorf("lost %d, duplicated %d, reordered %d, wrong %d", r.Lost, r.Duplicated, r.Reordered, r.Wrong)
			}
		})
	}
}

// A server that stalls once delays all messages that are due meanwhile, and not
// only the one that it stalls at: the latencies must show it (coordinated
// omission).
func TestStallDelaysAllThatIsDue(t *testing.T) {
	t.Parallel()
	host := startFaulty(t, "stall", 100)
	r, out, err := bench(t, "fanout", "-conns", "10", "-target", "group", "-rate", "50", "-duration", "1s", "-url", "ws://"+host+"/ws?group={group}",
		"-id-key", "id", "-push-url", "http://"+host+"/push/g0", "-push-body", "{data}", "-push-type", "text/plain")
	if err != nil || r.Deliveries != 500 {
		t.Fatalf("%v\n%s", err, out)
	}
	// Of 50 pushes, 20 ms apart, at least five waited for all but 100 ms of it. That is
	// the server's doing, and not the sender's.
	least := (stall - 100*time.Millisecond - 10*time.Millisecond).Microseconds()
	if r.Latency.P90 < least || r.SenderLate >= float64(least)/1000 {
		t.Errorf("p90 %d µs, sender up to %v ms late, want at least %d µs, and less", r.Latency.P90, r.SenderLate, least)
	}
}

// A server that cannot keep up ends the run early, which says how much it leaves out.
func TestPushingEndsWhenFarBehind(t *testing.T) {
	t.Parallel()
	host := startFaulty(t, "stall", 1)
	r, out, err := bench(t, "fanout", "-conns", "10", "-target", "group", "-rate", "50", "-duration", "1s", "-timeout", "500ms",
		"-url", "ws://"+host+"/ws?group={group}", "-id-key", "id", "-push-url", "http://"+host+"/push/g0", "-push-body", "{data}", "-push-type", "text/plain")
	if err != nil || r.Pushes == 50 || r.Pushes+r.Unsent != 50 || !strings.Contains(out, "could not keep up") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A groupServer binds clients to groups, and is wrong about when.
type groupServer struct {
	fault string // bind late, unbind never, or empty

	mu      sync.Mutex // guards the following fields
	clients map[string]*groupClient
}

type groupClient struct {
	conn          *websocket.Conn
	system, group string
}

func (g *groupServer) accept(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	g.mu.Lock()
	id := strconv.Itoa(len(g.clients))
	g.clients[id] = &groupClient{conn, r.FormValue("system"), r.FormValue("group")}
	err = conn.Write(r.Context(), websocket.MessageText, []byte(`{"client_id":"`+id+`"}`))
	g.mu.Unlock()
	for err == nil {
		_, _, err = conn.Read(context.Background())
	}
	g.mu.Lock()
	g.clients[id].system, g.clients[id].group = "", ""
	g.mu.Unlock()
}

func (g *groupServer) bind(_ http.ResponseWriter, r *http.Request) {
	var body struct {
		ID    string `json:"client_id"`
		Group string `json:"group_name"`
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		return
	}
	set := func(group string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.clients[body.ID].group = group
	}
	switch {
	case r.URL.Path == "/unbind_from_group" && g.fault == "unbind never":
	case r.URL.Path == "/unbind_from_group":
		set("")
	case g.fault == "bind late":
		time.AfterFunc(15*time.Millisecond, func() { set(body.Group) })
	default:
		set(body.Group)
	}
}

func (g *groupServer) push(_ http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clients {
		if c.system == "" || r.PathValue("target") == "push_to_group" && c.group != "g0" {
			continue
		}
		c.conn.Write(context.Background(), websocket.MessageText, data)
	}
}

// A client of a group must hear what is pushed once it is bound, and nothing more
// when it has left.
func TestGroupFaultsAreFound(t *testing.T) {
	for fault, want := range map[string]string{"": "", "bind late": "lost", "unbind never": "to the wrong receiver"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			g := &groupServer{fault: fault, clients: map[string]*groupClient{}}
			mux := http.NewServeMux()
			mux.HandleFunc("GET /ws", g.accept)
			mux.HandleFunc("POST /bind_to_group", g.bind)
			mux.HandleFunc("POST /unbind_from_group", g.bind)
			mux.HandleFunc("POST /{target}", g.push)
			srv := httptest.NewServer(mux)
			t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
			r, out, err := bench(t, "churn", "-conns", "40", "-inflight", "20", "-duration", "2s", "-rate", "50", "-push-rate", "400", "-timeout", "1s",
				"-url", "ws"+strings.TrimPrefix(srv.URL, "http")+"/ws?system={system}&group={group}", "-push-body", "{data}", "-push-type", "text/plain")
			if r == nil || want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v, want %q\n%s", err, want, out)
			}
		})
	}
}

// A server that takes pushes as messages, echoes nothing else, and wants to be
// greeted.
func TestPushByMessage(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var clients []*websocket.Conn
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		ctx := context.Background()
		for {
			_, b, err := conn.Read(ctx)
			if err != nil {
				return
			}
			text, pushed := strings.CutPrefix(string(b), "push ")
			mu.Lock()
			if strings.HasPrefix(text, "join bench-") {
				clients = append(clients, conn)
				conn.Write(ctx, websocket.MessageText, []byte("joined"))
				go conn.Ping(ctx)
			}
			for _, c := range clients {
				if pushed {
					c.Write(ctx, websocket.MessageText, []byte(text))
				}
			}
			mu.Unlock()
		}
	}))
	defer srv.Close()
	r, out, err := bench(t, "fanout", "-conns", "50", "-rate", "20", "-duration", "1s", "-url", "ws"+strings.TrimPrefix(srv.URL, "http")+"/{system}",
		"-hello", "join {system}", "-id-key=", "-ready-messages", "1", "-push", "ws", "-push-body", "push {data}", "-push-type", "text/plain", "-quiet")
	if err != nil || r.Deliveries != 1000 {
		t.Errorf("%v\n%s", err, out)
	}
}
