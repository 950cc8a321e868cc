package main

import (
	"errors"
	"strings"

	"carillon/engine"
	"carillon/httpapi"
)

// optionFlags are the flags of the options of engine.Options and httpapi.Options, so
// that what these refuse is said in the operator's words. A test keeps it complete.
var optionFlags = map[string]string{
	"Addr":               "addr",
	"SocketMode":         "socket-mode",
	"NotifyLeave":        "notify-leave",
	"Path":               "path",
	"WebSocketPath":      "path",
	"AllowOrigins":       "allow-origin",
	"AllowHosts":         "allow-host",
	"APIKeys":            "api-key",
	"TLS":                "tls-cert",
	"Lang":               "lang",
	"MaxMessageBytes":    "max-message",
	"Compress":           "compress",
	"CompressMin":        "compress-min",
	"MaxConnections":     "max-connections",
	"MaxPerIP":           "max-per-ip",
	"HandshakesPerIP":    "handshakes-per-ip",
	"TrustedProxies":     "trusted-proxies",
	"TrustUnix":          "trusted-proxies",
	"MaxInboundMessages": "max-inbound-rate",
	"MaxInboundBytes":    "max-inbound-bytes",
	"MemoryLimit":        "memory-limit",
	"MaxQueuedBytes":     "max-queue",
	"SlowPolicy":         "slow-policy",
	"MaxQueuedTotal":     "max-queue-total",
	"MaxGroups":          "max-groups",
	"MaxPendingPushes":   "max-pending",
	"MaxPendingBytes":    "max-pending-bytes",
	"MaxHandshakeBytes":  "max-handshake",
	"HandshakeTimeout":   "handshake-timeout",
	"MessageTimeout":     "message-timeout",
	"PingInterval":       "ping-interval",
	"PongTimeout":        "pong-timeout",
	"CloseTimeout":       "close-timeout",
	"DrainRate":          "drain-rate",
	"Pollers":            "pollers",
	"NodeID":             "node-id",
}

// inFlags is err, an option that was refused, as a mistake in its flag or variable.
func (c *config) inFlags(err error) error {
	var option, value, want string
	var ofEngine *engine.OptionError
	var ofAPI *httpapi.OptionError
	switch {
	case errors.As(err, &ofEngine):
		option, value, want = ofEngine.Option, ofEngine.Value, ofEngine.Want
	case errors.As(err, &ofAPI):
		option, value, want = ofAPI.Option, ofAPI.Value, ofAPI.Want
	}
	st := c.find(optionFlags[option])
	if st == nil {
		return err
	}
	// What was written says more than what it came to, but of a list one part is wrong.
	if st.text == "" || strings.Contains(st.text, value) {
		said := *st
		said.text = value
		st = &said
	}
	return st.wrong("want " + want)
}
