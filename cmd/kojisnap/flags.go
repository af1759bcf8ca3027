package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"kojisnap/kojisnap/secret"
)

// flags is a command's flags. Each belongs to a section, the name of a command, whose table of
// the configuration may set it: those of sync belong to the commands that it runs.
type flags struct {
	command string
	set     *pflag.FlagSet
	parts   map[string]*pflag.FlagSet // by section
	aliases map[string]map[string]string
}

func newFlags(command string) *flags {
	return &flags{command: command, set: pflag.NewFlagSet(command, pflag.ContinueOnError), parts: map[string]*pflag.FlagSet{}}
}

// section adds the flags that add defines. A flag that an earlier section has too becomes one
// flag that sets both, unless as gives it another name on the command line.
func (f *flags) section(name string, as map[string]string, add func(fs *pflag.FlagSet)) {
	part := pflag.NewFlagSet(name, pflag.ContinueOnError)
	part.SortFlags = false
	add(part)
	f.parts[name] = part
	part.VisitAll(func(flag *pflag.Flag) {
		shown := *flag
		if other, ok := as[flag.Name]; ok {
			shown.Name = other
		}
		if have := f.set.Lookup(shown.Name); have != nil {
			have.Value = fanout{have.Value, flag.Value}
			if have.DefValue == "[]" {
				have.DefValue = "" // pflag shows that of its own lists only
			}
			return
		}
		f.set.AddFlag(&shown)
	})
	if f.aliases == nil {
		f.aliases = map[string]map[string]string{}
	}
	f.aliases[name] = as
}

// fanout is one flag for two values.
type fanout struct {
	pflag.Value
	other pflag.Value
}

func (f fanout) Set(s string) error {
	if err := f.Value.Set(s); err != nil {
		return err
	}
	return f.other.Set(s)
}

const commonSection = "common"

func (f *flags) own() string {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = false
	common := f.parts[commonSection]
	f.set.VisitAll(func(flag *pflag.Flag) {
		if common.Lookup(flag.Name) == nil {
			own.AddFlag(flag)
		}
	})
	if !own.HasFlags() {
		return ""
	}
	return "\nFlags:\n" + own.FlagUsages()
}

func (f *flags) common() string { return f.parts[commonSection].FlagUsages() }

// configure sets what the command line did not, from the table of a flag's section or, if that
// has no such key, from the top level.
func (f *flags) configure(c *config) error {
	for _, section := range sortedKeys(f.parts) {
		var err error
		f.parts[section].VisitAll(func(flag *pflag.Flag) {
			shown := flag.Name
			if other, ok := f.aliases[section][shown]; ok {
				shown = other
			}
			if err != nil || f.set.Changed(shown) {
				return
			}
			if v, where, ok := c.lookup(section, flag.Name); ok {
				if e := assign(flag.Value, v); e != nil {
					err = usagef("%s: %s: %v", where, flag.Name, e)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// assign gives a flag a value of the configuration.
func assign(flag pflag.Value, v any) error {
	list, isList := v.([]any)
	if s, ok := flag.(pflag.SliceValue); ok {
		if !isList {
			list = []any{v}
		}
		texts := make([]string, len(list))
		for i, e := range list {
			texts[i] = fmt.Sprint(e)
		}
		return s.Replace(texts)
	}
	if isList {
		return fmt.Errorf("one value wanted, not a list")
	}
	return flag.Set(fmt.Sprint(v))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// rate is a flag of bytes a second, with k, M or G.
type rate int64

func (r *rate) String() string { return fmt.Sprint(int64(*r)) }
func (r *rate) Type() string   { return "RATE" }
func (r *rate) Set(s string) error {
	unit := int64(1)
	for suffix, n := range map[string]int64{"k": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if t, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = t, n
			break
		}
	}
	var n int64
	if _, err := fmt.Sscanf(s+"\n", "%d\n", &n); err != nil || n < 0 {
		return fmt.Errorf("%q is not a number of bytes a second, such as 500k or 20M", s)
	}
	*r = rate(n * unit)
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
		return fmt.Errorf("want one of %s", strings.Join(c.words, ", "))
	}
	*c.value = s
	return nil
}

// addDB adds the flag that names the staging database.
func addDB(fs *pflag.FlagSet, db *string) {
	fs.StringVar(db, "db", "", "`DSN` of the staging database (default: PGHOST, PGDATABASE, … of the environment)")
}
