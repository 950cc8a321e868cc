package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// A keySum stands for a key. Sums have one length, so that comparing two takes
// the same time for any two keys, and no key stays in memory.
type keySum [sha256.Size]byte

func sumKey(key string) keySum { return sha256.Sum256([]byte(key)) }

// validKey reports whether a header can carry the key as it is.
func validKey(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return false
		}
	}
	return key != ""
}

// authorized reports whether the request bears one of the keys, or none is
// needed.
func (a *API) authorized(r *http.Request) bool {
	if len(a.keys) == 0 {
		return true
	}
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got, match := sumKey(strings.Trim(key, " ")), 0
	for i := range a.keys {
		match |= subtle.ConstantTimeCompare(got[:], a.keys[i][:])
	}
	return match == 1
}
