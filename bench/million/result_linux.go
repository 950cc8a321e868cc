package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"carillon/bench/machine"
	"carillon/bench/report"
)

// A result is what a run found. Times and rates are those of an emulated machine,
// some five to ten times slower than the host; memory is that of a kernel without huge
// pages and memory control groups.
type result struct {
	Command string          `json:"command"`
	Commit  string          `json:"commit"`
	Date    time.Time       `json:"date"`
	Machine machine.Machine `json:"machine"` // the host
	Guest   guest           `json:"guest"`

	ServerFlags []string          `json:"server_flags"`
	Sysctls     map[string]string `json:"sysctls"`
	OpenFiles   int               `json:"open_files_limit"` // of each process

	Clients int `json:"clients"`
	// Connected is how many were at the end, Broken how many had ended before.
	Connected         int64   `json:"connected"`
	Broken            int64   `json:"broken"`
	ConnectSeconds    float64 `json:"connect_seconds"`
	ConnectsPerSecond float64 `json:"connects_per_second"`

	HoldSeconds float64 `json:"hold_seconds"`
	// Heartbeats are the server's pings that clients answered, in all and in the hold.
	Heartbeats       int64 `json:"heartbeats"`
	HeartbeatsInHold int64 `json:"heartbeats_in_hold"`

	Push push `json:"push"`

	// PingsAnswered is by the server, of one from each client.
	PingsAnswered int64   `json:"pings_answered"`
	PingSeconds   float64 `json:"ping_seconds"`

	ServerDescriptors int `json:"server_descriptors"`
	ServerConnections int `json:"server_connections"` // by its own count
	// Retransmitted is how many TCP segments were sent again: the kernel had dropped
	// them, or the CPU came to them after more than 0.2 s.
	Retransmitted int           `json:"retransmitted"`
	Stages        []stage       `json:"stages"`
	PerClient     bytesByClient `json:"bytes_per_client"`
	Complaints    []string      `json:"complaints"` // the first few of the clients
	Failures      []string      `json:"failures"`
}

type guest struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory_bytes"`
}

// A push is the one message to all, by the answer to the call and by what arrived.
type push struct {
	Report struct {
		Matched int `json:"matched"`
		Written int `json:"written"`
		Queued  int `json:"queued"`
		Dropped int `json:"dropped"`
	} `json:"report"`
	AnswerSeconds float64        `json:"answer_seconds"`
	Delivered     int64          `json:"delivered"`
	Lost          int64          `json:"lost"`
	Duplicated    int64          `json:"duplicated"`
	Wrong         int64          `json:"wrong"`
	Seconds       float64        `json:"seconds"` // until the last had it
	Latency       report.Latency `json:"latency_us"`
}

// A stage is the machine at one moment.
type stage struct {
	Name      string  `json:"name"`
	Seconds   float64 `json:"seconds"` // since the first
	ServerRSS int64   `json:"server_rss_bytes"`
	ClientRSS int64   `json:"client_rss_bytes"`
	// Kernel is what no process has and no file is cached in.
	Kernel    int64   `json:"kernel_bytes"`
	ServerCPU float64 `json:"server_cpu_seconds"`
	ClientCPU float64 `json:"client_cpu_seconds"`
}

// bytesByClient is by how much memory grew until all were connected, for each: of
// the kernel for both ends.
type bytesByClient struct {
	Server  float64 `json:"server"`
	Clients float64 `json:"load_generator"`
	Kernel  float64 `json:"kernel_both_ends"`
}

// judge sets what follows from the figures.
func (r *result) judge() {
	fail := func(ok bool, format string, v ...any) {
		if !ok {
			r.Failures = append(r.Failures, fmt.Sprintf(format, v...))
		}
	}
	n := int64(r.Clients)
	fail(r.Broken == 0 && r.Connected == n, "%d of %d clients are connected, %d ended", r.Connected, n, r.Broken)
	fail(int64(r.ServerConnections) == n, "the server counts %d clients", r.ServerConnections)
	fail(r.ServerDescriptors >= r.Clients, "the server has %d descriptors", r.ServerDescriptors)
	fail(r.Heartbeats > 0, "the server sent no ping")
	fail(r.PingsAnswered == n, "%d of %d pings were answered", r.PingsAnswered, n)
	p := r.Push
	fail(p.Delivered == n && p.Lost == 0 && p.Duplicated == 0 && p.Wrong == 0,
		"the push was delivered %d times: %d lost, %d doubled, %d to the wrong client", p.Delivered, p.Lost, p.Duplicated, p.Wrong)
	fail(p.Report.Matched == r.Clients && p.Report.Dropped == 0 && p.Report.Written+p.Report.Queued == r.Clients,
		"its report says %+v", p.Report)
}

func (r *result) failed() error {
	if len(r.Failures) == 0 {
		return nil
	}
	return errors.New("FAILED: " + strings.Join(append(r.Failures, r.Complaints...), "; "))
}

func (r *result) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if file == "" {
		_, err = os.Stdout.Write(text)
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
