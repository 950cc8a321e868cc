// Package httpapi is Carillon's HTTP API: a backend pushes messages, manages
// groups and looks at clients over it. It translates between HTTP and
// engine.Engine and keeps no state of its own.
//
//	api, err := httpapi.New(httpapi.Options{Engine: eng})
//	srv := httpapi.NewServer(api, logger)
//	err = srv.Serve(eng.HTTP())
//
// On a listener of its own, give Serve a NewListener.
//
// # Calls
//
//	POST /push_to_client     system_id client_id data
//	POST /push_to_clients    system_id client_ids data
//	POST /push_to_group      system_id group_name data [exclude]
//	POST /push_to_system     system_id data [exclude]
//	POST /push_to_all        data
//	POST /bind_to_group      system_id client_id group_name [notify]
//	POST /unbind_from_group  system_id client_id group_name [notify]
//	POST /close_client       system_id client_id [code] [reason] [notify]; also /close
//	GET  /client             client_id [system_id]
//	GET  /clients            [system_id] [group_name] [limit] [cursor]
//	GET  /stats /healthz /readyz
//	GET  /                   a page to try it with
//
// Every push also takes params, a JSON value for the envelope's "params";
// binary=true, which makes data standard base64 of a binary message; and report=none,
// which does not wait for what becomes of it. A client that client_ids names twice gets
// one message.
//
// With notify=true the members of the group, or of all groups of a client that is
// closed, get an envelope of code 10012 (joined) or 10003 (left) whose data is
// {"client_id":"…","user_id":"…"} and whose message_id is the answer's; it stays empty
// where nobody was told. To be told of connects and disconnects, see
// engine.QueryIdentity and engine.Options.NotifyLeave. code is that of the close frame:
// 1000, or 3000 to 4999, by default 3500.
//
// # Fields
//
// A POST has one body of at most 1 MiB: a URL-encoded form, a multipart form or
// a JSON object. A GET has its fields in the query. Fields in the other place are an
// error, and so is a field that the call does not know: the answer names the nearest one
// that it does. A field may come only once, but for the elements of client_ids and
// exclude in a form, which may also be called NAME[], or NAME[n] in the order of n. A
// form has at most 10,000 fields. A byte order mark before a body is skipped.
//
// JSON null stands for an absent field, except in data and params, where it is the value.
// A name is a string of 1 to 128 bytes; in JSON, names and ids may also be integers,
// taken digit by digit. A flag is true or false in JSON, and in a form also 1 or 0, in
// any case. JSON nests at most 64 deep and has no half surrogate pairs, so that every
// receiver's parser takes it.
//
// # Answers
//
// The HTTP status is the one test of success: below 300, what was asked for was done.
// "code" says what happened in the terms of the original library, and differs from call
// to call.
//
// Answers are JSON that ends with a newline, in the envelope of the original library
// where it had one. A push answers 200 with a report once the message was handed over to
// all, or 202 at once with report=none: then it was admitted. report counts the clients
// that it was for: matched = written + queued + dropped. A push to a group, a system or
// all that matches nobody is a success. /push_to_clients answers with an array of one
// such envelope for each id, in their order, in which code (10009, 10004 or 10008) and
// report are those of that client; with more than one id, its data is null.
//
// Errors have the body
//
//	{"code":10017,"msg":"…","field":"limit","detail":"want an integer from 1 to 1000"}
//
// where field is the bad field, the bad header's name, "path", "query" or "body",
// or empty; detail is for a developer to read, in English:
//
//	400 10011  system_id is missing
//	400 10017  a field or the body is not as it must be
//	401 10014  the API key is missing or wrong
//	403 10014  a browser sent this from another origin ("Origin"), or it calls the
//	           server by a name that is not the server's ("Host")
//	404 10004  no such client in that system
//	404 10017  no such path
//	405 10016  wrong method; the Allow header has the right ones
//	413 10017  the body is over 1 MiB
//	415 10017  the body's type, charset or encoding is not one of the above
//	426 10002  a plain request for the path of the WebSocket
//	500 10015  a defect of the server
//	503 10008  a push to one client was lost: its connection could not take it
//	503 10008  too many pushes wait; with Retry-After, and nothing was sent
//	503 10002  too many connections to the API; with Retry-After
//	503 10015  the server is shutting down
//	504 10008  the push takes longer than five minutes; it goes on
//
// An answer of 400 to 426 means that nothing was done. Every request is answered, and
// what it asks for does not depend on the caller staying: one that sends FIN behind its
// request still gets the answer. An answer of 401, and one that does not wait for the
// rest of the request's body, ends the connection; up to 64 MiB of the rest are taken
// off the caller for up to 10 s, so that it can read the answer.
//
// # Browsers
//
// The API is for backends. What a browser sends for a page of another origin is
// refused with 403 (see http.CrossOriginProtection), but for GET, of which other pages
// cannot read the answer. As long as no key is needed, Host must be an IP address,
// localhost or one of AllowHosts, so that a page cannot read it either after its own
// name was pointed at the server (DNS rebinding). The exceptions are /healthz and
// /readyz, which load balancers ask for under any Host, and which tell nothing. 403
// and not 421: trying again over another connection would not help.
package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"carillon/engine"
	"carillon/engine/ws"
)

// pushTimeout bounds how long an answer waits for a fan-out: one to a million
// clients takes minutes on a slow machine.
const pushTimeout = 5 * time.Minute

// Options configures New.
type Options struct {
	// Engine is what the API works on. Required.
	Engine *engine.Engine
	// Lang is the language of "msg". Default Chinese, as in engine.Options.
	Lang engine.Lang
	// APIKeys are the keys of which a request must bear one, as
	// "Authorization: Bearer KEY"; several allow to change keys without a gap.
	// GET of /, /healthz and /readyz needs none. SetKeys replaces them while the API
	// serves. Default: nothing needs a key.
	APIKeys []string
	// TrustedProxies and TrustUnix are the engine's: whom a call without a right key is
	// from, for the log, is what they say.
	TrustedProxies []netip.Prefix
	TrustUnix      bool
	// AllowHosts are the names by which the server may be called, besides IP addresses
	// and localhost: push.example.com, *.example.com for all below it, or * for any; see
	// Browsers above. Default: any where keys are needed, otherwise none.
	AllowHosts []string
	// APIOnly says that clients connect to another listener. A request for
	// WebSocketPath is then told so, and the page connects there.
	APIOnly bool
	// ClientsTLS says that the other listener speaks TLS.
	ClientsTLS bool
	// Version is what /stats says. Default "dev".
	Version string
	// WebSocketPath is where clients connect, for the page and for the answer to
	// requests that should have gone there. Default /ws, as in engine.Options.
	WebSocketPath string
	// Logger gets defects as errors and, at debug level, each request; never a
	// key, a query or a body. The zero Logger writes nothing.
	Logger zerolog.Logger
}

// An API is an http.Handler. It may serve any number of requests at once.
type API struct {
	// Immutable.
	eng        *engine.Engine
	lang       engine.Lang
	version    string
	wsPath     string
	apiOnly    bool
	clientsTLS bool
	log        zerolog.Logger
	page       page
	timeout    time.Duration
	proxies    []netip.Prefix // TrustedProxies
	trustUnix  bool

	checkHost bool
	hosts     []string // AllowHosts

	auth    auth
	leaving atomic.Bool // see Leave
}

// An OptionError is what New says of options that cannot be. It never has a key in it.
type OptionError struct {
	Option string // the field of Options
	Value  string // what it is, if that may be said
	Want   string // what it should be
}

// Error implements error.
func (e *OptionError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("httpapi: %s: want %s", e.Option, e.Want)
	}
	return fmt.Sprintf("httpapi: %s: %s: want %s", e.Option, e.Value, e.Want)
}

// New checks the options and makes the API. The engine need not have started.
func New(o Options) (*API, error) {
	if o.Engine == nil {
		return nil, &OptionError{"Engine", "", "one"}
	}
	a := &API{
		eng: o.Engine, lang: o.Lang, log: o.Logger, timeout: pushTimeout,
		version: strings.ToValidUTF8(o.Version, "?"), wsPath: o.WebSocketPath, apiOnly: o.APIOnly,
		clientsTLS: o.ClientsTLS, proxies: slices.Clone(o.TrustedProxies), trustUnix: o.TrustUnix,
		checkHost: len(o.APIKeys) == 0 || len(o.AllowHosts) > 0, hosts: slices.Clone(o.AllowHosts),
	}
	if a.version == "" {
		a.version = "dev"
	}
	if a.wsPath == "" {
		a.wsPath = "/ws"
	}
	if _, taken := routes[a.wsPath]; taken || !strings.HasPrefix(a.wsPath, "/") {
		return nil, &OptionError{"WebSocketPath", a.wsPath, "a path that begins with / and is no call's"}
	}
	if err := a.auth.set(o.APIKeys); err != nil {
		return nil, err
	}
	for _, name := range o.AllowHosts {
		if !ws.ValidHostName(name) {
			return nil, &OptionError{"AllowHosts", name, "a name without a port, such as push.example.com, or *"}
		}
	}
	a.page = newPage(a.wsPath, a.needsKey(), a.apiOnly, a.clientsTLS)
	return a, nil
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{api: a, w: w, r: r}
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			a.log.Error().Str("path", r.URL.Path).Str("panic", fmt.Sprint(v)).
				Str("stack", string(debug.Stack())).Msg("request panicked")
			if c.status != 0 { // a part of the answer is out: only breaking off tells
				panic(http.ErrAbortHandler)
			}
			c.refuse(&problem{status: http.StatusInternalServerError, code: engine.CodeInternal})
		}
		a.log.Debug().Str("method", r.Method).Str("path", r.URL.Path).Str("remote", r.RemoteAddr).
			Int("status", c.status).Dur("took", time.Since(start)).Msg("request")
		c.linger()
	}()
	if err := c.serve(); err != nil {
		c.refuse(err)
	}
}

// A call is one request on its way to its answer. It belongs to the goroutine
// that serves the request.
type call struct {
	api *API
	w   http.ResponseWriter
	r   *http.Request
	*fields
	bodyRead bool // to its end
	closing  bool // the answer is the connection's last
	status   int  // 0 until the answer begins
}

func isGet(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

func (c *call) serve() error {
	a, path := c.api, c.r.URL.Path
	if path == a.wsPath {
		return c.webSocket()
	}
	isGet := isGet(c.r)
	rt, known := routes[path]
	if err := c.checkBrowser(rt.probe && isGet); err != nil {
		return err
	}
	if !(rt.open && isGet) && !a.authorized(c.r) {
		c.closing = true // strangers keep no connections
		a.noteUnauthorized(c.r)
		return &problem{
			status: http.StatusUnauthorized, code: engine.CodeUnauthorized, field: "Authorization",
			detail: "want a configured API key, as Bearer KEY", header: [2]string{"WWW-Authenticate", `Bearer realm="carillon"`},
		}
	}
	switch {
	case !known:
		return a.noSuchPath(path)
	case isGet != (rt.methods == get) || !isGet && c.r.Method != http.MethodPost:
		return wrongMethod(rt.methods)
	}
	var err error
	switch {
	case !isGet && c.r.URL.RawQuery != "":
		return badField("query", "none: the fields of a POST belong into its body")
	case isGet && c.r.ContentLength != 0 && len(rt.fields) > 0 && !rt.open:
		return badField("body", "none: the fields of a GET belong into its query")
	case isGet:
		c.fields, err = decodeForm("query", c.r.URL.RawQuery, rt.fields)
	default:
		c.fields, err = c.readFields(rt.fields)
	}
	if err != nil {
		return err
	}
	return rt.handle(c)
}

// begin sends the status and the headers, once. A size of -1 means not known.
func (c *call) begin(status int, contentType string, size int) {
	c.status = status
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if c.closing = c.closing || c.mustClose(); c.closing {
		h.Set("Connection", "close")
	}
	if size >= 0 {
		h.Set("Content-Length", strconv.Itoa(size))
	}
	c.w.WriteHeader(status)
}

// answer sends a whole answer, and the end of its line. That the peer no longer reads
// it is not an error of the call.
func (c *call) answer(status int, body []byte) error {
	body = append(body, '\n')
	c.begin(status, "application/json", len(body))
	_, _ = c.w.Write(body)
	return nil
}
