package engine

import "carillon/engine/ws"

// A CloseReason says why a connection ended. It labels the log line, the
// counter, the close frame and the OnClose call, so they cannot disagree.
type CloseReason uint8

// Reasons a connection ends. Their texts are stable: they label metrics.
const (
	ClosePeer         CloseReason = iota + 1 // the peer sent a close frame
	CloseReset                               // the peer's connection broke or ended without a close frame
	CloseHeartbeat                           // silent for PingInterval plus PongTimeout
	CloseSlowConsumer                        // more unread bytes than MaxQueuedBytes
	CloseProtocol                            // the peer broke RFC 6455
	CloseTooBig                              // a message over MaxMessageBytes
	CloseRate                                // more inbound messages or bytes a second than allowed
	CloseBackend                             // Engine.Close or Client.Close
	CloseShutdown                            // the server is shutting down
	ClosePanic                               // a callback panicked
	CloseMemory                              // held most when MaxQueuedTotal was spent; no close frame
	CloseUnfinished                          // a message not finished within MessageTimeout
	numCloseReasons
)

// Close codes of our own. By convention 3000 to 3499 ask a client to reconnect
// and 3500 to 3999 ask it not to.
const (
	closeCodeHeartbeat ws.CloseCode = 3000
	closeCodeDrain     ws.CloseCode = 3001
	closeCodeSlow      ws.CloseCode = 3008
	closeCodeBackend   ws.CloseCode = 3500
)

var closeReasons = [numCloseReasons]struct {
	text string
	code ws.CloseCode // of the frame sent where the peer's does not decide
}{
	ClosePeer:         {"peer", ws.CloseNormal},
	CloseReset:        {"reset", 0},
	CloseHeartbeat:    {"heartbeat", closeCodeHeartbeat},
	CloseSlowConsumer: {"slow consumer", closeCodeSlow},
	CloseProtocol:     {"protocol", ws.CloseProtocolError},
	CloseTooBig:       {"too big", ws.CloseMessageTooBig},
	CloseRate:         {"inbound rate", ws.ClosePolicyViolation},
	CloseBackend:      {"backend", closeCodeBackend},
	CloseShutdown:     {"shutdown", closeCodeDrain},
	ClosePanic:        {"panic", ws.CloseInternalError},
	CloseMemory:       {"memory", 0},
	CloseUnfinished:   {"unfinished message", ws.ClosePolicyViolation},
}

// String is the reason's stable name, for logs and metric labels.
func (r CloseReason) String() string {
	if r == 0 || r >= numCloseReasons {
		return "unknown"
	}
	return closeReasons[r].text
}

// CloseReasons returns every reason, for whoever exports counters.
func CloseReasons() []CloseReason {
	all := make([]CloseReason, 0, numCloseReasons-1)
	for r := ClosePeer; r < numCloseReasons; r++ {
		all = append(all, r)
	}
	return all
}
