package httpapi

import (
	"net/http"

	"carillon/engine"
)

// webSocket answers a request for the path of the WebSocket. It needs no key: who may
// connect is the engine's business.
func (c *call) webSocket() error {
	if !isGet(c.r) {
		return wrongMethod(http.MethodGet)
	}
	detail := "want a WebSocket handshake"
	if c.api.apiOnly {
		detail = "want clients to connect to the server's other listener: this one is for the API alone"
	}
	return &problem{
		status: http.StatusUpgradeRequired, code: engine.CodeConnectFailed, field: "Upgrade",
		detail: detail, header: [2]string{"Upgrade", "websocket"},
	}
}
