package engine

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/rs/zerolog"
)

// nbio's core is used for what it does well: it watches descriptors, and calls on
// their pollers. Level-triggered, no asynchronous reads. Its writing, HTTP and WebSocket
// are not used.

const readBufferBytes = 32 << 10

func newNBIO(o Options, log zerolog.Logger) *nbio.Engine {
	nbioLog.Do(func() { logging.SetLogger(&nbioLogger{log: log}) })
	nb := nbio.NewEngine(nbio.Config{
		Name:           "carillon",
		NPoller:        o.Pollers,
		ReadBufferSize: 1, // the loops have their own
	})
	nb.OnRead(onRead)
	nb.OnClose(onClosed)
	return nb
}

// nbio's logger belongs to the process: the first engine's is used.
var nbioLog sync.Once

// nbioLogger passes on nbio's warnings and errors, at most one a second: nbio logs
// in loops.
type nbioLogger struct {
	log  zerolog.Logger
	last atomic.Int64 // Unix seconds
}

// SetLevel implements nbio's interface.
func (*nbioLogger) SetLevel(int) {}

// Debug implements logging.Logger.
func (*nbioLogger) Debug(string, ...any) {}

// Info implements logging.Logger.
func (*nbioLogger) Info(string, ...any) {}

// Warn implements logging.Logger.
func (l *nbioLogger) Warn(format string, v ...any) { l.pass(zerolog.WarnLevel, format, v) }

// Error implements logging.Logger.
func (l *nbioLogger) Error(format string, v ...any) { l.pass(zerolog.ErrorLevel, format, v) }

func (l *nbioLogger) pass(level zerolog.Level, format string, v []any) {
	now := time.Now().Unix()
	if last := l.last.Load(); last == now || !l.last.CompareAndSwap(last, now) {
		return
	}
	l.log.WithLevel(level).Str("from", "nbio").Msg(fmt.Sprintf(format, v...))
}
