package httpapi

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// An answer that comes before the request is over ends the connection, and not by
// closing it: what the peer still sends would be answered with a reset, which destroys
// the answer before the peer has read it. So FIN goes out, and what comes is read and
// thrown away (RFC 9112 section 9.6), until the peer is done, or:
const (
	// lingerBytes is more than a mistake sends; who sends more means it.
	lingerBytes = 64 << 20
	// lingerTime is a third of what a request that is taken has to arrive. Refused
	// callers must not hold connections longer than served ones.
	lingerTime = 10 * time.Second
	// lingerIdle ends it for those who just do not close, such as one whose
	// "Expect: 100-continue" was answered.
	lingerIdle = 2 * time.Second
)

// mustClose reports whether the answer ends the connection: part of the body is unread.
// What net/http does then serves half of them only: it reads up to 256 KB and the
// answer waits for that, or it does not read at all.
func (c *call) mustClose() bool { return c.r.ContentLength != 0 && !c.bodyRead }

// linger ends the connection of an answer that said so. It returns when the peer has
// the answer, as far as one can know.
func (c *call) linger() {
	if !c.closing {
		return
	}
	out := http.NewResponseController(c.w)
	if out.Flush() != nil {
		return
	}
	conn, _, err := out.Hijack()
	if err != nil { // it is no connection of net/http's
		return
	}
	defer conn.Close()
	closeWrite(conn)
	discard(conn, lingerTime)
}

// closeWrite sends FIN, with TLS behind its own end.
func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if t, ok := conn.(*tls.Conn); ok {
		closeWrite(t.NetConn())
	}
}

// discard reads until the peer is done, or the bounds above.
func discard(conn net.Conn, longest time.Duration) {
	b := make([]byte, 16<<10)
	end := time.Now().Add(longest)
	for left := lingerBytes; left > 0; {
		idle := time.Now().Add(lingerIdle)
		if idle.After(end) {
			idle = end
		}
		_ = conn.SetReadDeadline(idle)
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		left -= n
	}
}
