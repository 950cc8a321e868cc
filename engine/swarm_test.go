package engine

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func init() { roles["swarm"] = runSwarm }

// A swarm is many clients in a child.
type swarm struct{ *child }

type swarmSpec struct {
	Mode    string // "listen", "idle", "idle-compress", "idle-tls" or "discard"
	Addr    string
	Clients int
}

func TestMain(m *testing.M) {
	if name := os.Getenv(roleEnv); name != "" {
		playRole(name)
		return
	}
	if !race {
		flag.Set("test.parallel", "8") // tests that are parallel wait, and hardly compute
	}
	os.Exit(m.Run())
}

// startSwarm returns when n clients of system "swarm" are connected. Those of mode
// "listen" use the independent library and keep account of what they get; those of
// mode "idle" are bare sockets, and those of mode "discard" bare sockets that read.
func startSwarm(t testing.TB, e *Engine, mode string, n int) swarm {
	t.Helper()
	s := swarm{startChild(t, "swarm", swarmSpec{mode, e.Addr().String(), n})}
	var connected int
	if s.hear(&connected); connected != n {
		t.Fatalf("%d of %d clients are connected", connected, n)
	}
	return s
}

// swarmReport is what the listening clients got in all.
type swarmReport struct {
	Clients   int
	Exact     int      // clients that got each message once, in order, with their own client_id
	Complaint []string // the first few that did not
}

// finish closes the clients, who have waited for messages {"n":0} to {"n":count-1}.
func (s swarm) finish() (r swarmReport) {
	s.t.Helper()
	s.in.Close()
	s.hear(&r)
	return r
}

func runSwarm(b []byte, p *parent) error {
	var spec swarmSpec
	if err := json.Unmarshal(b, &spec); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var connected, exact atomic.Int64
	var connecting, done sync.WaitGroup
	var mu sync.Mutex
	report := swarmReport{Clients: spec.Clients}
	complain := func(format string, v ...any) {
		mu.Lock()
		defer mu.Unlock()
		if len(report.Complaint) < 5 {
			report.Complaint = append(report.Complaint, fmt.Sprintf(format, v...))
		}
	}
	end := make(chan struct{})
	limit := make(chan struct{}, 64) // handshakes at once
	for range spec.Clients {
		limit <- struct{}{}
		connecting.Add(1)
		client := swarmIdle
		switch spec.Mode {
		case "listen":
			client = swarmListen
		case "discard":
			client = swarmDiscard
		case "idle-compress":
			client = swarmIdleCompress
		case "idle-tls":
			client = swarmIdleTLS
		}
		done.Go(func() {
			once := sync.OnceFunc(func() { <-limit; connecting.Done() })
			defer once()
			err := client(ctx, spec.Addr, end, func() { connected.Add(1); once() })
			if err != nil {
				complain("%v", err)
				return
			}
			exact.Add(1)
		})
	}
	connecting.Wait()
	if c := connected.Load(); c != int64(spec.Clients) {
		return fmt.Errorf("only %d of %d connected: %v", c, spec.Clients, report.Complaint)
	}
	if err := p.say(spec.Clients); err != nil {
		return err
	}
	if err := p.hear(new(any)); err != io.EOF {
		return fmt.Errorf("a swarm takes no orders: %v", err)
	}
	close(end)
	done.Wait()
	report.Exact = int(exact.Load())
	return p.say(report)
}

// swarmListen expects messages whose data counts from {"n":0} up to {"last":n}.
func swarmListen(ctx context.Context, addr string, end chan struct{}, ready func()) error {
	c, _, err := websocket.Dial(ctx, "ws://"+addr+"/ws?system_id=swarm&group_name=g", nil)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	var env struct {
		ClientID string `json:"client_id"`
		Data     struct {
			N    int
			Last bool
		}
	}
	id := ""
	for want := -1; ; want++ {
		_, b, err := c.Read(ctx)
		if err != nil {
			return fmt.Errorf("waiting for message %d: %w", want, err)
		}
		if err := json.Unmarshal(b, &env); err != nil {
			return fmt.Errorf("%s: %w", b, err)
		}
		if want < 0 {
			id = env.ClientID
			ready()
			continue
		}
		if env.ClientID != id {
			return fmt.Errorf("client %s got an envelope for %s", id, env.ClientID)
		}
		if env.Data.N != want {
			return fmt.Errorf("client %s got message %d instead of %d", id, env.Data.N, want)
		}
		if env.Data.Last {
			<-end
			return nil
		}
	}
}

func swarmDiscard(_ context.Context, addr string, end chan struct{}, ready func()) error {
	return swarmBare(addr, net.Dial, ready, func(conn net.Conn) {
		go io.Copy(io.Discard, conn)
		<-end
	})
}

func swarmIdle(_ctx context.Context, addr string, end chan struct{}, ready func()) error {
	return swarmBare(addr, net.Dial, ready, func(net.Conn) { <-end })
}

func swarmIdleCompress(_ context.Context, addr string, end chan struct{}, ready func()) error {
	return swarmBare(addr, net.Dial, ready, func(net.Conn) { <-end }, "Sec-WebSocket-Extensions: permessage-deflate")
}

func swarmIdleTLS(_ context.Context, addr string, end chan struct{}, ready func()) error {
	dial := func(network, addr string) (net.Conn, error) {
		return tls.Dial(network, addr, &tls.Config{InsecureSkipVerify: true}) // who we are does not matter here
	}
	return swarmBare(addr, dial, ready, func(net.Conn) { <-end })
}

// swarmBare connects a bare socket, reads the welcome, and then does as told.
func swarmBare(addr string, dial func(network, addr string) (net.Conn, error), ready func(), then func(net.Conn), header ...string) error {
	conn, err := dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	request := fmt.Sprintf(upgrade, "system_id=swarm&group_name=g")
	for _, h := range header {
		request = strings.Replace(request, "\r\n\r\n", "\r\n"+h+"\r\n\r\n", 1)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	if err := skipWelcome(conn); err != nil {
		return err
	}
	ready()
	then(conn)
	return nil
}

// skipWelcome reads the answer to a handshake and one frame, compressed or not, and no
// more: the client has no buffer.
func skipWelcome(conn io.Reader) error {
	b := make([]byte, 1)
	for head := ""; !strings.HasSuffix(head, "\r\n\r\n"); head += string(b) {
		if _, err := conn.Read(b); err != nil {
			return err
		}
	}
	b = make([]byte, 4)
	if _, err := io.ReadFull(conn, b[:2]); err != nil {
		return err
	}
	n := int64(b[1])
	if n == 126 { // two more bytes say how long it is
		if _, err := io.ReadFull(conn, b[2:]); err != nil {
			return err
		}
		n = int64(binary.BigEndian.Uint16(b[2:]))
	}
	_, err := io.CopyN(io.Discard, conn, n)
	return err
}

// A push to 10,000 clients of one system: each gets it once, with its own id, and
// then the next, which shows that nothing came between.
func TestPushToTenThousand(t *testing.T) {
	clients := 10_000 / fewer
	e := newEngine(t, Options{})
	s := startSwarm(t, e, "listen", clients)
	for _, data := range []string{`{"n":0}`, `{"n":1,"last":true}`} {
		r := push(t, e, ToSystem("swarm"), data)
		if r.Matched != clients || r.Written+r.Queued != clients {
			t.Errorf("report %+v, want %d matched, none dropped", r, clients)
		}
	}
	if got := s.finish(); got.Exact != clients {
		t.Errorf("%d of %d clients got it once: %v; closed: %v", got.Exact, clients, got.Complaint, e.Stats().Closed)
	}
}

// Pushes to a group and a system of 5,000, and one to all, arrive at each client
// once and in order, while others come and go.
func TestPushesInOrderToMany(t *testing.T) {
	const pushes = 20
	clients := 5_000 / fewer
	e := newEngine(t, Options{MaxQueuedBytes: 1 << 20})
	s := startSwarm(t, e, "listen", clients)
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				p := dial(t, e, "system_id=swarm&group_name=g")
				e.Unbind("swarm", p.id, "g")
				e.Bind("swarm", p.id, "g")
				p.CloseNow()
			}
		}
	})
	for n := range pushes {
		to := []Target{ToGroup("swarm", "g"), ToSystem("swarm")}[n%2]
		if _, err := e.Post(testContext(t), to, Message{Data: fmt.Appendf(nil, `{"n":%d}`, n)}); err != nil {
			t.Fatal(err)
		}
	}
	push(t, e, ToGroup("swarm", "g"), fmt.Sprintf(`{"n":%d}`, pushes))
	close(stop)
	churn.Wait()
	if r := push(t, e, ToAll(), fmt.Sprintf(`{"n":%d,"last":true}`, pushes+1)); r.Matched < clients || r.Dropped > r.Matched-clients {
		t.Errorf("report %+v of a push to all %d", r, clients)
	}
	if got := s.finish(); got.Exact != clients {
		t.Errorf("%d of %d clients got all in order: %v", got.Exact, clients, got.Complaint)
	}
}
