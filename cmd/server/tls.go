package main

import (
	"crypto/tls"
	"sync"

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
	watch   watch
}

// loadCertificate fails if the files are no pair.
func loadCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: zerolog.Nop(), watch: watch{names: []string{certFile, keyFile}}}
	c.watch.noted()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	c.current = &pair
	return c, nil
}

// get is for tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch.changed() {
		c.readLocked()
	}
	return c.current, nil
}

// reload reads the files, whether they have changed or not.
func (c *certificate) reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.noted()
	c.readLocked()
}

func (c *certificate) readLocked() {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Error().Err(err).Msg("the changed certificate cannot be used: the old one stays")
		return
	}
	c.current = &pair
	c.log.Info().Time("expires", pair.Leaf.NotAfter).Msg("certificate reloaded")
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{GetCertificate: c.get}
}
