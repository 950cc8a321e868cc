package main

import (
	"io"
	"testing"
)

// The conformance tests drive the server through a socket with bytes, case by case
// as the public WebSocket test suite does, whose numbers the cases bear, with x for
// those it has not. Each file has some of its sections:
//
//	frames     1 framing, 2 pings, 3 reserved bits, 4 opcodes, 5 fragments
//	text       6 UTF-8
//	close      7 closing
//	large      9 sizes, 10 fragments
//	deflate    12 compression, 13 what is offered for it
//	handshake  the request, which the suite leaves out

// A conformanceCase is what a client sends and what has to come back. If the last
// arrival is no close, the client then closes itself, and that has to work.
type conformanceCase struct {
	name  string
	send  string
	chop  int // bytes of a write, 0 for all in one
	want  []arrival
	offer string // extensions
	late  string // is sent after the server's close, and changes nothing
}

// startEcho starts the server for them. Only a closing handshake ends a connection
// in time, not the server's patience.
func startEcho(t *testing.T) *server {
	return start(t, "-on-message", "echo", "-compress", "-max-message", "16MiB", "-close-timeout", "10m")
}

// conform runs the cases, each on a connection of its own.
func (s *server) conform(t *testing.T, tests []conformanceCase) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := s.connect(t, tt.offer)
			p.writeChopped(tt.send, tt.chop)
			closed := false
			for i, want := range tt.want {
				if got := p.read(); got != want {
					t.Fatalf("arrival %d is %v, want %v", i+1, got, want)
				}
				closed = want.op == 8
			}
			if !closed {
				p.bye()
				return
			}
			_, _ = io.WriteString(p.conn, tt.late) // the server may be gone
			p.end()
		})
	}
}

// octetWise adds each case a second time, with one byte a write.
func octetWise(tests []conformanceCase) []conformanceCase {
	for _, tt := range tests {
		tt.name += ", octet by octet"
		tt.chop = 1
		tests = append(tests, tt)
	}
	return tests
}
