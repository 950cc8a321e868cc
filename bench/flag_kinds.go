package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The kinds of flags. Their errors say what was expected, and package flag puts the
// flag's name before them.

type text struct{ p *string }

func (v text) init(def string) text { *v.p = def; return v }

func (v text) Set(s string) error { *v.p = s; return nil }
func (v text) String() string {
	if v.p == nil {
		return ""
	}
	return *v.p
}

// A list is a flag that may be repeated.
type list struct{ p *[]string }

func (v *list) Set(s string) error {
	if s == "" {
		return errors.New("want something in it")
	}
	*v.p = append(*v.p, s)
	return nil
}
func (v *list) String() string { return "" }

type yes struct{ p *bool }

func (v yes) IsBoolFlag() bool { return true }
func (v yes) String() string   { return strconv.FormatBool(v.p != nil && *v.p) }
func (v yes) Set(s string) (err error) {
	if *v.p, err = strconv.ParseBool(s); err != nil {
		return errors.New("want true or false")
	}
	return nil
}

type oneOf struct {
	p      *string
	values []string
}

func (v oneOf) String() string {
	if v.p == nil {
		return ""
	}
	return *v.p
}

func (v oneOf) Set(s string) error {
	for _, known := range v.values {
		if s == known {
			*v.p = s
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(v.values, ", "))
}

type integer struct {
	p        *int
	min, max int
}

func (v integer) init(def int) integer { *v.p = def; return v }

func (v integer) String() string {
	if v.p == nil {
		return ""
	}
	return strconv.Itoa(*v.p)
}

func (v integer) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("want a whole number from %d to %d", v.min, v.max)
	}
	*v.p = n
	return nil
}

type unsigned struct{ p *uint64 }

func (v unsigned) init(def uint64) unsigned { *v.p = def; return v }

func (v unsigned) String() string {
	if v.p == nil {
		return ""
	}
	return strconv.FormatUint(*v.p, 10)
}

func (v unsigned) Set(s string) (err error) {
	if *v.p, err = strconv.ParseUint(s, 10, 64); err != nil {
		return errors.New("want a whole number")
	}
	return nil
}

type decimal struct{ p *float64 }

func (v decimal) init(def float64) decimal { *v.p = def; return v }

func (v decimal) String() string {
	if v.p == nil {
		return ""
	}
	return strconv.FormatFloat(*v.p, 'f', -1, 64)
}

func (v decimal) Set(s string) error {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= 0 && x <= 1e7) || math.IsNaN(x) {
		return errors.New("want a number from 0 to 10000000")
	}
	*v.p = x
	return nil
}

// span64 is a duration of at most a day.
type span64 struct{ p *time.Duration }

func (v span64) init(def time.Duration) span64 { *v.p = def; return v }

func (v span64) String() string {
	if v.p == nil {
		return ""
	}
	return v.p.String()
}

func (v span64) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d > 24*time.Hour {
		return errors.New("want a time up to 24h, such as 10s or 2m")
	}
	*v.p = d
	return nil
}
