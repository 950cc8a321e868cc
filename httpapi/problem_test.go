package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"carillon/engine"
)

func TestErrorsOfTheEngine(t *testing.T) {
	tests := []struct {
		err    error
		status int
		body   string
	}{
		{&engine.FieldError{Field: "group_name", Want: "a name"}, 400, `{"code":10017,"msg":"bad parameter","field":"group_name","detail":"want a name"}`},
		{engine.ErrNoClient, 404, `{"code":10004,"msg":"no such client","field":"client_id",`},
		{engine.ErrBusy, 503, `{"code":10008,"msg":"failed to send the message","field":"",`},
		{engine.ErrShutdown, 503, `{"code":10015,`},
		{context.DeadlineExceeded, 504, `{"code":10008,`},
		{errors.New("a secret path"), 500, `{"code":10015,"msg":"internal error","field":"","detail":""}`},
	}
	for _, tt := range tests {
		for _, err := range []error{tt.err, fmt.Errorf("wrapped: %w", tt.err)} {
			var logs strings.Builder
			rec := httptest.NewRecorder()
			c := &call{
				api: &API{lang: engine.English, log: zerolog.New(&logs)},
				w:   rec, r: httptest.NewRequest("POST", "/push_to_all", nil),
			}
			c.refuse(err)
			if got := rec.Body.String(); rec.Code != tt.status || !strings.HasPrefix(got, tt.body) {
				t.Errorf("%v: %d %s, want %d %s", err, rec.Code, got, tt.status, tt.body)
			}
			if busy := errors.Is(err, engine.ErrBusy); busy != (rec.Header().Get("Retry-After") == "1") {
				t.Errorf("%v: Retry-After %q", err, rec.Header().Get("Retry-After"))
			}
			if logged := logs.String() != ""; logged != (tt.status == 500) {
				t.Errorf("%v: logged %q", err, logs.String())
			}
		}
	}
}

func TestNobodyIsAnsweredWhoLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var logs strings.Builder
	rec := httptest.NewRecorder()
	c := &call{
		api: &API{log: zerolog.New(&logs)}, w: rec,
		r: httptest.NewRequest("POST", "/push_to_all", nil).WithContext(ctx),
	}
	c.refuse(context.Canceled)
	if c.status != 0 || rec.Body.Len() != 0 || logs.String() != "" {
		t.Errorf("status %d, body %q, log %q, want none", c.status, rec.Body, &logs)
	}
}
