package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/rs/zerolog"

	"carillon/httpapi"
)

// A keyFile has the API's keys, one a line, and is read again when it changes, so that
// keys are changed without a restart. A file with a mistake in it changes nothing: the
// last good keys stay.
type keyFile struct {
	name string
	more []string // keys of -api-key
	log  zerolog.Logger
	use  func(keys []string) error // API.SetKeys

	mu      sync.Mutex // guards the following fields
	regular bool       // it was: what is read once, such as a pipe, is not read again
	watch   watch
}

// openKeyFile also returns the file's keys, and fails if they are not to be used.
func openKeyFile(name string) (*keyFile, []string, error) {
	if name == "" {
		return nil, nil, errors.New("want the name of a file")
	}
	f := &keyFile{name: name, log: zerolog.Nop(), watch: watch{names: []string{name}}}
	f.watch.noted()
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if st, err := file.Stat(); err == nil {
		f.regular = st.Mode().IsRegular()
	}
	keys, err := readKeys(file)
	return f, keys, err
}

// maxKeyFile is more than the keys of an API take.
const maxKeyFile = 1 << 20

func readKeys(file *os.File) ([]string, error) {
	b, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("%s: want at most 1MiB", file.Name())
	}
	return parseKeys(file.Name(), b)
}

// parseKeys reads one key a line. Its errors name the line and have no key in them.
func parseKeys(name string, b []byte) (keys []string, err error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // some editors begin with it
	n := 0
	for line := range bytes.Lines(b) {
		n++
		key := strings.Trim(strings.TrimRight(string(line), "\r\n"), " \t")
		switch {
		case key == "" || key[0] == '#':
		case !httpapi.ValidKey(key):
			return nil, fmt.Errorf("%s:%d: want one key, of visible ASCII characters without a blank, or a comment that begins with #", name, n)
		default:
			keys = append(keys, key)
		}
	}
	switch {
	case len(keys) == 0:
		return nil, fmt.Errorf("%s: there is no key in it: want one a line", name)
	case len(keys) > httpapi.MaxKeys:
		return nil, fmt.Errorf("%s: %d keys: want at most %d", name, len(keys), httpapi.MaxKeys)
	}
	return keys, nil
}

// look reads the file if it has changed. Callers that come while it does that are
// judged by the old keys.
func (f *keyFile) look() {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if f.regular && f.watch.changed() {
		f.readLocked()
	}
}

// reload reads the file, whether it has changed or not.
func (f *keyFile) reload() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.regular {
		f.log.Warn().Str("file", f.name).Msg("the API keys came from what is no file, and cannot be read again: the old ones stay")
		return
	}
	f.watch.noted()
	f.readLocked()
}

func (f *keyFile) readLocked() {
	keys, err := f.read()
	if err == nil {
		err = f.use(append(keys, f.more...))
	}
	if err != nil {
		f.log.Error().Err(err).Msg("the changed file of API keys cannot be used: the old keys stay")
		return
	}
	f.log.Info().Str("file", f.name).Int("keys", len(keys)).Msg("API keys reloaded")
}

func (f *keyFile) read() ([]string, error) {
	file, err := os.OpenFile(f.name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no file", f.name))
	}
	return readKeys(file)
}

// before has each call to h look at the file first.
func (f *keyFile) before(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.look()
		h.ServeHTTP(w, r)
	})
}
