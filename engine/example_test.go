package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"carillon/engine"
)

// start runs an engine on a free port, and an example's clients connect to it.
func start(o engine.Options) (e *engine.Engine, stop func()) {
	o.Addr = "127.0.0.1:0"
	e, err := engine.New(o)
	if err != nil {
		log.Fatal(err)
	}
	if err := e.Start(); err != nil {
		log.Fatal(err)
	}
	return e, func() { // the clients of the examples do not read their close frames
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		e.Shutdown(ctx)
	}
}

// connect opens a client and reads its welcome.
func connect(e *engine.Engine, query string) (c *websocket.Conn, id engine.ID) {
	c, _, err := websocket.Dial(context.Background(), "ws://"+e.Addr().String()+"/ws?"+query, nil)
	if err != nil {
		log.Fatal(err)
	}
	id, err = engine.ParseID(read(c).ClientID)
	if err != nil {
		log.Fatal(err)
	}
	return c, id
}

type envelope struct {
	SystemID  string          `json:"system_id"`
	ClientID  string          `json:"client_id"`
	GroupName string          `json:"group_name"`
	Code      engine.Code     `json:"code"`
	Data      json.RawMessage `json:"data"`
}

func read(c *websocket.Conn) (env envelope) {
	_, b, err := c.Read(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal(b, &env); err != nil {
		log.Fatal(err)
	}
	return env
}

func Example() {
	e, err := engine.New(engine.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	if err := e.Start(); err != nil {
		log.Fatal(err)
	}
	defer e.Shutdown(context.Background())

	c, _ := connect(e, "system_id=shop&group_name=vip") // any WebSocket client
	report, err := e.Push(context.Background(), engine.ToGroup("shop", "vip"), engine.Message{Data: []byte(`{"n":1}`)})
	fmt.Println(report.Matched, report.Written, err)
	got := read(c)
	c.CloseNow() // or Shutdown gives it time to answer its close frame
	fmt.Println(got.SystemID, got.GroupName, got.Code, string(got.Data))
	// Output:
	// 1 1 <nil>
	// shop vip 10009 {"n":1}
}

func ExampleEngine_Push_client() {
	e, stop := start(engine.Options{})
	defer stop()
	c, id := connect(e, "system_id=shop")

	_, err := e.Push(context.Background(), engine.ToClient("shop", id), engine.Message{Kind: engine.Text, Data: []byte("hello")})
	fmt.Println(string(read(c).Data), err)

	// A client of another system is as good as none.
	_, err = e.Push(context.Background(), engine.ToClient("bank", id), engine.Message{})
	fmt.Println(errors.Is(err, engine.ErrNoClient))
	// Output:
	// "hello" <nil>
	// true
}

func ExampleEngine_Push_clients() {
	e, stop := start(engine.Options{})
	defer stop()
	_, a := connect(e, "system_id=shop")
	_, b := connect(e, "system_id=shop")

	r, err := e.Push(context.Background(), engine.ToClients("shop", a, 12345, b), engine.Message{Data: []byte("1")})
	fmt.Println(r.Outcomes[0] == engine.Written, r.Outcomes[1] == engine.NoClient, r.Outcomes[2] == engine.Written, err)
	// Output: true true true <nil>
}

func ExampleEngine_Push_system() {
	e, stop := start(engine.Options{})
	defer stop()
	a, _ := connect(e, "system_id=shop")
	_, own := connect(e, "system_id=shop")
	connect(e, "system_id=bank")

	// Everyone in the system except the client that caused it.
	r, err := e.Push(context.Background(), engine.ToSystem("shop", own), engine.Message{Data: []byte(`"sale"`)})
	fmt.Println(r.Matched, string(read(a).Data), err)
	// Output: 1 "sale" <nil>
}

func ExampleEngine_Push_all() {
	e, stop := start(engine.Options{})
	defer stop()
	a, _ := connect(e, "system_id=shop")
	b, _ := connect(e, "system_id=bank")

	r, err := e.Push(context.Background(), engine.ToAll(), engine.Message{Data: []byte(`"maintenance"`)})
	fmt.Println(r.Matched, read(a).SystemID, read(b).SystemID, err)
	// Output: 2 shop bank <nil>
}

func ExampleEngine_Bind() {
	e, stop := start(engine.Options{})
	defer stop()
	_, id := connect(e, "system_id=shop")

	added, err := e.Bind("shop", id, "vip")
	fmt.Println(added, err)
	added, err = e.Bind("shop", id, "vip")
	fmt.Println(added, err)
	removed, err := e.Unbind("shop", id, "vip")
	fmt.Println(removed, err)
	// Output:
	// true <nil>
	// false <nil>
	// true <nil>
}

func ExampleEngine_Close() {
	e, stop := start(engine.Options{})
	defer stop()
	c, id := connect(e, "system_id=shop")

	fmt.Println(e.Close("shop", id, "logged in elsewhere"))
	_, _, err := c.Read(context.Background())
	fmt.Println(websocket.CloseStatus(err), strings.Contains(err.Error(), "logged in elsewhere"))
	// Output:
	// <nil>
	// StatusCode(3500) true
}

// A page of clients, and the next one from where it ended.
func ExampleEngine_Clients() {
	e, stop := start(engine.Options{})
	defer stop()
	for range 5 {
		connect(e, "system_id=shop")
	}
	q := engine.Query{System: "shop"}
	fmt.Println("total", e.Count(q))
	for range 2 {
		page := 0
		for c := range e.Clients(q) {
			page++
			q.After = c.Cursor()
			if page == 3 {
				break
			}
		}
		fmt.Println("page of", page)
	}
	// Output:
	// total 5
	// page of 3
	// page of 2
}

// Who a client is comes from a cookie, or from a token in the query, instead of what it
// says. A browser sends its cookies along, and cannot set other headers.
func ExampleOptions_authenticate() {
	e, stop := start(engine.Options{
		Authenticate: func(_ context.Context, h *engine.Handshake) (engine.Identity, error) {
			token := ""
			if q, err := h.Query(); err == nil {
				token = q.Get("token")
			}
			cookies, _ := http.ParseCookie(h.Header("Cookie"))
			for _, c := range cookies {
				if c.Name == "session" {
					token = c.Value
				}
			}
			if token != "of-ann" {
				return engine.Identity{}, errors.New("no valid token") // answered 401
			}
			return engine.Identity{System: "shop", User: "ann", Groups: []string{"vip"}}, nil
		},
	})
	defer stop()
	_, id := connect(e, "token=of-ann")
	c, _ := e.Client(id)
	fmt.Println(c.System(), c.User(), c.Groups())

	url := "ws://" + e.Addr().String() + "/ws"
	_, resp, _ := websocket.Dial(context.Background(), url, &websocket.DialOptions{
		HTTPHeader: http.Header{"Cookie": {"session=of-ann"}},
	})
	fmt.Println(resp.StatusCode)
	_, resp, _ = websocket.Dial(context.Background(), url, nil)
	fmt.Println(resp.StatusCode)
	// Output:
	// shop ann [vip]
	// 101
	// 401
}

// Callbacks for what clients do.
func ExampleOptions_callbacks() {
	done := make(chan struct{})
	e, stop := start(engine.Options{
		OnOpen: func(c *engine.Client) { fmt.Println("open", c.System()) },
		OnMessage: func(c *engine.Client, _ engine.Kind, data []byte) {
			c.Send(engine.Message{Kind: engine.Text, Data: append([]byte("you said "), data...), Code: engine.CodeRead})
		},
		OnClose: func(_ *engine.Client, why engine.CloseReason) { fmt.Println("closed:", why); close(done) },
	})
	defer stop()
	c, _ := connect(e, "system_id=shop")
	c.Write(context.Background(), websocket.MessageText, []byte("hi"))
	fmt.Println(string(read(c).Data))
	c.Close(websocket.StatusNormalClosure, "")
	<-done
	// Output:
	// open shop
	// "you said hi"
	// closed: peer
}
