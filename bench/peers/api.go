package main

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"sync/atomic"
)

const maxBody = 1 << 20

// An envelope is Carillon's, without the receiver's own client_id in a push: the
// libraries encode a message once for all its receivers, and it is the same one.
type envelope struct {
	SystemID  string          `json:"system_id"`
	ClientID  string          `json:"client_id"`
	MessageID string          `json:"message_id"`
	GroupName string          `json:"group_name"`
	Code      int             `json:"code"`
	Msg       string          `json:"msg"`
	Data      json.RawMessage `json:"data"`
	Params    json.RawMessage `json:"params"`
}

const (
	codeConnected = 0
	codeSent      = 10009
)

var lastMessage atomic.Int64

// text is the envelope's JSON.
func (e envelope) text() ([]byte, error) {
	e.MessageID = strconv.FormatInt(1<<59+lastMessage.Add(1), 32) // as long as Carillon's
	return json.Marshal(e)
}

func welcome(who identity) []byte {
	text, err := envelope{SystemID: who.system, ClientID: who.id, Code: codeConnected, Msg: "客户端连接成功"}.text()
	if err != nil {
		panic(err) // a struct of strings has a JSON form
	}
	return text
}

// A pushFunc hands text to every client that matches, in the order of its calls,
// and returns how many they are.
type pushFunc func(to target, text []byte) (matched int, err error)

// newAPI serves Carillon's four calls for a push, and has ws answer the handshakes.
func newAPI(ws http.Handler, push pushFunc) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /ws", ws)
	for _, path := range []string{"/push_to_client", "/push_to_group", "/push_to_system", "/push_to_all"} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			servePush(w, r, push)
		})
	}
	return mux
}

func servePush(w http.ResponseWriter, r *http.Request, push pushFunc) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	to, text, err := readPush(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	matched, err := push(to, text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"code":%d,"report":{"matched":%d}}`, codeSent, matched)
}

// readPush is the target that r's path and fields name, and the envelope to send.
func readPush(r *http.Request) (to target, text []byte, err error) {
	var body struct {
		SystemID  string          `json:"system_id"`
		GroupName string          `json:"group_name"`
		ClientID  string          `json:"client_id"`
		Data      json.RawMessage `json:"data"`
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return to, nil, fmt.Errorf("body: %w", err)
		}
	} else {
		if err := r.ParseForm(); err != nil {
			return to, nil, fmt.Errorf("body: %w", err)
		}
		body.SystemID, body.GroupName, body.ClientID = r.Form.Get("system_id"), r.Form.Get("group_name"), r.Form.Get("client_id")
		if body.Data, err = json.Marshal(r.Form.Get("data")); err != nil {
			return to, nil, fmt.Errorf("data: %w", err)
		}
	}
	missing := ""
	switch r.URL.Path {
	case "/push_to_client":
		to = target{system: body.SystemID, client: body.ClientID}
		if to.client == "" {
			missing = "client_id"
		}
	case "/push_to_group":
		to = target{system: body.SystemID, group: body.GroupName}
		if to.group == "" {
			missing = "group_name"
		}
	case "/push_to_system":
		to = target{system: body.SystemID}
	}
	if to.system == "" && r.URL.Path != "/push_to_all" {
		missing = "system_id"
	}
	if missing != "" {
		return to, nil, fmt.Errorf("%s is missing", missing)
	}
	text, err = envelope{SystemID: to.system, GroupName: to.group, Code: codeSent, Msg: "发送消息体成功", Data: body.Data}.text()
	return to, text, err
}
