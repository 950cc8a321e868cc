package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"carillon/engine/proxied"
)

// A keySum stands for a key. Sums have one length, so that comparing two takes
// the same time for any two keys, and no key stays in memory.
type keySum [sha256.Size]byte

func sumKey(key string) keySum { return sha256.Sum256([]byte(key)) }

// MaxKeys bounds the API's keys: each call is compared with all.
const MaxKeys = 1000

// ValidKey reports whether a header can carry the key as it is.
func ValidKey(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return false
		}
	}
	return key != ""
}

// auth knows the keys, and who calls without one.
type auth struct {
	keys    atomic.Pointer[[]keySum] // replaced as a whole; empty: none is needed
	refused atomic.Uint64

	mu     sync.Mutex // guards the following fields
	warned time.Time
	told   uint64 // what refused was then
}

// SetKeys replaces the keys, all at once: a call under way is judged by the old ones
// or by the new. With an error, which never has a key in it, the old ones stay. Whether
// a key is needed is not changed: New is told that.
func (a *API) SetKeys(keys []string) error {
	if !a.needsKey() || len(keys) == 0 {
		return errors.New("httpapi: SetKeys: want one or more keys, in Options.APIKeys already")
	}
	return a.auth.set(keys)
}

func (t *auth) set(keys []string) error {
	if len(keys) > MaxKeys || slices.ContainsFunc(keys, func(key string) bool { return !ValidKey(key) }) {
		return &OptionError{"APIKeys", "", "one or more visible ASCII characters in each key, and at most 1000 keys"}
	}
	sums := make([]keySum, len(keys))
	for i, key := range keys {
		sums[i] = sumKey(key)
	}
	t.keys.Store(&sums)
	return nil
}

func (a *API) needsKey() bool { return len(*a.auth.keys.Load()) > 0 }

// authorized reports whether the request bears one of the keys, or none is
// needed.
func (a *API) authorized(r *http.Request) bool {
	keys := *a.auth.keys.Load()
	if len(keys) == 0 {
		return true
	}
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got, match := sumKey(strings.Trim(key, " ")), 0
	for i := range keys {
		match |= subtle.ConstantTimeCompare(got[:], keys[i][:])
	}
	return match == 1
}

// noteUnauthorized counts a call without a right key. At most once a second it is
// logged: whoever guesses keys, or was forgotten when they were changed, is heard of,
// and does not fill the log.
func (a *API) noteUnauthorized(r *http.Request) {
	t := &a.auth
	t.refused.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Sub(t.warned) < time.Second {
		return
	}
	n := t.refused.Load()
	a.log.Warn().Str("remote", a.callerOf(r)).Bool("authorization", r.Header.Get("Authorization") != "").
		Uint64("calls", n-t.told).Msg("unauthorized calls to the API: so many since the last warning, and this is who made the last")
	t.warned, t.told = now, n
}

// callerOf is whom a request is from, as far as trusted proxies say.
func (a *API) callerOf(r *http.Request) string {
	trusts := a.trustUnix
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		trusts = proxied.Among(a.proxies, peer.Addr())
	} else if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); !ok || addr.Network() != "unix" {
		trusts = false
	}
	if trusts {
		if from := proxied.Client(slices.Values(r.Header["X-Forwarded-For"]), slices.Values(r.Header["Forwarded"]), a.proxies); from.IsValid() {
			if from.Port() == 0 { // X-Forwarded-For has none
				return from.Addr().String()
			}
			return from.String()
		}
	}
	return r.RemoteAddr
}
