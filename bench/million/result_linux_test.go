package main

import (
	"strings"
	"testing"
)

// A result is good only if nothing is missing: each of these is.
func TestJudge(t *testing.T) {
	good := func() *result {
		r := &result{Clients: 1000, Connected: 1000, Heartbeats: 1, PingsAnswered: 1000, ServerDescriptors: 1010, ServerConnections: 1000}
		r.Push.Delivered = 1000
		r.Push.Report.Matched, r.Push.Report.Written, r.Push.Report.Queued = 1000, 990, 10
		return r
	}
	r := good()
	if r.judge(); r.failed() != nil {
		t.Fatalf("a good result: %v", r.failed())
	}
	for want, spoil := range map[string]func(*result){
		"999 of 1000 clients are connected": func(r *result) { r.Connected-- },
		"1 ended":                           func(r *result) { r.Broken++ },
		"the server counts 1001":            func(r *result) { r.ServerConnections++ },
		"999 descriptors":                   func(r *result) { r.ServerDescriptors = 999 },
		"no ping":                           func(r *result) { r.Heartbeats = 0 },
		"999 of 1000 pings":                 func(r *result) { r.PingsAnswered-- },
		"delivered 999 times":               func(r *result) { r.Push.Delivered-- },
		"1 lost":                            func(r *result) { r.Push.Lost++ },
		"1 doubled":                         func(r *result) { r.Push.Duplicated++ },
		"1 to the wrong":                    func(r *result) { r.Push.Wrong++ },
		"Matched:999":                       func(r *result) { r.Push.Report.Matched-- },
		"Written:989":                       func(r *result) { r.Push.Report.Written-- },
		"Dropped:1":                         func(r *result) { r.Push.Report.Dropped++ },
	} {
		r := good()
		spoil(r)
		r.judge()
		if err := r.failed(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}
