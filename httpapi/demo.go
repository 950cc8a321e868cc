package httpapi

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"html"
	"net/http"
	"strconv"
	"strings"
)

//go:embed demo.html
var demoHTML string

// A page is the text of / and the policy that lets a browser run nothing but
// what stands in it.
type page struct{ text, policy string }

func newPage(wsPath string, needsKey bool) page {
	return page{
		text: strings.NewReplacer(
			"{{ws-path}}", html.EscapeString(wsPath),
			"{{needs-key}}", strconv.FormatBool(needsKey),
		).Replace(demoHTML),
		// Path and key are in attributes, so that the hashes are of fixed texts.
		policy: "default-src 'none'; script-src " + inlineHash("script") + "; style-src " + inlineHash("style") +
			"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

// inlineHash is the source expression of the page's one element of that name.
func inlineHash(element string) string {
	_, text, _ := strings.Cut(demoHTML, "<"+element+">")
	text, _, _ = strings.Cut(text, "</"+element+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// demo answers with the page to try Carillon with.
func (c *call) demo() error {
	c.w.Header().Set("Content-Security-Policy", c.api.page.policy)
	c.w.Header().Set("Referrer-Policy", "no-referrer")
	c.begin(http.StatusOK, "text/html; charset=utf-8", len(c.api.page.text))
	_, _ = c.w.Write([]byte(c.api.page.text))
	return nil
}
