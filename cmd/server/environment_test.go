package main

import (
	"io"
	"slices"
	"testing"
)

// What an orchestrator makes is nobody's mistake; what an operator misspells is, and
// the variable that was meant is named.
func TestUnknownVariables(t *testing.T) {
	tests := []struct {
		env  string
		want []unknownVariable
	}{
		{"CARILLON_PORT=tcp://10.0.0.1:9991", nil},
		{"CARILLON_SERVICE_HOST=10.0.0.1", nil},
		{"CARILLON_SERVICE_HOST=fd00::1", nil},
		{"CARILLON_SERVICE_PORT=9991", nil},
		{"CARILLON_SERVICE_PORT_WS=9991", nil},
		{"CARILLON_PORT_9991_TCP=tcp://10.0.0.1:9991", nil},
		{"CARILLON_PORT_9991_TCP=tcp://[fd00::1]:9991", nil},
		{"CARILLON_PORT_9991_TCP_PROTO=tcp", nil},
		{"CARILLON_PORT_9991_TCP_PORT=9991", nil},
		{"CARILLON_PORT_9991_TCP_ADDR=10.0.0.1", nil},
		{"CARILLON_API_SERVICE_HOST=10.0.0.1", nil}, // of a service carillon-api
		{"CARILLON_API_PORT=tcp://10.0.0.1:80", nil},
		{"CARILLON_API_PORT_80_UDP_ADDR=10.0.0.1", nil},
		{"OTHER_MAX_QUEU=1", nil},
		{"CARILLON_MAX_QUEUE=1KiB", nil},

		{"CARILLON_MAX_QUEU=1", []unknownVariable{{"CARILLON_MAX_QUEU", "CARILLON_MAX_QUEUE"}}},
		{"CARILLON_MAXQUEUE=1", []unknownVariable{{"CARILLON_MAXQUEUE", "CARILLON_MAX_QUEUE"}}},
		{"CARILLON_max_queue=1", []unknownVariable{{"CARILLON_max_queue", "CARILLON_MAX_QUEUE"}}},
		{"CARILLON_API_KEYS=k", []unknownVariable{{"CARILLON_API_KEYS", "CARILLON_API_KEY"}}},
		{"CARILLON_ADR=:1", []unknownVariable{{"CARILLON_ADR", "CARILLON_ADDR"}}},
		{"CARILLON_DRAIN=1s", []unknownVariable{{"CARILLON_DRAIN", "CARILLON_DRAIN_RATE"}}},
		{"CARILLON_PORT=9991", []unknownVariable{{"CARILLON_PORT", ""}}}, // an operator's: Kubernetes has a URL
		{"CARILLON_SOMETHING_ELSE=1", []unknownVariable{{"CARILLON_SOMETHING_ELSE", ""}}},
		{"CARILLON_=1", []unknownVariable{{"CARILLON_", ""}}},
	}
	for _, tt := range tests {
		c, err := parseConfig(nil, []string{tt.env}, io.Discard)
		if err != nil || !slices.Equal(c.unknownEnv, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.env, c.unknownEnv, err, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"abc", "abc", 0}, {"max-queue", "max-quue", 1}} {
		if got := distance(tt.a, tt.b); got != tt.want || distance(tt.b, tt.a) != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
