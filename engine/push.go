package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"carillon/registry"
)

// A Kind says what the bytes of a message are.
type Kind uint8

// The kinds of message.
const (
	// JSON data is one JSON value; clients find it as "data" in the envelope.
	JSON Kind = iota
	// Text data is a UTF-8 string; in the envelope it is a JSON string.
	Text
	// Binary data goes out verbatim as a binary WebSocket message, without an
	// envelope whatever the subprotocol: JSON has no bytes.
	Binary
)

// String is JSON, Text or Binary.
func (k Kind) String() string {
	switch k {
	case JSON:
		return "JSON"
	case Text:
		return "Text"
	case Binary:
		return "Binary"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// A Message is what a push delivers.
type Message struct {
	Kind Kind
	Data []byte // not changed, and not kept after Push or Send returns
	// Params is a JSON value for the envelope's "params"; empty means null.
	Params []byte
	// Code is the envelope's code; zero means CodeSent.
	Code Code

	id string // the message's, if it has one already
}

// MaxTargets bounds the clients of one ToClients and the exclusions of a target.
const MaxTargets = 10_000

// A Target says who receives a push. Make one with ToClient, ToClients,
// ToGroup, ToSystem or ToAll; the zero Target is invalid.
type Target struct {
	scope   scope
	system  string
	group   string
	ids     []ID
	exclude []ID
}

type scope uint8

const (
	scopeClient scope = iota + 1
	scopeClients
	scopeGroup
	scopeSystem
	scopeAll
)

// ToClient is one client of a system.
func ToClient(system string, id ID) Target {
	return Target{scope: scopeClient, system: system, ids: []ID{id}}
}

// ToClients is up to MaxTargets clients of a system, each told by its own
// Outcome in Report.Outcomes. One that is named twice is one client.
func ToClients(system string, ids ...ID) Target {
	return Target{scope: scopeClients, system: system, ids: ids}
}

// ToGroup is the members of a group, except the given clients.
func ToGroup(system, group string, exclude ...ID) Target {
	return Target{scope: scopeGroup, system: system, group: group, exclude: exclude}
}

// ToSystem is all clients of a system, except the given ones.
func ToSystem(system string, exclude ...ID) Target {
	return Target{scope: scopeSystem, system: system, exclude: exclude}
}

// ToAll is every client of every system.
func ToAll() Target { return Target{scope: scopeAll} }

// An Outcome is what became of a message for one receiver.
type Outcome uint8

// The outcomes.
const (
	NoClient Outcome = iota // no open client of that id in that system
	Written                 // the kernel took all of it
	Queued                  // waits for the client to read
	Dropped                 // the connection ended or could not hold it
)

// A Report says what a push did. Matched = Written + Queued + Dropped, counted
// as the message is handed over; excluded clients, ids without a client, and clients
// that went away by themselves before their turn are not matched.
type Report struct {
	MessageID string
	Matched   int
	Written   int
	Queued    int
	Dropped   int
	// Outcomes has one entry per id of ToClients, in their order; nil otherwise.
	Outcomes []Outcome
}

func (r *Report) count(o Outcome) {
	switch o {
	case Written:
		r.Written++
	case Queued:
		r.Queued++
	case Dropped:
		r.Dropped++
	default:
		return
	}
	r.Matched++
}

// check refuses what may not reach a client.
func (m *Message) check() error {
	switch m.Kind {
	case JSON:
		if len(m.Data) > 0 {
			if err := checkJSON("data", m.Data); err != nil {
				return err
			}
		}
	case Text:
		if !utf8.Valid(m.Data) {
			return &FieldError{"data", "UTF-8"}
		}
	case Binary:
	default:
		return &FieldError{"kind", "JSON, Text or Binary"}
	}
	if len(m.Params) > 0 {
		return checkJSON("params", m.Params)
	}
	return nil
}

// checkJSON refuses half surrogate pairs, too: what stands for no character becomes
// another with some receivers, and ends the parsing with others.
func checkJSON(field string, b []byte) error {
	if !validJSON(b) {
		return &FieldError{field, "one JSON value in UTF-8"}
	}
	if bytes.IndexByte(b, '\\') < 0 { // most have no escape
		return nil
	}
	if half := HalfSurrogate(string(b)); half != "" {
		return &FieldError{field, "whole surrogate pairs, not " + half + " alone"}
	}
	return nil
}

// maxDepth bounds how deep a message's JSON nests, for the receivers' parsers.
const maxDepth = 300

// validJSON reports whether b is one JSON value, in UTF-8, that nests at most
// maxDepth deep. It is encoding/json that validates: as fast on ordinary input, and
// its time does not depend on the nesting. fastjson's validator wraps its error at
// every level, and its parser takes 80 bytes and more for each value.
func validJSON(b []byte) bool {
	return utf8.Valid(b) && json.Valid(b) && depth(b) <= maxDepth
}

// depth returns how deep valid JSON nests, 0 for a scalar.
func depth(b []byte) (deepest int) {
	open, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch ch := b[i]; {
		case quoted:
			if ch == '\\' {
				i++
			}
			quoted = ch != '"'
		case ch == '"':
			quoted = true
		case ch == '[' || ch == '{':
			open++
			deepest = max(deepest, open)
		case ch == ']' || ch == '}':
			open--
		}
	}
	return deepest
}

func (t *Target) check() error {
	if t.scope == scopeAll {
		return nil
	}
	if t.scope == 0 {
		return &FieldError{"target", "a target made by one of the To functions"}
	}
	if err := CheckName("system_id", t.system); err != nil {
		return err
	}
	if t.scope == scopeGroup {
		if err := CheckName("group_name", t.group); err != nil {
			return err
		}
	}
	if len(t.ids) > MaxTargets {
		return &FieldError{"client_ids", fmt.Sprintf("at most %d ids", MaxTargets)}
	}
	if len(t.exclude) > MaxTargets {
		return &FieldError{"exclude", fmt.Sprintf("at most %d ids", MaxTargets)}
	}
	return nil
}

// Push sends m to the target, which is whom it has at this moment, and returns when every receiver was served: its
// message is with the kernel, or queued for it, or it is closed. With ctx done
// before that, the push goes on without the caller, who gets ctx's error and the
// counts so far.
//
// ToClient fails with ErrNoClient if the client is not there; the other targets
// may be empty. At the limits of Options it fails with ErrBusy, and a bad target
// or message gives a *FieldError: then nothing was sent to anybody.
func (e *Engine) Push(ctx context.Context, t Target, m Message) (Report, error) {
	j, report, err := e.push(ctx, t, m)
	if j == nil || err != nil {
		return report, err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.left.Load() > 0 {
			err = ctx.Err()
		}
	}
	r := j.report()
	r.MessageID = report.MessageID
	return r, err
}

// Post is Push without waiting for targets of many clients.
func (e *Engine) Post(ctx context.Context, t Target, m Message) (messageID string, err error) {
	_, report, err := e.push(ctx, t, m)
	return report.MessageID, err
}

// push serves targets that are named by ids; for the others it returns the job.
func (e *Engine) push(ctx context.Context, t Target, m Message) (*job, Report, error) {
	if err := t.check(); err != nil {
		return nil, Report{}, err
	}
	if err := m.check(); err != nil {
		return nil, Report{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, Report{}, err
	}
	if e.phase.Load() != phaseRunning {
		return nil, Report{}, ErrShutdown
	}
	if t.scope == scopeClient || t.scope == scopeClients {
		if !e.fanout.pushes.enter() {
			return nil, Report{}, ErrShutdown
		}
		defer e.fanout.pushes.leave()
	}
	report := Report{MessageID: m.id}
	if m.id == "" {
		id, err := e.ids.next()
		if err != nil {
			return nil, Report{}, err
		}
		report.MessageID = messageID(id)
	}
	f := newFrame(m, t.group, report.MessageID, e.opts.Lang)
	switch t.scope {
	case scopeClient:
		c, err := e.member(t.system, t.ids[0])
		if err != nil {
			return nil, Report{}, err
		}
		report.count(c.sendOnce(f))
		return nil, report, nil
	case scopeClients:
		e.pushEach(t, f, &report)
		return nil, report, nil
	}
	var set registry.Set[*Client]
	lane := strings.Clone(t.system) // which may be a part of something long
	switch t.scope {
	case scopeGroup:
		set = e.reg.Group(t.system, t.group)
	case scopeSystem:
		set = e.reg.System(t.system)
	default:
		set, lane = e.reg.All(), laneAll
	}
	j := newJob(f, set, lane, t.exclude)
	j.weigh(len(e.loops), e.opts.Compress)
	if err := e.fanout.submit(j); err != nil {
		return nil, Report{}, err
	}
	return j, report, nil
}

// pushEach serves the ids of a ToClients on the calling goroutine.
func (e *Engine) pushEach(t Target, f *frame, report *Report) {
	r := renderers.Get().(*renderer)
	defer r.release()
	report.Outcomes = make([]Outcome, len(t.ids))
	first := make(map[ID]int, len(t.ids))
	for i, id := range t.ids {
		if before, twice := first[id]; twice {
			report.Outcomes[i] = report.Outcomes[before]
			continue
		}
		first[id] = i
		if c, err := e.member(t.system, id); err == nil {
			report.Outcomes[i] = c.send(f, r)
		}
		report.count(report.Outcomes[i])
		if i%slice == slice-1 {
			runtime.Gosched()
		}
	}
}
