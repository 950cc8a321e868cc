package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"carillon/engine"
	"carillon/httpapi"
)

// withoutFlag are options that no operator sets.
var withoutFlag = []string{
	"ServeHTTP", "Listener", "AuthTimeout", "MaxAuthenticating", "NoWelcome", "Logger", "Authenticate", "OnOpen", "OnMessage", "OnClose",
	"Engine", "PagePort", "APIOnly", "ClientsTLS", "Version",
}

// Each option has a flag or is known to have none, and each flag exists.
func TestOptionFlagsAreComplete(t *testing.T) {
	c := new(config)
	c.addSettings(new(written))
	options := map[string]bool{}
	for _, of := range []reflect.Type{reflect.TypeFor[engine.Options](), reflect.TypeFor[httpapi.Options]()} {
		for i := range of.NumField() {
			name := of.Field(i).Name
			options[name] = true
			if flag, ok := optionFlags[name]; !ok && !slices.Contains(withoutFlag, name) {
				t.Errorf("%v.%s has no flag in optionFlags", of, name)
			} else if ok && c.find(flag) == nil {
				t.Errorf("%s: there is no flag -%s", name, flag)
			}
		}
	}
	for name := range optionFlags {
		if !options[name] {
			t.Errorf("optionFlags has %s, which is no option", name)
		}
	}
}

// Whatever number or time the engine refuses, its flag is named, or its variable, with
// what was written; never an option.
func TestRefusedOptionsNameTheirFlags(t *testing.T) {
	c := new(config)
	c.addSettings(new(written))
	refused := 0
	for _, st := range c.all {
		var bad string
		switch st.value.(type) {
		case number, bound, count:
			bad = "2147483647"
		case size, sizeInt:
			bad = "4096TiB"
		case span:
			bad = "1000h"
		case pause:
			bad = "48h"
		default:
			continue
		}
		for _, from := range []string{"-" + st.name, envName(st.name)} {
			args, env := []string{from, bad}, []string(nil)
			if from[0] != '-' {
				args, env = nil, []string{from + "=" + bad}
			}
			c, err := parseConfig(args, env, io.Discard)
			if err == nil {
				if _, err = engine.New(c.engine); err == nil {
					continue // there is no bound, or none that a flag can reach
				}
				err = c.inFlags(err)
			}
			refused++
			var usage usageError
			if !errors.As(err, &usage) || !strings.HasPrefix(err.Error(), from+": "+bad+": want ") {
				t.Errorf("%s %s: %v", from, bad, err)
			}
		}
	}
	if refused < 30 {
		t.Errorf("only %d were refused", refused)
	}
}

// A key is in no error, however it got on the command line.
func TestBadKeysAreNotPrinted(t *testing.T) {
	for _, tt := range []struct {
		args, env []string
		want      string
	}{
		{[]string{"-api-key", "se cret"}, nil, "-api-key: want keys"},
		{[]string{"-api-key", "fine,secret\n"}, nil, "-api-key: want keys"},
		{[]string{"-api-key=sécret"}, nil, "-api-key: want keys"},
		{[]string{"-api-key", "secret,"}, nil, "-api-key: want keys"},
		{[]string{"-api-key", "", "-path", "/secret"}, nil, "-api-key: want keys"},
		{[]string{"-api-key", "k", "secret"}, nil, "argument number 3"},
		{[]string{"-api-keysecret"}, nil, "no such flag"},
		{[]string{"---api-key=secret"}, nil, "no such flag"},
		{[]string{"-api-kye=secret"}, nil, "is it -api-key?"},
		{[]string{"-api-kye", "secret"}, nil, "is it -api-key?"},
		{nil, []string{"CARILLON_API_KEY=se cret"}, "CARILLON_API_KEY: want keys"},
		{nil, []string{"CARILLON_API_KEY="}, "CARILLON_API_KEY: want keys"},
		{nil, []string{"CARILLON_API_KEY=" + strings.Repeat("secret,", 1001) + "k"}, "CARILLON_API_KEY: want at most 1000"},
	} {
		cmd := exec.Command(binary, tt.args...)
		cmd.Env = environ(tt.env...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(out), tt.want) || strings.Contains(string(out), "cret") {
			t.Errorf("%.60q %.60q: %d %s, want %s", tt.args, tt.env, code, out, tt.want)
		}
	}
	// A misspelt variable is named, and what it is set to is not.
	s := startEnv(t, []string{"CARILLON_APIKEY=secret"}, "-log-level", "debug")
	s.cmd.Process.Signal(os.Interrupt)
	s.exit()
	if logs := s.logs.String(); strings.Contains(logs, "secret") || !strings.Contains(logs, `"nearest":"CARILLON_API_KEY"`) {
		t.Errorf("logs: %s", logs)
	}
}
