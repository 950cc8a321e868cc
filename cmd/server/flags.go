package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"carillon/httpapi"
)

// What follows are the kinds of flags. Their errors say what was expected; the
// setting's name is put before them.

type text struct {
	p   *string
	def string
}

func (v text) init() text { *v.p = v.def; return v }

func (v text) Set(s string) error { *v.p = s; return nil }
func (v text) String() string {
	if v.p == nil {
		return ""
	}
	return *v.p
}

type list []string

func (v *list) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			return errors.New("want values with commas between")
		} else {
			*v = append(*v, part)
		}
	}
	return nil
}

func (v *list) String() string { return strings.Join(*v, ",") }

// A keyList is a list of API keys, which no error and no text may have in it.
type keyList []string

func (v *keyList) Set(s string) error {
	for key := range strings.SplitSeq(s, ",") {
		if key = strings.Trim(key, " \t"); !httpapi.ValidKey(key) {
			return errors.New("want keys of visible ASCII characters without blanks, with commas between")
		}
		*v = append(*v, key)
	}
	return nil
}

func (v *keyList) String() string { return "" }

// networks are addresses and prefixes, and whether the peers of unix sockets are meant.
type networks struct {
	p    *[]netip.Prefix
	unix *bool
}

func (v networks) String() string { return "" }

func (v networks) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "unix" || part == "unix:" { // nginx writes the latter
			*v.unix = true
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			ip, err := netip.ParseAddr(part)
			if err != nil {
				return errors.New("want networks such as 10.0.0.0/8, addresses or unix, with commas between")
			}
			p = netip.PrefixFrom(ip, ip.BitLen())
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 { // addresses are compared as IPv4
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		*v.p = append(*v.p, p.Masked())
	}
	return nil
}

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

type number struct {
	p   *int
	def int
}

func (v number) init() number { *v.p = v.def; return v }

func (v number) String() string {
	if v.p == nil {
		return ""
	}
	return strconv.Itoa(*v.p)
}

func (v number) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return errors.New("want a whole number")
	}
	*v.p = int(n)
	return nil
}

// A bound is a number of at least 1, or 0 for none, which the engine has as -1.
type bound struct{ number }

func (v bound) Set(s string) error {
	err := v.number.Set(s)
	if err == nil && *v.p == 0 {
		*v.p = -1
	}
	return err
}

// A count is a number of at least 1.
type count struct{ number }

func (v count) Set(s string) error {
	if err := v.number.Set(s); err != nil || *v.p == 0 {
		return errors.New("want a whole number of at least 1")
	}
	return nil
}

type span struct {
	p   *time.Duration
	def time.Duration
}

func (v span) init() span { *v.p = v.def; return v }

func (v span) String() string {
	if v.p == nil {
		return ""
	}
	return v.p.String()
}

func (v span) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second {
		return errors.New("want a time of at least 1s, such as 25s or 2m")
	}
	*v.p = d
	return nil
}

// A pause is a time that may be 0.
type pause span

func (v pause) init() pause { *v.p = v.def; return v }

func (v pause) String() string { return span(v).String() }

func (v pause) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return errors.New("want a time such as 3s, or 0")
	}
	*v.p = d
	return nil
}

// A mode is the permissions of a file, in octal.
type mode struct {
	p   *fs.FileMode
	def fs.FileMode
}

func (v mode) init() mode { *v.p = v.def; return v }

func (v mode) String() string {
	if v.p == nil {
		return ""
	}
	return fmt.Sprintf("%04o", uint32(*v.p))
}

func (v mode) Set(s string) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return errors.New("want permissions such as 0660")
	}
	*v.p = fs.FileMode(n)
	return nil
}

// A size is a number of bytes: 65536, 64KiB, 16MiB or 1GiB.
type size struct {
	p   *int64
	def int64
}

func (v size) init() size { *v.p = v.def; return v }

var units = []struct {
	suffix string
	n      int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

func (v size) String() string {
	if v.p == nil {
		return ""
	}
	for _, u := range units {
		if *v.p >= u.n && *v.p%u.n == 0 {
			return strconv.FormatInt(*v.p/u.n, 10) + u.suffix
		}
	}
	return "" // not set
}

func (v size) Set(s string) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 1 || n > math.MaxInt64/u.n {
			break
		}
		*v.p = n * u.n
		return nil
	}
	return errors.New("want a size such as 65536, 64KiB or 16MiB")
}

// A sizeInt is a size in an int.
type sizeInt struct {
	p   *int
	def int
}

func (v sizeInt) init() sizeInt { *v.p = v.def; return v }

func (v sizeInt) String() string {
	if v.p == nil {
		return ""
	}
	n := int64(*v.p)
	return size{p: &n}.String()
}

func (v sizeInt) Set(s string) error {
	if s == "0" && v.def == 0 { // none, which is not the default that the engine has for 0
		*v.p = -1
		return nil
	}
	var n int64
	if err := (size{p: &n}).Set(s); err != nil {
		return err
	}
	*v.p = int(n)
	return nil
}

type level struct{ p *zerolog.Level }

func (v level) String() string {
	if v.p == nil {
		return ""
	}
	return v.p.String()
}

func (v level) Set(s string) error {
	l, err := zerolog.ParseLevel(s)
	if err != nil || l < zerolog.DebugLevel || l > zerolog.ErrorLevel || s == "" {
		return errors.New("want debug, info, warn or error")
	}
	*v.p = l
	return nil
}
