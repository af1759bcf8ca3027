package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"
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

// usage is an error of the command line in words.
func (f *flags) usage(err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	text := err.Error()
	switch {
	case errors.As(err, &unknown):
		text += suggest("--"+unknown.GetSpecifiedName(), flagNames("--", f.set))
	case errors.As(err, &invalid):
		flag := invalid.GetFlag()
		text = fmt.Sprintf("--%s: %v", flag.Name, valueError(flag.Value, invalid.GetValue(), invalid.Unwrap()))
	}
	return usagef("%s: %s; kojisnap %s --help", f.command, text, f.command)
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
					err = usagef("configuration %s: %s: %w", where, flag.Name, e)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// assign gives a flag a value of the configuration, which must be of its type.
func assign(flag pflag.Value, v any) error {
	list, isList := v.([]any)
	if s, ok := flag.(pflag.SliceValue); ok {
		if !isList {
			list = []any{v}
		}
		texts := make([]string, len(list))
		for i, e := range list {
			if !fits(flag, e) {
				return fmt.Errorf("%s, not %s", wanted(flag), shown(v))
			}
			texts[i] = fmt.Sprint(e)
		}
		return s.Replace(texts)
	}
	if !fits(flag, v) {
		return fmt.Errorf("%s, not %s", wanted(flag), shown(v))
	}
	if m, ok := flag.(*moment); ok {
		v = m.ofTOML(v)
	}
	if err := flag.Set(fmt.Sprint(v)); err != nil {
		return valueError(flag, fmt.Sprint(v), err)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// addDB adds the flag that names the staging database.
func addDB(fs *pflag.FlagSet, db *string) {
	fs.StringVar(db, "db", "", "`DSN` of the staging database (default: PGHOST, PGDATABASE, … of the environment)")
}
