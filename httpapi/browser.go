package httpapi

import (
	"net/http"

	"carillon/engine"
	"carillon/engine/ws"
)

// crossOrigin trusts no origin but the server's own: pages that may connect are not
// therefore allowed to push.
var crossOrigin http.CrossOriginProtection

// checkBrowser refuses what a browser sends for a page that is not this server's: a
// form or a fetch from another origin, and whatever a page sends whose own name was
// pointed at this server (DNS rebinding), which to the browser is of the same origin.
//
// Only the Host tells the latter. It decides where nothing else does, because no key
// is needed, or where names were configured. Probes are exempt: load balancers send
// them with a Host of their own making, and they tell nothing.
func (c *call) checkBrowser(probe bool) error {
	a := c.api
	if a.checkHost && !probe && !ws.HostAllowed(c.r.Host, a.hosts) {
		return &problem{
			status: http.StatusForbidden, code: engine.CodeUnauthorized, field: "Host",
			detail: engine.DetailHost,
		}
	}
	if crossOrigin.Check(c.r) != nil {
		return &problem{
			status: http.StatusForbidden, code: engine.CodeUnauthorized, field: "Origin",
			detail: "want no browser's request from another origin",
		}
	}
	return nil
}
