package main

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A hub is the registry that most users of these libraries write: maps under a
// mutex. C is the library's connection.
type hub[C comparable] struct {
	mu      sync.RWMutex // guards the following fields
	clients map[string]C
	members map[target]map[C]struct{}
}

// A target is who a push is for: one client, or a group of a system, or a system,
// or everyone if all fields are empty.
type target struct{ client, system, group string }

// An identity is what the server knows of a client.
type identity struct {
	id     string
	system string
	groups []string
}

// pingInterval is Carillon's default, and its patience: a client that stays
// silent for pingInterval+pongWait is gone.
const (
	pingInterval = 54 * time.Second
	pongWait     = 60 * time.Second
)

var errNoSystem = errors.New("system_id is missing: want /ws?system_id=S")

var lastID atomic.Int64

// identify reads the query of a handshake and gives the client an id as long as
// Carillon's.
func identify(query url.Values) (identity, error) {
	who := identity{system: strings.Clone(query.Get("system_id"))} // or the request stays in memory
	if who.system == "" {
		return who, errNoSystem
	}
	for _, g := range query["group_name"] {
		who.groups = append(who.groups, strings.Clone(g))
	}
	who.id = strconv.FormatInt(250_000_000_000_000_000+lastID.Add(1), 10)
	return who, nil
}

// targets are the sets that a client is a member of.
func (who identity) targets() []target {
	all := []target{{}, {system: who.system}}
	for _, g := range who.groups {
		all = append(all, target{system: who.system, group: g})
	}
	return all
}

func newHub[C comparable]() *hub[C] {
	return &hub[C]{clients: map[string]C{}, members: map[target]map[C]struct{}{}}
}

func (h *hub[C]) join(who identity, c C) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients[who.id] = c
	for _, t := range who.targets() {
		if h.members[t] == nil {
			h.members[t] = map[C]struct{}{}
		}
		h.members[t][c] = struct{}{}
	}
}

// leave may be called for a client that is not there.
func (h *hub[C]) leave(who identity, c C) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, who.id)
	for _, t := range who.targets() {
		if delete(h.members[t], c); len(h.members[t]) == 0 {
			delete(h.members, t)
		}
	}
}

// match is a copy, so that a send which fails may call leave.
func (h *hub[C]) match(to target) []C {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if to.client == "" {
		return slices.AppendSeq(make([]C, 0, len(h.members[to])), maps.Keys(h.members[to]))
	}
	c, ok := h.clients[to.client]
	if !ok {
		return nil
	}
	if _, ok := h.members[target{system: to.system}][c]; !ok {
		return nil
	}
	return []C{c}
}

// heartbeat pings everyone once per pingInterval, until stop is closed. It serves
// the libraries that leave pings to their users.
func (h *hub[C]) heartbeat(stop <-chan struct{}, ping func(C)) {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, c := range h.match(target{}) {
				ping(c)
			}
		case <-stop:
			return
		}
	}
}
