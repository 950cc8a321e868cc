package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What the engine has to say comes to a slog.Logger, at its level and with its fields.
func TestSlogLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	for level, want := range map[slog.Level]string{
		slog.LevelDebug: "level=DEBUG msg=detail n=7\nlevel=WARN msg=\"a warning\" peer=1.2.3.4 ok=true\n",
		slog.LevelWarn:  "level=WARN msg=\"a warning\" peer=1.2.3.4 ok=true\n",
		slog.LevelError: "",
	} {
		out.Reset()
		log := SlogLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})))
		log.Debug().Int("n", 7).Msg("detail")
		log.Warn().Str("peer", "1.2.3.4").Bool("ok", true).Msg("a warning")
		if got := out.String(); got != want {
			t.Errorf("at %v:\n%s\nwant\n%s", level, got, want)
		}
	}
	// And from an engine.
	out.Reset()
	e := newEngine(t, Options{CloseTimeout: time.Second, OnMessage: func(*Client, Kind, []byte) { panic("on purpose") },
		Logger: SlogLogger(slog.New(slog.NewTextHandler(&out, nil)))})
	w := dialWire(t, e, "system_id=1")
	fmt.Fprint(w, "\x81\x80\x00\x00\x00\x00")
	w.each(func([]byte) bool { return true })
	shutdown(t, e)
	if got := out.String(); !strings.Contains(got, `msg="callback panicked"`) || !strings.Contains(got, "callback=OnMessage") {
		t.Errorf("logged %q", got)
	}
}
