package client

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strconv"

	"carillon/bench/stamp"
	"carillon/engine/ws"
)

type state uint8

const (
	down    state = iota
	dialing       // up to the last message that ReadyMessages waits for
	up
	leaving // by our own wish
)

// A conn is one client; the swarm's lock guards it. While it is idle it owns no
// buffer and no decoder.
type conn struct {
	swarm  *Swarm
	dec    *ws.Decoder // nil between messages
	try    *attempt    // while dialing
	unsent []byte      // nil while the server reads
	wire   *wire       // nil without TLS
	id     string
	index  uint32 // in swarm.conns
	fd     int32  // 0, which is standard input, while down

	system, group int32 // -1 for none
	groupEnd      uint32
	sent          uint32 // its own messages
	state         state
	fresh         uint8 // bits of the kinds whose first message sets the track
}

func (c *conn) track(k stamp.Kind) *stamp.Track {
	return &c.swarm.tracks[int(c.index)*int(stamp.Kinds)+int(k)]
}

// data takes what has arrived. s.mu must be held, as in all that follows.
func (c *conn) data(b []byte, now int64) {
	if c.try != nil && !c.try.switched {
		if b = c.try.handshake(c, b); b == nil {
			return
		}
	}
	c.read(b, now)
}

func (c *conn) read(b []byte, now int64) {
	s := c.swarm
	if c.dec == nil {
		if n := len(s.decoders); n > 0 {
			c.dec = s.decoders[n-1]
			s.decoders = s.decoders[:n-1]
		} else {
			c.dec = &ws.Decoder{Client: true, MaxMessage: 64 << 20}
		}
	}
	for {
		ev, rest, err := c.dec.Next(b)
		if err != nil {
			s.complainf("client %d: the server broke the protocol: %v", c.number(), err)
			c.cut()
			return
		}
		switch ev.Kind {
		case ws.None:
			if c.dec.Idle() {
				c.dec.Reset()
				if len(s.decoders) < maxFreeDecoders {
					s.decoders = append(s.decoders, c.dec)
				}
				c.dec = nil
			}
			return
		case ws.Message:
			c.message(ev.Payload, now)
		case ws.Ping:
			s.counts.Pings++
			c.write(ws.OpPong, ev.Payload)
		case ws.Pong:
			c.pong(ev.Payload)
		case ws.Close:
			if c.state != leaving {
				s.complainf("client %d: closed by the server: %d %s", c.number(), ev.Code, ev.Reason)
			}
			c.write(ws.OpClose, ws.AppendCloseBody(nil, ev.Code, ""))
		}
		b = rest
	}
}

func (c *conn) number() uint32 { return c.swarm.cfg.Number(int(c.index)) }

// message checks a message.
func (c *conn) message(payload []byte, now int64) {
	s := c.swarm
	s.counts.Messages++
	if c.id == "" && s.cfg.IDKey != "" {
		if c.id = findString(payload, s.cfg.IDKey); c.id == "" && s.greeting == "" {
			s.greeting = FirstLine(payload)
		}
	}
	rest, stamped := payload, false
	for {
		st, after, ok := stamp.Next(rest)
		if !ok {
			break
		}
		stamped, rest = true, after
		c.delivered(st, now)
	}
	if stamped {
		s.counts.Bytes += int64(len(payload))
	}
	if c.try != nil {
		c.try.message(c)
	}
}

func (c *conn) delivered(st stamp.Stamp, now int64) {
	s := c.swarm
	s.counts.Delivered++
	s.last = now
	if s.round > 0 && s.counts.Delivered >= s.nextSig {
		s.nextSig += s.round
		select {
		case s.rounds <- struct{}{}:
		default:
		}
	}
	mine := int64(0)
	switch st.Kind {
	case stamp.System:
		mine = int64(c.system)
	case stamp.Group:
		mine = int64(c.group)
	case stamp.Client, stamp.Own:
		mine = int64(c.number())
	}
	if mine != int64(st.Target) || st.Kind == stamp.Group && st.Seq >= c.groupEnd {
		s.counts.Wrong++
		s.complainf("client %d: wrong receiver of message %d to %v %d", c.number(), st.Seq, st.Kind, st.Target)
		return
	}
	s.latency.record(now - st.At)
	t := c.track(st.Kind)
	if bit := uint8(1) << st.Kind; c.fresh&bit != 0 {
		c.fresh &^= bit
		if st.Seq < t.Next() {
			t.Start(st.Seq)
		}
	}
	switch t.Saw(st.Seq) {
	case stamp.Duplicated:
		s.counts.Duplicated++
		s.complainf("client %d: message %d to %v %d came twice", c.number(), st.Seq, st.Kind, st.Target)
	case stamp.Reordered:
		s.counts.Reordered++
		s.complainf("client %d: message %d to %v %d came after message %d", c.number(), st.Seq, st.Kind, st.Target, t.Next()-1)
	}
	if s.echo != nil && st.Kind == stamp.Own {
		s.echo.returned(c)
	}
}

// write sends a frame.
func (c *conn) write(op ws.Opcode, payload []byte) {
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], rand.Uint32())
	s := c.swarm
	s.frame = ws.AppendMaskedFrame(s.frame[:0], op, key, payload)
	c.send(s.frame)
}

// Drop ends connections of our own wish: with a close frame, or without.
func (s *Swarm) Drop(conns []int, gracefully bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range conns {
		c := &s.conns[i]
		if c.state != up {
			continue
		}
		c.state = leaving
		if gracefully {
			c.write(ws.OpClose, ws.AppendCloseBody(nil, ws.CloseNormal, ""))
		} else {
			c.cut()
		}
	}
}

// Down reports whether the connections have ended.
func (s *Swarm) Down(conns []int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range conns {
		if s.conns[i].fd != 0 {
			return false
		}
	}
	return true
}

// findString returns the value of the first "key":"value" in a JSON message, or
// "key":number as text. It does not look at structure: ids have no escapes.
func findString(msg []byte, key string) string {
	quoted := strconv.AppendQuote(nil, key)
	_, after, ok := bytes.Cut(msg, quoted)
	if !ok {
		return ""
	}
	after = bytes.TrimLeft(after, " \t")
	if len(after) == 0 || after[0] != ':' {
		return ""
	}
	after = bytes.TrimLeft(after[1:], " \t")
	if len(after) > 0 && after[0] == '"' {
		value, _, ok := bytes.Cut(after[1:], []byte{'"'})
		if !ok {
			return ""
		}
		return string(value)
	}
	end := bytes.IndexAny(after, ",}] ")
	if end < 0 {
		return ""
	}
	return string(after[:end])
}

const noEnd = math.MaxUint32
