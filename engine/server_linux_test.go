package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func init() { roles["server"] = serve }

// A server is an engine in a child, whose limits and memory are its own.
type server struct {
	*child
	addr string
}

type serverSpec struct {
	Descriptors    uint64 // soft limit; 0 leaves it as it is
	MemoryLimit    int64  // Go's, too; 0 for none
	MaxConnections int
	MaxQueuedBytes int
	MaxQueuedTotal int64
}

// A serverOrder asks for a push of numbered(Number, Size) to all, if Push is set,
// and for all descriptors that are left to be used up, if Hog is, or given back, if
// Spare is. The answer is a serverState in any case.
type serverOrder struct {
	Push         bool
	Number, Size int
	Hog, Spare   bool
}

type serverState struct {
	Addr        string
	Report      Report // of the push
	Connections int
	Sockets     int
	Closed      map[CloseReason]uint64
	Refused     map[string]uint64
	CPU         time.Duration
	LogLines    int64
}

func startServer(t testing.TB, spec serverSpec) *server {
	t.Helper()
	s := &server{child: startChild(t, "server", spec)}
	s.addr = s.state().Addr
	return s
}

func (s *server) state() (now serverState) {
	s.t.Helper()
	s.ask(serverOrder{}, &now)
	return now
}

func (s *server) push(number, size int) Report {
	s.t.Helper()
	var now serverState
	s.ask(serverOrder{Push: true, Number: number, Size: size}, &now)
	return now.Report
}

func serve(b []byte, p *parent) error {
	var spec serverSpec
	if err := json.Unmarshal(b, &spec); err != nil {
		return err
	}
	if spec.Descriptors > 0 {
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		limit.Cur = spec.Descriptors
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
	}
	if spec.MemoryLimit > 0 {
		debug.SetMemoryLimit(spec.MemoryLimit)
	}
	var lines lineCounter
	log := zerolog.New(&lines).Level(zerolog.InfoLevel)
	e, err := New(Options{Addr: "127.0.0.1:0", Logger: &log,
		MemoryLimit: spec.MemoryLimit, MaxConnections: spec.MaxConnections, MaxQueuedBytes: spec.MaxQueuedBytes, MaxQueuedTotal: spec.MaxQueuedTotal})
	if err != nil {
		return err
	}
	if err := e.Start(); err != nil {
		return err
	}
	var hogged []int
	for {
		var order serverOrder
		if err := p.hear(&order); err != nil {
			return err
		}
		now := serverState{Addr: e.Addr().String()}
		if order.Push {
			m := Message{Data: numbered(order.Number, order.Size)}
			if now.Report, err = e.Push(context.Background(), ToAll(), m); err != nil {
				return err
			}
		}
		for order.Hog {
			fd, err := syscall.Open("/", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
			if err != nil {
				break
			}
			hogged = append(hogged, fd)
		}
		for order.Spare && len(hogged) > 0 {
			_ = syscall.Close(hogged[0])
			hogged = hogged[1:]
		}
		stats := e.Stats()
		now.Connections, now.Closed, now.Refused = stats.Connections, stats.Closed, stats.Refused
		now.Sockets = int(e.conns.Load())
		var used syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
			return err
		}
		now.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
		now.LogLines = lines.n.Load()
		if err := p.say(now); err != nil {
			return err
		}
	}
}

// A lineCounter is a log of which only the length matters.
type lineCounter struct{ n atomic.Int64 }

func (l *lineCounter) Write(b []byte) (int, error) {
	l.n.Add(int64(bytes.Count(b, []byte("\n"))))
	return len(b), nil
}
