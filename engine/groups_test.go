package engine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// However many bind one client at once, it is in MaxGroups groups at most, and who does
// not get it in is told why.
func TestMaxGroupsConcurrently(t *testing.T) {
	const limit, binders = 4, 64
	e := newEngine(t, Options{MaxGroups: limit})
	for range 20 {
		p := dial(t, e, "system_id=1&group_name=first")
		c, _ := e.Client(p.id)
		start := make(chan struct{})
		var binding sync.WaitGroup
		var added, refused atomic.Int64
		for i := range binders {
			binding.Go(func() {
				<-start
				did, err := e.Bind("1", p.id, fmt.Sprint("g", i))
				var field *FieldError
				switch {
				case err == nil && did:
					added.Add(1)
				case errors.As(err, &field) && *field == (FieldError{"group_name", "at most 4 groups for one client"}):
					refused.Add(1)
				default:
					t.Errorf("Bind: %v, %v", did, err)
				}
			})
		}
		close(start)
		binding.Wait()
		if n := len(c.Groups()); n != limit || added.Load() != limit-1 || refused.Load() != binders-limit+1 {
			t.Errorf("%d groups, %d bound and %d refused, want %d groups", n, added.Load(), refused.Load(), limit)
		}
		if did, err := e.Bind("1", p.id, "first"); did || err != nil {
			t.Errorf("a group that it is in: %v, %v", did, err)
		}
	}
}

// A group that a handshake names twice counts once.
func TestMaxGroupsInHandshake(t *testing.T) {
	e := newEngine(t, Options{MaxGroups: 2})
	p := dial(t, e, "system_id=1&group_name=a&group_name=b&group_name=a&group_name=b")
	if c, _ := e.Client(p.id); fmt.Sprint(c.Groups()) != "[a b]" {
		t.Errorf("groups %v", c.Groups())
	}
	resp, err := http.ReadResponse(bufio.NewReader(rawConn(t, e, fmt.Sprintf(upgrade, "system_id=1&group_name=a&group_name=b&group_name=c"))), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Fatalf("three groups: %v, %v", resp, err)
	}
	var body struct{ Field, Detail string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Field != "group_name" || body.Detail != "want at most 2 groups for one client" {
		t.Errorf("the answer says %+v, %v", body, err)
	}
}

// OnClose is told what the client was, whoever ends it and whatever others do to its
// groups at that moment.
func TestOnCloseSeesTheClient(t *testing.T) {
	type seen struct {
		id           ID
		system, user string
		groups       []string
	}
	ends := make(chan seen, 1)
	e := newEngine(t, Options{OnClose: func(c *Client, _ CloseReason) {
		ends <- seen{c.ID(), c.System(), c.User(), c.Groups()}
	}})
	for name, end := range map[string]func(p *peer){
		"backend": func(p *peer) { _ = e.Close("1", p.id, "") },
		"peer":    func(p *peer) { p.Close(1000, "") },
		"reset":   func(p *peer) { p.CloseNow() },
	} {
		p := dial(t, e, "system_id=1&user_id=u&group_name=a&group_name=b")
		_, _ = e.Bind("1", p.id, "c")
		_, _ = e.Unbind("1", p.id, "a")
		c, _ := e.Client(p.id)
		go p.closed()
		end(p)
		if got, want := fmt.Sprint(<-ends), fmt.Sprint(seen{p.id, "1", "u", []string{"b", "c"}}); got != want {
			t.Errorf("%s: OnClose saw %s, want %s", name, got, want)
		}
		// It is over: nothing changes it any more, and it is in no group.
		if _, err := e.Unbind("1", p.id, "b"); !errors.Is(err, ErrNoClient) {
			t.Errorf("%s: Unbind: %v", name, err)
		}
		if _, err := e.Bind("1", p.id, "d"); !errors.Is(err, ErrNoClient) {
			t.Errorf("%s: Bind: %v", name, err)
		}
		if got := c.Groups(); fmt.Sprint(got) != "[b c]" || e.Count(Query{System: "1", Group: "b"}) != 0 {
			t.Errorf("%s: afterwards it has groups %v, and the group %d clients", name, got, e.Count(Query{System: "1", Group: "b"}))
		}
	}
	// Others bind and unbind until after the end.
	for range 50 {
		p := dial(t, e, "system_id=1&group_name=always")
		var changing sync.WaitGroup
		for i := range 4 {
			changing.Go(func() {
				g := fmt.Sprint("g", i)
				for {
					if _, err := e.Bind("1", p.id, g); err != nil {
						return
					}
					if _, err := e.Unbind("1", p.id, g); err != nil {
						return
					}
				}
			})
		}
		p.CloseNow()
		got := <-ends
		changing.Wait()
		if !slices.Contains(got.groups, "always") || len(got.groups) > 5 {
			t.Errorf("OnClose saw %v", got)
		}
	}
}
