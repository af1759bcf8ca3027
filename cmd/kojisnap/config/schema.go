package config

import (
	"cmp"
	"fmt"
	"maps"
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
			if s.sections[section] == nil {
				keys := []Key{}
				part.VisitAll(func(flag *pflag.Flag) { keys = append(keys, Key{section, flag}) })
				s.sections[section] = keys
			}
		}
	}
	return s
}

// check refuses keys that set nothing, because a misspelt one must not be ignored, and values that are not of
// their flag's type, whatever the command. It returns in which table which key is wrong.
func (s *Schema) check(key string, value any) (table, wrong string, err error) {
	inside, isTable := value.(map[string]any)
	switch _, isSection := s.sections[key]; {
	case key == volumesTable && isTable:
		return "", "", nil
	case isSection && isTable:
		wrong, err := s.checkTable(key, inside)
		return key, wrong, err
	}
	// A table of another name may be meant for a command; anything else for a flag.
	found := false
	var bad error
	var names []string
	for _, section := range slices.Sorted(maps.Keys(s.sections)) {
		for _, k := range s.sections[section] {
			if !k.Flag.Hidden {
				names = append(names, k.Flag.Name)
			}
			if k.Flag.Name == key {
				found = true
				bad = cmp.Or(bad, assign(k.Flag.Value, value))
			}
		}
	}
	switch {
	case bad != nil:
		return "", key, fmt.Errorf("%s: %w", key, bad)
	case found:
		return "", "", nil
	case isTable:
		return key, "", fmt.Errorf("no command [%s]%s", key, Suggest(key, append(s.commands, volumesTable)))
	}
	slices.Sort(names)
	return "", key, fmt.Errorf("no flag %q%s", key, Suggest(key, names))
}

// checkTable is check of the keys in a section's table.
func (s *Schema) checkTable(section string, table map[string]any) (wrong string, err error) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		key := s.find(section, name)
		if key == nil {
			hint := s.belongs(name)
			if hint != "" {
				hint = fmt.Sprintf(" (it belongs %s)", hint)
			} else {
				hint = Suggest(name, s.names(section))
			}
			return name, fmt.Errorf("[%s] has no key %q%s", section, name, hint)
		}
		if err := assign(key.Flag.Value, table[name]); err != nil {
			return name, fmt.Errorf("[%s] %s: %w", section, name, err)
		}
	}
	return "", nil
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
