package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"
)

// Flags are the flags of a command. Each belongs to a section, the name of a command, whose table of the
// configuration may set it: the flags of sync belong to the commands that it runs.
type Flags struct {
	Set *pflag.FlagSet // all, as the command line has them

	command string
	parts   map[string]*pflag.FlagSet    // by section
	aliases map[string]map[string]string // by section: names on the command line that differ
}

// Common is the section of the flags that every command has. The configuration has them at the top level.
const Common = "common"

// New returns the flags of a command, without any.
func New(command string) *Flags {
	return &Flags{command: command, Set: pflag.NewFlagSet(command, pflag.ContinueOnError), parts: map[string]*pflag.FlagSet{}, aliases: map[string]map[string]string{}}
}

// Section adds the flags that add defines. If an earlier section has a flag of the same name, one flag sets
// both, unless as gives it another name on the command line.
func (f *Flags) Section(name string, as map[string]string, add func(fs *pflag.FlagSet)) {
	part := pflag.NewFlagSet(name, pflag.ContinueOnError)
	part.SortFlags = false
	add(part)
	f.parts[name] = part
	part.VisitAll(func(flag *pflag.Flag) {
		shown := *flag
		if other, ok := as[flag.Name]; ok {
			shown.Name = other
		}
		if have := f.Set.Lookup(shown.Name); have != nil {
			have.Value = fanout{have.Value, flag.Value}
			if have.DefValue == "[]" {
				have.DefValue = "" // pflag shows that of its own lists only
			}
			return
		}
		f.Set.AddFlag(&shown)
	})
	f.aliases[name] = as
}

// IsCommon reports whether a flag is one that every command has.
func (f *Flags) IsCommon(name string) bool { return f.parts[Common].Lookup(name) != nil }

// Sections returns the names of the sections.
func (f *Flags) Sections() []string { return slices.Sorted(maps.Keys(f.parts)) }

// fanout is one flag that sets two values.
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

// Explain returns an error of Set.Parse in kojisnap's words.
func (f *Flags) Explain(err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	text := err.Error()
	switch {
	case errors.As(err, &unknown):
		if best := Nearest(unknown.GetSpecifiedName(), flagNames(f.Set)); best != "" {
			text += " (did you mean --" + best + "?)"
		}
	case errors.As(err, &invalid):
		flag := invalid.GetFlag()
		text = fmt.Sprintf("--%s: %v", flag.Name, valueError(flag.Value, invalid.GetValue(), invalid.Unwrap()))
	}
	return fmt.Errorf("%s: %s; kojisnap %s --help", f.command, text, f.command)
}

// Usages returns the help of the command's own flags, for a terminal of a width; 0: each flag in a line.
func (f *Flags) Usages(width int) string {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = false
	common := f.parts[Common]
	f.Set.VisitAll(func(flag *pflag.Flag) {
		if common.Lookup(flag.Name) == nil {
			own.AddFlag(flag)
		}
	})
	if !own.HasFlags() {
		return ""
	}
	return "\nFlags:\n" + own.FlagUsagesWrapped(width)
}

// CommonUsages returns the help of the flags that every command has.
func (f *Flags) CommonUsages(width int) string { return f.parts[Common].FlagUsagesWrapped(width) }

// Configure sets the flags that the command line did not set: from the table of their section or, if that does
// not have the key, from the top level. Call it after Set.Parse.
func (f *Flags) Configure(c *Config) error {
	for _, section := range slices.Sorted(maps.Keys(f.parts)) {
		var err error
		f.parts[section].VisitAll(func(flag *pflag.Flag) {
			shown := flag.Name
			if other, ok := f.aliases[section][shown]; ok {
				shown = other
			}
			if err != nil || f.Set.Changed(shown) {
				return
			}
			if v, origin, ok := c.Lookup(section, flag.Name); ok {
				if e := assign(flag.Value, v); e != nil {
					err = fmt.Errorf("configuration %s: %s: %w", origin, flag.Name, e)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// assign sets a flag to a value of the configuration, which must be of the flag's type.
func assign(flag pflag.Value, v any) error {
	if images, ok := flag.(*Images); ok {
		return images.replace(v)
	}
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
	if m, ok := flag.(*Moment); ok {
		v = m.ofTOML(v)
	}
	if err := flag.Set(fmt.Sprint(v)); err != nil {
		return valueError(flag, fmt.Sprint(v), err)
	}
	return nil
}

// flagNames returns the names of the flags that help shows.
func flagNames(set *pflag.FlagSet) (names []string) {
	set.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}
