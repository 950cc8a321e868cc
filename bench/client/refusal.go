package client

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"unicode"
)

// maxShown bounds what is shown, and waited for, of the body of a refusal.
const maxShown = 200

// refusal says how a server refuses a handshake: its status, and the first line of the
// body. Enough says that what is still to come would not change it; ended that nothing
// will.
func refusal(answer []byte, ended bool) (text string, enough bool) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	const alert, handshake = 0x15, 0x16 // how a record of TLS begins
	switch {
	case err != nil && len(answer) > 0 && (answer[0] == alert || answer[0] == handshake):
		return "the server's answer to the handshake is TLS: want wss:// in its URL", true
	case err != nil:
		return "the server's answer to the handshake is no HTTP: " + FirstLine(answer), true
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxShown))
	text = resp.Status
	if to := resp.Header.Get("Location"); to != "" {
		text += " to " + FirstLine([]byte(to))
	}
	if line := FirstLine(body); line != "" {
		text += ": " + line
	}
	whole := err == nil && (resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0)
	line := bytes.ContainsRune(bytes.TrimLeft(body, " \t\r\n"), '\n')
	return "the server answers the handshake with " + text, ended || whole || line || len(body) == maxShown
}

// FirstLine is the first line of a text that has something on it, of at most maxShown
// bytes and without what a terminal would not show.
func FirstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimLeft(string(text[:min(len(text), maxShown)]), " \t\r\n"), "\n")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "")))
}
