package engine

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"carillon/engine/ws"
)

// Errors that Engine's methods wrap; test with errors.Is.
var (
	// ErrInvalid matches every *FieldError.
	ErrInvalid = errors.New("engine: invalid argument")
	// ErrNoClient means that no open client of that id exists in that system.
	// It is the same whether the id is unknown or another system's.
	ErrNoClient = errors.New("engine: no such client")
	// ErrBusy means that MaxPendingPushes pushes to that system already wait, or pushes
	// that keep MaxPendingBytes.
	// Nothing was sent; try again later.
	ErrBusy = errors.New("engine: too many pushes in flight")
	// ErrShutdown means that the engine does not run: before Start, or after
	// Shutdown began.
	ErrShutdown = errors.New("engine: not running")
)

// A FieldError is bad input: the field's name in the API, and what was expected.
// Nothing was done.
type FieldError struct {
	Field string
	Want  string
}

// Error implements error.
func (e *FieldError) Error() string {
	return fmt.Sprintf("engine: %s: want %s", e.Field, e.Want)
}

// Code is what an answer about the error carries: CodeNoSystem for a missing system,
// otherwise CodeBadParameter.
func (e *FieldError) Code() Code {
	if *e == *errNoSystem {
		return CodeNoSystem
	}
	return CodeBadParameter
}

// Detail is what an answer about the error says.
func (e *FieldError) Detail() string { return "want " + e.Want }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

// An OptionError is what New says of options that cannot be.
type OptionError struct {
	Option string // the field of Options
	Value  string // what it is, if that says something
	Want   string // what it should be
}

// Error implements error.
func (e *OptionError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("engine: %s: want %s", e.Option, e.Want)
	}
	return fmt.Sprintf("engine: %s: %s: want %s", e.Option, e.Value, e.Want)
}

// A ListenError is what Start says if it cannot listen on Options.Addr.
type ListenError struct{ Err error }

// Error implements error.
func (e *ListenError) Error() string { return "engine: " + e.Err.Error() }

// Unwrap is what the listener said.
func (e *ListenError) Unwrap() error { return e.Err }

// MaxNameBytes bounds the names of systems, groups and users.
const MaxNameBytes = 128

func checkCloseText(reason string) error {
	if len(reason) > ws.MaxCloseReason || !utf8.ValidString(reason) {
		return &FieldError{"reason", fmt.Sprintf("at most %d bytes of UTF-8", ws.MaxCloseReason)}
	}
	return nil
}
