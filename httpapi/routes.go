package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"carillon/engine"
)

// A route is one path: what may ask for it, with which fields, and what answers.
type route struct {
	methods string   // as in an Allow header
	fields  []string // all that it takes; see lists for those that are lists
	open    bool     // GET needs no key
	probe   bool     // GET may come under any Host
	handle  func(*call) error
}

const (
	get  = "GET, HEAD"
	post = "POST"
)

var routes = map[string]route{
	"/push_to_client":    {post, pushes("system_id", "client_id"), false, false, (*call).pushToClient},
	"/push_to_clients":   {post, pushes("system_id", "client_ids"), false, false, (*call).pushToClients},
	"/push_to_group":     {post, pushes("system_id", "group_name", "exclude"), false, false, (*call).pushToGroup},
	"/push_to_system":    {post, pushes("system_id", "exclude"), false, false, (*call).pushToSystem},
	"/push_to_all":       {post, pushes(), false, false, (*call).pushToAll},
	"/bind_to_group":     {post, []string{"system_id", "client_id", "group_name", "notify"}, false, false, (*call).bind},
	"/unbind_from_group": {post, []string{"system_id", "client_id", "group_name", "notify"}, false, false, (*call).unbind},
	"/close_client":      {post, closing, false, false, (*call).closeClient},
	"/close":             {post, closing, false, false, (*call).closeClient},
	"/client":            {get, []string{"client_id", "system_id"}, false, false, (*call).client},
	"/clients":           {get, []string{"system_id", "group_name", "limit", "cursor"}, false, false, (*call).clients},
	"/stats":             {get, nil, false, false, (*call).stats},
	"/healthz":           {get, nil, true, true, (*call).healthz},
	"/readyz":            {get, nil, true, true, (*call).readyz},
	"/":                  {get, []string{"system_id", "group_name", "user_id"}, true, false, (*call).demo}, // read by the page
}

// pushes is the fields of a push to whom the given ones say.
func pushes(whom ...string) []string { return append(whom, "data", "params", "binary", "report") }

var closing = []string{"system_id", "client_id", "code", "reason", "notify"}

// lists are the fields whose elements may come one by one, in all calls that have them.
var lists = []string{"client_ids", "exclude"}

func isList(field string) bool { return slices.Contains(lists, field) }

// noSuchPath names the nearest path that there is.
func (a *API) noSuchPath(path string) *problem {
	var paths []string
	for p := range routes {
		if p != "/" { // it is near to all that is short, and is not what was meant
			paths = append(paths, p)
		}
	}
	if !a.apiOnly {
		paths = append(paths, a.wsPath)
	}
	slices.Sort(paths)
	detail := "want the path of a call; the nearest is "
	if near := nearest(path, paths); near != a.wsPath {
		detail += near
	} else {
		detail = engine.DetailPath(near)
	}
	return &problem{status: http.StatusNotFound, code: engine.CodeBadParameter, field: "path", detail: detail}
}

// noSuchField names the nearest field that the call takes, and all of them.
func noSuchField(name string, known []string) *problem {
	p := badField(shown(name), "")
	switch base, _, indexed := engine.CutIndex(name); {
	case len(known) == 0:
		p.detail = "no such field: this call takes none"
	case indexed && slices.Contains(known, base) && !isList(base):
		p.field, p.detail = base, "want one value under the name "+base+": it is no list, and has no []"
	default:
		p.detail = "no such field; the nearest is " + nearest(name, known) + ", and this call takes " + strings.Join(known, ", ")
	}
	return p
}
