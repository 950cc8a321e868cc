package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"carillon/bench/stamp"
)

// What is filled in where: of a client, in where a push goes, and in what it says.
var (
	clientPlaces = []string{"{system}", "{group}", "{index}"}
	targetPlaces = []string{"{target}"}
	bodyPlaces   = []string{"{data}", "{client_id}", "{group}", "{system}", "{target}"}
)

// placeholder is what looks like one: a word in braces, which JSON has not.
var placeholder = regexp.MustCompile(`\{ *[A-Za-z][A-Za-z0-9_.-]* *\}`)

// checkTemplate refuses placeholders that are not filled in: they would go to the server
// as they are.
func checkTemplate(flag, text string, places []string) error {
	for _, found := range placeholder.FindAllString(text, -1) {
		if slices.Contains(places, found) {
			continue
		}
		hint := ""
		if near := nearest(found, places); near != "" {
			hint = "did you mean " + near + "? "
		}
		return fmt.Errorf("%s: %s is not filled in there: %swant one of %s", flag, found, hint, strings.Join(places, ", "))
	}
	return nil
}

// checkTemplates checks every flag that takes placeholders, and those that do not.
func (c *config) checkTemplates() error {
	pushURL := targetPlaces
	if c.push == "ws" {
		pushURL = clientPlaces
	}
	for _, f := range []struct {
		flag   string
		texts  []string
		places []string
		isURL  bool
	}{
		{"-url", c.urls, clientPlaces, true},
		{"-push-url", c.pushURLs, pushURL, true},
		{"-hello", c.hello, clientPlaces, false},
		{"-push-body", []string{c.pushBody}, bodyPlaces, false},
	} {
		for _, text := range f.texts {
			if err := checkTemplate(f.flag, text, f.places); err != nil {
				return err
			}
			// A URL has no other braces.
			if f.isURL && strings.ContainsAny(placeholder.ReplaceAllString(text, ""), "{}") {
				return fmt.Errorf("%s %q: want a brace only around one of %s", f.flag, text, strings.Join(f.places, ", "))
			}
		}
	}
	for _, h := range c.headers {
		for _, found := range placeholder.FindAllString(h, -1) {
			if slices.Contains(slices.Concat(clientPlaces, bodyPlaces), found) {
				return fmt.Errorf("-header %q: %s is not filled in there, only in -url, -hello, -push-url and -push-body", h, found)
			}
		}
	}
	return c.checkJSON()
}

// checkJSON refuses a body of JSON that is none once it is filled in: what is filled in
// brings its quotes.
func (c *config) checkJSON() error {
	e := &endpoint{mimeType: c.pushType}
	if !c.scenario.pushes || !strings.Contains(c.pushType, "json") || strings.TrimLeft(c.pushBody, " \t\r\n[{") == c.pushBody {
		return nil
	}
	if text := e.text(c.pushBody, pushTarget{kind: stamp.All, client: "1"}, []byte("x")); !json.Valid([]byte(text)) {
		return fmt.Errorf("-push-body: it is no JSON when it is filled in, %s: want {data} and others without quotes around them, they have their own", text)
	}
	return nil
}

// nearest is the word that is misspelt; empty if none is near.
func nearest(misspelt string, words []string) (near string) {
	least := 3 // changes
	for _, w := range words {
		if n := distance(strings.ToLower(strings.ReplaceAll(misspelt, " ", "")), w); n < least {
			near, least = w, n
		}
	}
	return near
}

// distance is how many letters are to be changed, added or removed between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
