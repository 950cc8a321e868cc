package httpapi

import (
	"errors"
	"net/http"

	"carillon/engine"
)

// webSocket gives a request for the path of the WebSocket back to the engine, whose
// connection it came over. It needs no key: who may connect is the engine's business. What
// came over another listener is answered: clients connect elsewhere.
func (c *call) webSocket() error {
	detail := "want clients to connect to the server's other listener: this one is for the API alone"
	if !c.api.apiOnly {
		err := c.api.eng.Upgrade(c.w, c.r)
		if err == nil {
			c.status = http.StatusSwitchingProtocols // or what the engine has answered
			return nil
		}
		if !errors.Is(err, engine.ErrNotHanded) {
			return err
		}
		detail = "want a WebSocket handshake with the engine's own listener"
	}
	if c.r.Method != http.MethodGet {
		return wrongMethod(http.MethodGet)
	}
	return &problem{
		status: http.StatusUpgradeRequired, code: engine.CodeConnectFailed, field: "Upgrade",
		detail: detail, header: [2]string{"Upgrade", "websocket"},
	}
}
