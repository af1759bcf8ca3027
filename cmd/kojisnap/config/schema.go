package config

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Key is a key of the configuration.
type Key struct {
	Section string // the command whose table may have it; Common: at the top level alone
	// Flag is the flag that the key sets: its name, type, default and help are the key's. Its Value takes a
	// value as assign does, and belongs to no command that runs.
	Flag *pflag.Flag
}

// Schema is all keys that a configuration can have.
type Schema struct {
	commands []string
	sections map[string][]Key
}

// NewSchema makes the schema of the flags of all commands. If several commands have a section, the first one
// says which keys the section has.
func NewSchema(commands ...*Flags) *Schema {
	s := &Schema{sections: map[string][]Key{}}
	for _, f := range commands {
		s.commands = append(s.commands, f.command)
		for section, part := range f.parts {
			// A command may have some of a section's flags, and another one all.
			if s.sections[section] == nil {
				s.sections[section] = []Key{}
			}
			part.VisitAll(func(flag *pflag.Flag) {
				if !slices.ContainsFunc(s.sections[section], func(k Key) bool { return k.Flag.Name == flag.Name }) {
					s.sections[section] = append(s.sections[section], Key{section, flag})
				}
			})
		}
	}
	return s
}

// environmentName is what setup.CheckEnvironment takes.
var environmentName = regexp.MustCompile(`^[a-z0-9_-]+$`)

// check refuses a key that sets nothing, because a misspelt one must not be ignored, and a value that is not of its
// flag's type, whatever the command.
func (s *Schema) check(p place, value any) error {
	if p.table == volumesTable {
		if _, ok := value.(string); !ok {
			return fmt.Errorf("%s %s: want the name of a volume, not %s", p.header(), p.key, shown(value))
		}
		return nil
	}
	if p.table != "" {
		return s.checkTable(p, value)
	}
	header := ""
	if p.env != "" {
		header = p.header() + " "
		if p.key == envTable {
			return fmt.Errorf("%s has no key env: which environment to work for is said by --env, or default in [env]", p.header())
		}
	}
	// A table of another name may be meant for a command; anything else for a flag.
	_, isTable := value.(map[string]any)
	found := false
	var bad error
	var names []string
	for _, section := range slices.Sorted(maps.Keys(s.sections)) {
		for _, k := range s.sections[section] {
			if !k.Flag.Hidden {
				names = append(names, k.Flag.Name)
			}
			if k.Flag.Name == p.key {
				found = true
				bad = cmp.Or(bad, assign(k.Flag.Value, value))
			}
		}
	}
	switch {
	case bad != nil:
		return fmt.Errorf("%s%s: %w", header, p.key, bad)
	case found:
		return nil
	case isTable:
		return fmt.Errorf("no command %s%s", place{p.env, p.key, ""}.header(), Suggest(p.key, append(slices.Clone(s.commands), volumesTable, envTable)))
	}
	slices.Sort(names)
	return fmt.Errorf("%sno flag %q%s", header, p.key, Suggest(p.key, names))
}

// checkTable is check of a key in a section's table.
func (s *Schema) checkTable(p place, value any) error {
	key := s.find(p.table, p.key)
	if key == nil {
		hint := s.belongs(p.key)
		if hint != "" {
			hint = fmt.Sprintf(" (it belongs %s)", hint)
		} else {
			hint = Suggest(p.key, s.names(p.table))
		}
		return fmt.Errorf("%s has no key %q%s", p.header(), p.key, hint)
	}
	if err := assign(key.Flag.Value, value); err != nil {
		return fmt.Errorf("%s %s: %w", p.header(), p.key, err)
	}
	return nil
}

// find returns a key of a section, nil if it has none of that name.
func (s *Schema) find(section, name string) *Key {
	for i, k := range s.sections[section] {
		if k.Flag.Name == name {
			return &s.sections[section][i]
		}
	}
	return nil
}

// names returns the keys of a section that its help shows.
func (s *Schema) names(section string) (names []string) {
	for _, k := range s.sections[section] {
		if !k.Flag.Hidden {
			names = append(names, k.Flag.Name)
		}
	}
	return names
}

// belongs says where in the configuration a key belongs: "in [pull] or [verify]". It is empty if no section has
// the key.
func (s *Schema) belongs(name string) string {
	if s.find(Common, name) != nil {
		return "at the top level"
	}
	var all []string
	for _, section := range slices.Sorted(maps.Keys(s.sections)) {
		if s.find(section, name) != nil {
			all = append(all, "["+section+"]")
		}
	}
	switch n := len(all); n {
	case 0:
		return ""
	case 1:
		return "in " + all[0]
	default:
		return "in " + strings.Join(all[:n-1], ", ") + " or " + all[n-1]
	}
}
