package engine

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
)

// Handler serves clients within an http.Server that the program has, at whatever path it
// is mounted; Addr and Path serve others as before, and the engine must have been
// started. It takes the connection over, which HTTP/1.1 without the server's own TLS
// allows: TLS of net/http's stays with its goroutines, so that a request over it is
// answered 501; let the engine speak TLS, or a proxy.
//
// The client gets what it would get at Addr, limits and refusals included.
func (e *Engine) Handler() http.Handler { return http.HandlerFunc(e.serveClient) }

func (e *Engine) serveClient(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code Code, detail string) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write((&RefuseError{Status: status, Code: code, Detail: detail}).appendJSON(nil, e.opts.Lang))
	}
	switch {
	case e.phase.Load() != phaseRunning:
		w.Header().Set("Retry-After", "1")
		refuse(http.StatusServiceUnavailable, CodeConnectFailed, "the server does not accept clients")
		return
	case r.ProtoMajor != 1:
		refuse(http.StatusHTTPVersionNotSupported, CodeConnectFailed, "a WebSocket handshake over HTTP/1.1")
		return
	case r.TLS != nil:
		refuse(http.StatusNotImplemented, CodeConnectFailed, "clients without TLS, or at the engine's own address")
		return
	}
	if err := e.takeFrom(w, r); err != nil {
		e.log.Error().Err(err).Msg("cannot take a connection over from net/http")
		refuse(http.StatusInternalServerError, CodeInternal, "")
	}
}

// takeFrom makes the request's connection the engine's. With an error nothing was done.
func (e *Engine) takeFrom(w http.ResponseWriter, r *http.Request) error {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("engine: handler: %w", err)
	}
	target := e.opts.Path
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	read := requestRead(r, target, rw.Reader)
	e.adding.RLock() // or Shutdown could miss what is on its way to a poller
	defer e.adding.RUnlock()
	fd, err := -1, error(ErrShutdown)
	if e.phase.Load() == phaseRunning {
		fd, err = socketOf(conn)
	}
	if err != nil {
		e.refuseMove(conn, r, err)
		return nil
	}
	defer conn.Close()      // the engine has a duplicate
	var from netip.AddrPort // of a unix socket it is none
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		from = netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	e.addWith(fd, from, &handshake{holding: holding{in: true}, begun: true, returned: true, back: read})
	return nil
}

// socketOf is descriptorOf for what may be no socket, such as a wrapper of the program's.
func socketOf(conn net.Conn) (fd int, err error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("engine: handler: a %T is no socket", conn)
	}
	return descriptorOf(socket)
}
