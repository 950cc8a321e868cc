package httpapi

import (
	"bytes"
	"log"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine"
)

// NewServer returns a server for h, an API or what wraps one, whose limits suit
// it: a request has 30 s to arrive (its head 10 s and 16 KiB), an answer six
// minutes from then on, of which a push may take five, and an idle connection stays
// for two. What net/http has to say goes to logger as warnings.
func NewServer(h http.Handler, logger zerolog.Logger) *http.Server {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      pushTimeout + time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    MaxHeaderBytes(16 << 10),
		ErrorLog:          log.New(warnings{logger}, "", 0),
		// "OPTIONS *" is a request as any other: without a key it gets 401.
		DisableGeneralOptionsHandler: true,
	}
	engine.ServeUpgrade(srv)
	return srv
}

// MaxHeaderBytes is what to tell an http.Server that is to take request heads of up to
// head bytes, but for at least 4 KiB: by itself it takes 4 KiB more than it is told.
func MaxHeaderBytes(head int) int { return max(head-4<<10, 1) }

// warnings is a log.Logger's output.
type warnings struct{ log zerolog.Logger }

func (w warnings) Write(line []byte) (int, error) {
	w.log.Warn().Bytes("error", bytes.TrimSpace(line)).Msg("http server")
	return len(line), nil
}
