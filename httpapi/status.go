package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"carillon/engine"
)

// stats names every reason of closing, so that a reader finds the same members in
// each answer; refusals are those that there were.
func (c *call) stats() error {
	s := c.api.eng.Stats()
	closed := newObject(nil)
	for _, reason := range engine.CloseReasons() {
		closed = closed.uint(snakeCase(reason.String()), s.Closed[reason])
	}
	refused := newObject(nil)
	for _, why := range slices.Sorted(maps.Keys(s.Refused)) {
		refused = refused.uint(snakeCase(why), s.Refused[why])
	}
	uptime := 0
	if !s.Started.IsZero() {
		uptime = int(time.Since(s.Started) / time.Second)
	}
	return c.answer(http.StatusOK, newObject(nil).
		str("version", c.api.version).
		int("uptime_seconds", uptime).
		int("connections", s.Connections).
		int("systems", s.Systems).
		int("groups", s.Groups).
		uint("messages_in", s.MessagesIn).
		uint("messages_out", s.MessagesOut).
		uint("bytes_in", s.BytesIn).
		uint("bytes_out", s.BytesOut).
		int("queued_bytes", int(s.QueuedBytes)).
		int("gathered_bytes", int(s.GatheredBytes)).
		uint("dropped", s.Dropped).
		uint("compressed", s.Compressed).
		uint("accepted", s.Accepted).
		uint("unauthorized", c.api.auth.refused.Load()).
		raw("closed", string(closed.end())).
		raw("refused", string(refused.end())).
		end())
}

// snakeCase makes a key of one of the engine's labels, which are words.
func snakeCase(label string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(label))
}

func (c *call) healthz() error {
	return c.answer(http.StatusOK, newObject(nil).str("status", "ok").end())
}

// Leave has /readyz say that the server is about to shut down. Everything is served as
// before: a load balancer that sees it in time sends nobody who would be turned away.
func (a *API) Leave() { a.leaving.Store(true) }

func (c *call) readyz() error {
	if c.api.leaving.Load() {
		return c.answer(http.StatusServiceUnavailable, newObject(nil).str("status", "shutting down").end())
	}
	if !c.api.eng.Ready() {
		return c.answer(http.StatusServiceUnavailable, newObject(nil).str("status", "not accepting").end())
	}
	return c.healthz()
}
