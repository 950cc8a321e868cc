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
				w:   rec, r: httptest.NewRequest("POST", "http://localhost/push_to_all", nil),
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

// The context of a request ends when its caller sends FIN, who may still be reading.
func TestAnsweredAfterTheCallersFIN(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rec := httptest.NewRecorder()
	c := &call{
		api: &API{}, w: rec,
		r: httptest.NewRequest("POST", "http://localhost/push_to_all", nil).WithContext(ctx),
	}
	c.refuse(errors.New("a defect"))
	if rec.Code != 500 || !strings.Contains(rec.Body.String(), `"code":10015`) {
		t.Errorf("%d %s, want 500 with its body", rec.Code, rec.Body)
	}
}
