package httpapi

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"html"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

//go:embed demo.html
var demoHTML string

// A page is the text of / and the policy that lets a browser run nothing but
// what stands in it. Both lack where clients connect.
type page struct{ text, policy string }

func newPage(wsPath string, needsKey, apiOnly, clientsTLS bool) page {
	return page{
		text: strings.NewReplacer(
			"{{ws-path}}", html.EscapeString(wsPath),
			"{{ws-tls}}", strconv.FormatBool(apiOnly && clientsTLS),
			"{{needs-key}}", strconv.FormatBool(needsKey),
		).Replace(demoHTML),
		// What varies is in attributes, so that the hashes are of fixed texts.
		policy: "default-src 'none'; script-src " + inlineHash("script") + "; style-src " + inlineHash("style") +
			"; img-src data:; connect-src 'self'" + connectTo + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

// Where the address of the clients' listener goes.
const (
	connectTo = "{{connect-to}}"
	wsHost    = "{{ws-host}}"
	wsPort    = "{{ws-port}}"
)

// clientsAt is where clients connect, if that is not where the page comes from: an
// empty host is the page's own, by whatever name that is. That is right if the clients'
// listener listens everywhere, or where the API was called. A unix socket is a proxy's,
// which has clients and page under one name.
func (c *call) clientsAt() (host, port string) {
	at, ok := c.api.eng.Addr().(*net.TCPAddr)
	if !c.api.apiOnly || !ok {
		return "", ""
	}
	called, _ := c.r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !at.IP.IsUnspecified() && (called == nil || !called.IP.Equal(at.IP)) {
		host = at.IP.String()
		if at.IP.To4() == nil {
			host = "[" + host + "]"
		}
	}
	return host, strconv.Itoa(at.Port)
}

// connectSource is the source expression of the policy that lets the page connect to
// the port: of host, or of the page's own. A policy has no words for IPv6 addresses.
func (c *call) connectSource(host, port string) string {
	if port == "" {
		return ""
	}
	if host == "" {
		host = (&url.URL{Host: c.r.Host}).Hostname()
	}
	if !plainHost.MatchString(host) {
		host = "*"
	}
	return " ws://" + host + ":" + port + " wss://" + host + ":" + port
}

var plainHost = regexp.MustCompile(`^[0-9A-Za-z._-]+$`)

// inlineHash is the source expression of the page's one element of that name.
func inlineHash(element string) string {
	_, text, _ := strings.Cut(demoHTML, "<"+element+">")
	text, _, _ = strings.Cut(text, "</"+element+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// demo answers with the page to try Carillon with.
func (c *call) demo() error {
	host, port := c.clientsAt()
	text := strings.NewReplacer(wsHost, host, wsPort, port).Replace(c.api.page.text)
	c.w.Header().Set("Content-Security-Policy", strings.Replace(c.api.page.policy, connectTo, c.connectSource(host, port), 1))
	c.w.Header().Set("Referrer-Policy", "no-referrer")
	c.begin(http.StatusOK, "text/html; charset=utf-8", len(text))
	_, _ = c.w.Write([]byte(text))
	return nil
}
