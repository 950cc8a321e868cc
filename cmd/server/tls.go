package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// A certificate is a pair of PEM files that is read again when they change, so
// that a renewed one needs no restart. A pair that cannot be read changes nothing:
// the last good one stays.
type certificate struct {
	certFile, keyFile string
	log               zerolog.Logger

	mu      sync.Mutex // guards the following fields
	current *tls.Certificate
	stamp   string    // what the files looked like when they were last read
	checked time.Time // when that was last compared
}

// checkEvery bounds how often handshakes look at the files.
const checkEvery = time.Second

// loadCertificate fails if the files are no pair.
func loadCertificate(certFile, keyFile string, log zerolog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	c.stamp, c.checked = c.look(), time.Now()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("-tls-cert, -tls-key: %w", err)
	}
	c.current = &pair
	return c, nil
}

// look is a text that changes when either file does.
func (c *certificate) look() (stamp string) {
	for _, name := range []string{c.certFile, c.keyFile} {
		st, err := os.Stat(name) // follows links, which is how some renew
		if err != nil {
			return "" // in the middle of a change
		}
		stamp += fmt.Sprint(st.Size(), st.ModTime().UnixNano(), " ")
	}
	return stamp
}

// get is for tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < checkEvery {
		return c.current, nil
	}
	c.checked = time.Now()
	stamp := c.look()
	if stamp == c.stamp || stamp == "" {
		return c.current, nil
	}
	c.stamp = stamp
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Error().Err(err).Msg("the changed certificate cannot be used: the old one stays")
		return c.current, nil
	}
	c.current = &pair
	c.log.Info().Time("expires", pair.Leaf.NotAfter).Msg("certificate reloaded")
	return c.current, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{GetCertificate: c.get}
}
