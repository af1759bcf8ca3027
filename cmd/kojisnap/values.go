package main

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/kojisnap/secret"
)

// fits reports whether a value of the configuration is of a flag's type, or of that of its elements.
func fits(flag pflag.Value, v any) bool {
	_, isText := v.(string)
	_, isInteger := v.(int64)
	switch flag.Type() {
	case "bool":
		_, ok := v.(bool)
		return ok
	case "int", "int64":
		return isInteger
	case "float64":
		_, ok := v.(float64)
		return ok || isInteger
	case new(rate).Type(), new(limits).Type(), new(buildNames).Type():
		return isText || isInteger
	case new(moment).Type():
		_, isTime := v.(time.Time)
		return isText || isInteger || isTime
	}
	return isText
}

// wanted says what a flag takes.
func wanted(flag pflag.Value) string {
	switch flag.Type() {
	case "bool":
		return "want true or false"
	case "int", "int64":
		return "want a whole number"
	case "float64":
		return "want a number"
	case "stringArray":
		return "want a text in quotes, or a list of them"
	case new(duration).Type():
		return "want a time in quotes, such as 15m, 2h or 2d"
	case new(buildNames).Type():
		return "want NAME-VERSION-RELEASE in quotes or an id, or a list of them"
	case new(moment).Type():
		return "want " + momentForms
	case new(limits).Type():
		return "want a rate such as 20M in quotes, or a list of them"
	}
	return "want a text in quotes"
}

// shown is a value of the configuration as people know it from there.
func shown(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []any:
		var texts []string
		for _, e := range v {
			texts = append(texts, shown(e))
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case map[string]any:
		return "a table"
	case time.Time:
		return v.Format(time.RFC3339)
	}
	return fmt.Sprint(v)
}

// valueError is an error of a flag's Set in words.
func valueError(flag pflag.Value, value string, err error) error {
	var number *strconv.NumError
	switch {
	case !errors.As(err, &number):
		return err
	case errors.Is(number.Err, strconv.ErrRange):
		return fmt.Errorf("%s is out of range", value)
	}
	return fmt.Errorf("%s, not %q", wanted(flag), value)
}

// duration is a flag of a time, with days also, which time.ParseDuration does not know.
type duration time.Duration

func durationVar(fs *pflag.FlagSet, d *time.Duration, name string, value time.Duration, usage string) {
	*d = value
	fs.Var((*duration)(d), name, usage)
}

func (d *duration) String() string {
	if *d == 0 {
		return "" // help does not show a default that is none
	}
	return time.Duration(*d).String()
}
func (d *duration) Type() string { return "duration" }
func (d *duration) Set(s string) error {
	days, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 16)
	var more time.Duration
	if rest != "" || !hasDays {
		var wrong error
		more, wrong = time.ParseDuration(rest)
		err = errors.Join(err, wrong)
	}
	total := time.Duration(n)*24*time.Hour + more
	if err != nil || total < more {
		return fmt.Errorf("%q is not a time such as 90s, 15m, 2h or 2d", s)
	}
	*d = duration(total)
	return nil
}

// rate is a flag of bytes a second, with k or K, M or G.
type rate int64

func (r *rate) String() string { return fmt.Sprint(int64(*r)) }
func (r *rate) Type() string   { return "RATE" }
func (r *rate) Set(s string) error {
	digits, unit := s, int64(1)
	for suffix, n := range map[string]int64{"k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if t, ok := strings.CutSuffix(s, suffix); ok {
			digits, unit = t, n
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return fmt.Errorf("%q is not a number of bytes a second, such as 500k or 20M", s)
	}
	*r = rate(int64(n) * unit)
	return nil
}

// checkURL refuses what a flag cannot take for the URL of a server.
func checkURL(flag, value string) error {
	u, err := url.Parse(value)
	if value == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" {
		return nil
	}
	return usagef("--%s %q: want http://HOST/PATH or https://HOST/PATH", flag, secret.HideURL(value))
}

// checkNames refuses an empty text in a list of names.
func checkNames(flag string, names []string) error {
	if slices.Contains(names, "") {
		return usagef("--%s \"\": a name is wanted", flag)
	}
	return nil
}

// limits is a flag of rates, RATE for all sources or SOURCE=RATE for one. The configuration may
// have a list of them.
type limits struct {
	all   rate
	of    map[string]int64 // bytes a second, by source
	texts []string
}

func (l *limits) String() string     { return strings.Join(l.texts, ",") }
func (l *limits) Type() string       { return "[SOURCE=]RATE" }
func (l *limits) GetSlice() []string { return l.texts }
func (l *limits) Set(s string) error { return l.Append(s) }

func (l *limits) Append(s string) error {
	r, of, rest := &l.all, strings.LastIndexByte(s, '='), s
	if of >= 0 { // the last one: a URL may have others
		r, rest = new(rate), s[of+1:]
	}
	if err := r.Set(rest); err != nil {
		return err
	}
	if of >= 0 {
		if l.of == nil {
			l.of = map[string]int64{}
		}
		l.of[s[:of]] = int64(*r)
	}
	l.texts = append(l.texts, s)
	return nil
}

func (l *limits) Replace(list []string) error {
	*l = limits{}
	for _, s := range list {
		if err := l.Append(s); err != nil {
			return err
		}
	}
	return nil
}

// check refuses limits of what is no source.
func (l *limits) check(sources []string) error {
	for _, s := range sortedKeys(l.of) {
		if slices.Contains(sources, s) {
			continue
		}
		if len(sources) == 0 {
			return usagef("--bwlimit %s=RATE: no --source is given", withoutPassword(s))
		}
		var have []string
		for _, s := range sources {
			have = append(have, withoutPassword(s))
		}
		return usagef("--bwlimit %s=RATE: is no source; there are %s", withoutPassword(s), strings.Join(have, ", "))
	}
	return nil
}

// withoutPassword is a source for people.
func withoutPassword(source string) string {
	if _, err := url.Parse(source); err != nil && strings.Contains(source, "://") {
		return "a URL that is none"
	}
	return secret.Hide(source)
}

// choice is a flag that takes one of some words.
type choice struct {
	value *string
	words []string
}

func newChoice(value *string, words ...string) *choice {
	*value = words[0]
	return &choice{value, words}
}

func (c *choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}
func (c *choice) Type() string { return strings.Join(c.words, "|") }
func (c *choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("want one of %s, not %q", strings.Join(c.words, ", "), s)
	}
	*c.value = s
	return nil
}
