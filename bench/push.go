package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"carillon/bench/client"
	"carillon/bench/stamp"
	"carillon/engine/ws"
)

// An endpoint is where pushes to one server go, and how.
type endpoint struct {
	websocket      bool
	tls            *tls.Config // nil for what is not encrypted
	addr, target   string      // target may hold {target}
	body, mimeType string
	headers        []string
	names          names
	// Of the client that pushes, with websocket.
	hello   []string
	ready   int
	timeout time.Duration // for it to connect
}

// A pushTarget is whom one push is for.
type pushTarget struct {
	kind   stamp.Kind
	index  int32  // of the system or group
	client string // id
}

// errBusy means that the server refused a push because too much waits; nothing
// was sent.
var errBusy = errors.New("the server is busy")

// text fills in a template, for a body.
func (e *endpoint) text(template string, t pushTarget, data []byte) string {
	quote := func(s string) string { return s }
	switch {
	case strings.Contains(e.mimeType, "json"):
		quote = func(s string) string { b, _ := json.Marshal(s); return string(b) }
	case strings.Contains(e.mimeType, "form-urlencoded"):
		quote = url.QueryEscape
	}
	group := int32(0)
	if t.kind == stamp.Group {
		group = t.index
	}
	return strings.NewReplacer(
		"{data}", quote(string(data)), "{client_id}", quote(t.client),
		"{group}", quote(e.names.group(group)), "{system}", quote(e.names.system(0)), "{target}", quote(t.kind.String()),
	).Replace(template)
}

// carillonBodies are those of Carillon's calls, which take no other fields.
var carillonBodies = [stamp.Kinds]string{
	stamp.All:    `{"data":{data}}`,
	stamp.System: `{"system_id":{system},"data":{data}}`,
	stamp.Group:  `{"system_id":{system},"group_name":{group},"data":{data}}`,
	stamp.Client: `{"system_id":{system},"client_id":{client_id},"data":{data}}`,
}

// A pipe is one connection that pushes are made over, one at a time.
type pipe struct {
	e       *endpoint
	timeout time.Duration
	conn    net.Conn
	r       *bufio.Reader
	mu      sync.Mutex // with websocket: pongs are written in between
	lost    chan error // capacity 1; with websocket
}

// push sends data and waits until the server has taken it.
func (p *pipe) push(t pushTarget, data []byte) error {
	body := p.e.text(cmp.Or(p.e.body, carillonBodies[t.kind]), t, data)
	if p.e.websocket {
		return p.send(body)
	}
	return p.post(strings.ReplaceAll(p.e.target, "{target}", t.kind.String()), body)
}

func (p *pipe) post(target, body string) error {
	fresh := p.conn == nil
	if fresh {
		if err := p.dial(); err != nil {
			return err
		}
	}
	_ = p.conn.SetDeadline(time.Now().Add(p.timeout))
	b := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n", target, p.e.addr, p.e.mimeType, len(body))
	for _, h := range p.e.headers {
		b = append(append(b, h...), "\r\n"...)
	}
	b = append(append(b, "\r\n"...), body...)
	if _, err := p.conn.Write(b); err != nil {
		p.close()
		return fmt.Errorf("push to %s: %w", p.e.addr, err)
	}
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.close()
		return fmt.Errorf("push to %s: %w", p.e.addr, err)
	}
	var answer []byte
	if resp.StatusCode/100 == 2 {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		answer, err = io.ReadAll(io.LimitReader(resp.Body, 512))
	}
	_ = resp.Body.Close()
	if err != nil || resp.Close {
		p.close()
	}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		return errBusy
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("push to %s: POST %s: %s: %s", p.e.addr, target, resp.Status, client.FirstLine(answer))
	}
	return err
}

func (p *pipe) dial() error {
	conn, err := net.DialTimeout("tcp", p.e.addr, p.timeout)
	if err != nil {
		return fmt.Errorf("push to %s: %w", p.e.addr, err)
	}
	if p.e.tls != nil {
		secure := tls.Client(conn, p.e.tls)
		_ = conn.SetDeadline(time.Now().Add(p.timeout))
		if err := secure.Handshake(); err != nil {
			_ = conn.Close()
			return fmt.Errorf("push to %s: TLS: %w", p.e.addr, err)
		}
		conn = secure
	}
	p.conn, p.r = conn, bufio.NewReader(conn)
	return nil
}

func (p *pipe) close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}

// connect makes the pipe a WebSocket client, and returns when it has said hello
// and got the messages that a client waits for.
func (p *pipe) connect() error {
	if err := p.dial(); err != nil {
		return err
	}
	_ = p.conn.SetDeadline(time.Now().Add(p.e.timeout))
	r := p.e.names.replacer(0, 0, -1)
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y2FyaWxsb24tYmVuY2gtMQ==\r\n", r.Replace(p.e.target), p.e.addr)
	for _, h := range p.e.headers {
		b = append(append(b, h...), "\r\n"...)
	}
	if _, err := p.conn.Write(append(b, "\r\n"...)); err != nil {
		return fmt.Errorf("push to %s: %w", p.e.addr, err)
	}
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return fmt.Errorf("push to %s: %w", p.e.addr, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return fmt.Errorf("push to %s: the server answers the handshake with %s: %s", p.e.addr, resp.Status, client.FirstLine(body))
	}
	for _, text := range p.e.hello {
		if err := p.send(r.Replace(text)); err != nil {
			return err
		}
	}
	p.lost = make(chan error, 1)
	ready := make(chan struct{})
	go func() { p.lost <- p.listen(ready) }()
	select {
	case <-ready:
	case err := <-p.lost:
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("the %d messages that a client waits for have not come within %v: say -ready-messages 0, or -id-key '', if the server sends none", p.e.ready, p.e.timeout)
		}
		return fmt.Errorf("push to %s: the pushing client: %w", p.e.addr, err)
	}
	return p.conn.SetDeadline(time.Time{})
}

// listen reads and drops what the pushing client gets, and answers pings.
func (p *pipe) listen(ready chan struct{}) error {
	conn, dec, messages := p.conn, ws.Decoder{Client: true, MaxMessage: 64 << 20}, p.e.ready
	if messages == 0 {
		close(ready)
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := p.r.Read(buf)
		if err != nil {
			return err
		}
		for rest := buf[:n]; ; {
			var ev ws.Event
			if ev, rest, err = dec.Next(rest); err != nil {
				return err
			}
			if ev.Kind == ws.None {
				break
			}
			switch ev.Kind {
			case ws.Message:
				if messages--; messages == 0 {
					close(ready)
				}
			case ws.Ping:
				p.mu.Lock()
				_, err = conn.Write(ws.AppendMaskedFrame(nil, ws.OpPong, [4]byte{1, 2, 3, 4}, ev.Payload))
				p.mu.Unlock()
			case ws.Close:
				err = fmt.Errorf("closed by the server: %d %s", ev.Code, ev.Reason)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (p *pipe) send(text string) error {
	select {
	case err := <-p.lost:
		p.lost <- err
		return fmt.Errorf("push to %s: the pushing client: %w", p.e.addr, err)
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.conn.Write(ws.AppendMaskedFrame(nil, ws.OpText, [4]byte{1, 2, 3, 4}, []byte(text))); err != nil {
		return fmt.Errorf("push to %s: %w", p.e.addr, err)
	}
	return nil
}

// A pusher has one pipe to each server. It belongs to one goroutine at a time.
type pusher struct{ pipes []*pipe }

func newPusher(endpoints []*endpoint, timeout time.Duration) (*pusher, error) {
	ps := &pusher{}
	for _, e := range endpoints {
		p := &pipe{e: e, timeout: timeout}
		ps.pipes = append(ps.pipes, p)
		if e.websocket {
			if err := p.connect(); err != nil {
				ps.close()
				return nil, err
			}
		}
	}
	return ps, nil
}

func (ps *pusher) close() {
	for _, p := range ps.pipes {
		p.close()
	}
}

// push sends data through the given servers at the same time. One that is busy is
// tried again for a while: what some clients have got all must get. busy says that it was one
// server, which refused, so that nothing was sent.
func (ps *pusher) push(ctx context.Context, servers []int, t pushTarget, data []byte) (busy bool, err error) {
	if len(servers) == 1 {
		err = ps.pipes[servers[0]].push(t, data)
		return errors.Is(err, errBusy), err
	}
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, k := range servers {
		wg.Go(func() {
			p, since := ps.pipes[k], time.Now()
			for errs[i] = p.push(t, data); errors.Is(errs[i], errBusy); errs[i] = p.push(t, data) {
				if ctx.Err() != nil || time.Since(since) > p.timeout {
					errs[i] = fmt.Errorf("push to %s: %w for %v", p.e.addr, errBusy, p.timeout)
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return false, errors.Join(errs...)
}

// call makes an API call of the server that is no push.
func (p *pipe) call(path string, fields map[string]string) error {
	b, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return p.post(path, string(b))
}

// endpointsOf makes one endpoint for each server.
func (c *config) endpointsOf(urls []string, n names) ([]*endpoint, error) {
	endpoints := make([]*endpoint, len(urls))
	for i, u := range urls {
		e := &endpoint{
			websocket: c.push == "ws", body: c.pushBody, mimeType: c.pushType, headers: c.headers,
			names: n, hello: c.hello, ready: c.ready, timeout: c.timeout,
		}
		at, err := parseWebSocketURL(u)
		if err != nil {
			return nil, err
		}
		switch {
		case e.websocket && c.pushURLGiven:
			at, err = parseWebSocketURL(c.pushURLs[i])
		case e.websocket:
		case c.pushURLGiven:
			at, err = parseHTTPURL(c.pushURLs[i])
		default:
			at.target = "/push_to_{target}"
		}
		if err != nil {
			return nil, fmt.Errorf("-push-url %w", err)
		}
		e.addr, e.target, e.tls = at.addr, at.target, at.tls(c.insecureTLS)
		endpoints[i] = e
	}
	return endpoints, nil
}
