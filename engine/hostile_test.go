package engine

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"carillon/engine/ws"
)

// Clients that are reset while bytes of theirs wait for their turn, with an unfinished
// message at the end, leave nothing: the poller handles what was read, at the moment at
// which the housekeeper sees them off.
func TestResetBehindTurn(t *testing.T) {
	e := newEngine(t, Options{MaxInboundMessages: -1, MaxInboundBytes: -1, OnMessage: func(c *Client, k Kind, b []byte) {
		c.Echo(k, b)
	}})
	small := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, []byte("hello"))
	large := ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 20_000))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 150 {
				w, err := openWire(&net.Dialer{Timeout: 20 * time.Second}, e.Addr().String(), "system_id=1")
				if err != nil {
					t.Error(err)
					return
				}
				go io.Copy(io.Discard, w)
				w.Write(append(bytes.Repeat(small, 200+rand.IntN(800)), large[:15_000]...))
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
				reset(w)
			}
		})
	}
	wg.Wait()
	settled(t, e, 0)
}
