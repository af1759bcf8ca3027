package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Duration is a flag of a length of time. Unlike time.ParseDuration it takes days, too: 2d, 1d12h.
type Duration time.Duration

// DurationVar adds a flag of a Duration.
func DurationVar(fs *pflag.FlagSet, d *time.Duration, name string, value time.Duration, usage string) {
	*d = value
	fs.Var((*Duration)(d), name, usage)
}

func (d *Duration) String() string {
	if *d == 0 {
		return "" // help does not show it as a default
	}
	return time.Duration(*d).String()
}
func (d *Duration) Type() string { return "duration" }
func (d *Duration) Set(s string) error {
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
	*d = Duration(total)
	return nil
}

// Rate is a flag of bytes a second, with k or K, M or G.
type Rate int64

func (r *Rate) String() string { return fmt.Sprint(int64(*r)) }
func (r *Rate) Type() string   { return "RATE" }
func (r *Rate) Set(s string) error {
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
	*r = Rate(int64(n) * unit)
	return nil
}

// Limits is a flag of rates: RATE for all sources together, or SOURCE=RATE for one of them. The configuration
// may have a list of them.
type Limits struct {
	All Rate             // 0: no limit
	Of  map[string]int64 // bytes a second, by source

	texts []string
}

func (l *Limits) String() string     { return strings.Join(l.texts, ",") }
func (l *Limits) Type() string       { return "[SOURCE=]RATE" }
func (l *Limits) GetSlice() []string { return l.texts }
func (l *Limits) Set(s string) error { return l.Append(s) }

func (l *Limits) Append(s string) error {
	r, of, rest := &l.All, strings.LastIndexByte(s, '='), s
	if of >= 0 { // the last one: a URL may have others
		r, rest = new(Rate), s[of+1:]
	}
	if err := r.Set(rest); err != nil {
		return err
	}
	if of >= 0 {
		if l.Of == nil {
			l.Of = map[string]int64{}
		}
		l.Of[s[:of]] = int64(*r)
	}
	l.texts = append(l.texts, s)
	return nil
}

func (l *Limits) Replace(list []string) error {
	*l = Limits{}
	for _, s := range list {
		if err := l.Append(s); err != nil {
			return err
		}
	}
	return nil
}

// Choice is a flag that takes one of several words.
type Choice struct {
	value *string
	words []string
}

// NewChoice returns a flag of value, whose default is the first word.
func NewChoice(value *string, words ...string) *Choice {
	*value = words[0]
	return &Choice{value, words}
}

func (c *Choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}
func (c *Choice) Type() string { return strings.Join(c.words, "|") }
func (c *Choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("want one of %s, not %q", strings.Join(c.words, ", "), s)
	}
	*c.value = s
	return nil
}

// BuildNames is a flag of builds, each named by its NVR or its id. The configuration may have ids as numbers.
type BuildNames []string

func (b *BuildNames) String() string     { return strings.Join(*b, ",") }
func (b *BuildNames) Type() string       { return "NVR|ID" }
func (b *BuildNames) GetSlice() []string { return *b }
func (b *BuildNames) Set(s string) error { return b.Append(s) }

func (b *BuildNames) Append(s string) error {
	*b = append(*b, s)
	return nil
}

func (b *BuildNames) Replace(list []string) error {
	*b = append(BuildNames{}, list...)
	return nil
}

// Choices returns the words that a flag takes, if it takes only some.
func Choices(flag pflag.Value) (words []string, ok bool) {
	switch v := flag.(type) {
	case *Choice:
		return v.words, true
	case fanout:
		return Choices(v.Value)
	}
	return nil, false
}
