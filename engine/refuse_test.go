package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// What goes wrong in the server is not put down to the client: it is answered 500 and
// logged as an error.
func TestInternalErrorsInHandshake(t *testing.T) {
	var log logBook
	logger := zerolog.New(&log).Level(zerolog.InfoLevel)
	authenticate := func(_ context.Context, h *Handshake) (Identity, error) { return QueryIdentity(h) }
	for name, o := range map[string]Options{
		"without Authenticate": {}, "with Authenticate": {Authenticate: authenticate}, "for a raw client": {NoWelcome: true},
	} {
		o.Logger = &logger
		e := newEngine(t, o)
		// The years that ids are made for are over.
		e.ids.clock.offset.Store(int64(200 * 365 * 24 * time.Hour))
		e.ids.clock.last.Store((100 * 365 * 24 * time.Hour).Milliseconds() << idSequenceBits)
		resp, err := http.ReadResponse(bufio.NewReader(rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1"))), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var body struct {
			Code   Code
			Detail string
		}
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != 500 || body.Code != CodeInternal || body.Detail != "" {
			t.Errorf("%s: %d %+v, %v, want 500 with code %d", name, resp.StatusCode, body, err, CodeInternal)
		}
		entries := log.take(t)
		if len(entries) != 1 || entries[0]["level"] != "error" {
			t.Errorf("%s: logged %v, want one error", name, entries)
		}
		if n := e.Stats().Refused[labelInternal]; n != 1 {
			t.Errorf("%s: counted %d times", name, n)
		}
	}
}

// The answer to each kind of error from Authenticate. None is a defect of the server's.
func TestAuthenticateErrors(t *testing.T) {
	var log logBook
	logger := zerolog.New(&log).Level(zerolog.InfoLevel)
	tests := []struct {
		err    error
		status int
		code   Code
	}{
		{errors.New("secret"), 401, CodeUnauthorized},
		{fmt.Errorf("wrapped: %w", &RefuseError{Status: 403, Code: CodeConnectFailed}), 403, CodeConnectFailed},
		{&RefuseError{Status: 500}, 500, CodeUnauthorized},
		{&FieldError{"token", "a token"}, 400, CodeBadParameter},
		{fmt.Errorf("token server: %w", context.DeadlineExceeded), 503, CodeConnectFailed},
		{context.Canceled, 503, CodeConnectFailed},
		{ErrNoClient, 401, CodeUnauthorized},
	}
	e := newEngine(t, Options{Logger: &logger, Authenticate: func(_ context.Context, h *Handshake) (Identity, error) {
		id, _ := QueryIdentity(h)
		n, err := strconv.Atoi(id.System)
		if err != nil {
			return id, err
		}
		return Identity{}, tests[n].err
	}})
	for n, tt := range tests {
		resp, err := http.ReadResponse(bufio.NewReader(rawConn(t, e, fmt.Sprintf(upgrade, fmt.Sprint("system_id=", n)))), nil)
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Code Code }
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != tt.status || body.Code != tt.code {
			t.Errorf("%v: %d %+v, %v, want %d with code %d", tt.err, resp.StatusCode, body, err, tt.status, tt.code)
		}
	}
	if entries := log.take(t); len(entries) > 0 {
		t.Errorf("logged %v", entries)
	}
}
