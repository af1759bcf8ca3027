// Package config reads kojisnap's configuration, and gives the flags of commands their values from it.
//
// A key of the configuration has the name, the type and the default of a flag. At the top level it is for every
// command that has the flag; in the table of a command it is for that command alone. The tables [env.NAME] and
// [env.NAME.COMMAND] are the same for one environment. A value is taken from the first of these that has it: the
// command line, [env.NAME.COMMAND], [env.NAME], [COMMAND], the top level. The table volumes is no command's: it maps
// production's volumes to staging's names of them; an environment's goes before the other one volume by volume. All
// errors of this package say what is wrong with a command line or with a configuration.
package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Where the configuration is unless the command line names a file: the file Name in Dir, and those of the
// directory conf.d beside it.
const (
	Dir  = "/etc/kojisnap"
	Name = "kojisnap.toml"
)

// Config is what the files of a configuration say, as one environment sees it, or none.
type Config struct {
	// Unread are files of conf.d that may be meant for kojisnap but do not end in .toml.
	Unread []string

	env     string // the environment that sees it; "": none
	values  map[place]setting
	defined map[string]string // environments, and the file and line where each one's first table is
	files   []string          // that were read
	dir     string            // where files are looked for, if none was named
}

// place is where a configuration has a key: in which environment ("": for all), table ("": none) and by which name.
type place struct{ env, table, key string }

// header returns the table as a file has it, empty at the top level.
func (p place) header() string {
	switch {
	case p.env != "" && p.table != "":
		return "[" + envTable + "." + p.env + "." + p.table + "]"
	case p.env != "":
		return "[" + envTable + "." + p.env + "]"
	case p.table != "":
		return "[" + p.table + "]"
	}
	return ""
}

// setting is what a file says about a key.
type setting struct {
	value any
	file  string
	line  int    // 0: unknown
	key   string // what the file calls it, if that is not the key of its place
}

// at returns file and line.
func (s setting) at() string {
	if s.line > 0 {
		return fmt.Sprintf("%s:%d", s.file, s.line)
	}
	return s.file
}

// name returns what a file calls the key of a place: "[env.stg.load] db".
func (c *Config) name(p place) string {
	if key := c.values[p].key; key != "" {
		return key
	}
	return strings.TrimSpace(p.header() + " " + p.key)
}

// Environments returns the names of the environments that have tables, in order. It is empty if the configuration is
// that of one environment.
func (c *Config) Environments() []string {
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(c.defined))))
}

// For returns the configuration as an environment sees it: its own tables go before the others. An environment
// without tables sees what is for all.
func (c *Config) For(env string) *Config {
	view := *c
	view.env = env
	return &view
}

// Require returns an error if the configuration has tables of environments, but none for this one.
func (c *Config) Require(env string) error {
	names := c.Environments()
	if len(names) == 0 || c.defined[env] != "" {
		return nil
	}
	return fmt.Errorf("the configuration has no environment %q%s: it has %s; --env NAME, or default = \"NAME\" in [env], says for which one to work (%s)",
		env, Suggest(env, names), list(names), strings.Join(c.files, ", "))
}

// list returns names for a sentence.
func list(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// Sources says which files were read, or that there are none, for a message about a missing key.
func (c *Config) Sources() string {
	switch {
	case len(c.files) > 0 && c.env == "" && len(c.defined) > 0:
		return "not for all environments in the configuration that was read, " + strings.Join(c.files, ", ") + "; --env says for which one to work: " + strings.Join(c.Environments(), ", ")
	case len(c.files) > 0:
		return "not in the configuration that was read, " + strings.Join(c.files, ", ")
	case c.dir != "":
		return "there is no configuration in " + c.dir + ", and -c names none"
	}
	return "no configuration was read"
}

// Files returns the files that were read, in this order.
func (c *Config) Files() []string { return c.files }

// Lookup returns the value of a key for a section, and its origin: file, line and table. The environment's table of
// the section goes before the environment's other keys, then comes the section's table, then the top level. ok is
// false if none of them has it.
func (c *Config) Lookup(section, key string) (value any, origin string, ok bool) {
	p, ok := c.find(section, key)
	if !ok {
		return nil, "", false
	}
	s := c.values[p]
	for _, below := range slices.Backward(c.places(section, key)) { // tables are merged
		if have, ok := c.values[below]; ok {
			value = merged(value, have.value)
		}
	}
	return value, strings.TrimSpace(s.at() + " " + cmp.Or(s.key, p.header())), true
}

// find returns the place from which a section has a key.
func (c *Config) find(section, key string) (place, bool) {
	for _, p := range c.places(section, key) {
		if _, ok := c.values[p]; ok {
			return p, true
		}
	}
	return place{}, false
}

// places returns where a key of a section may be, the first one first.
func (c *Config) places(section, key string) []place {
	return []place{{c.env, section, key}, {c.env, "", key}, {"", section, key}, {"", "", key}}
}

// Volumes returns the table volumes: staging's names of production's volumes.
func (c *Config) Volumes() map[string]string {
	rules := map[string]string{}
	for _, env := range []string{"", c.env} {
		for p, s := range c.values {
			if name, ok := s.value.(string); ok && p.table == volumesTable && p.env == env {
				rules[p.key] = name
			}
		}
	}
	return rules
}

// The tables that are no command's.
const (
	volumesTable = "volumes"
	envTable     = "env"
)
