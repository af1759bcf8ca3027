package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
)

// Where the configuration is without -c.
const (
	configFile = "/etc/kojisnap/kojisnap.toml"
	configDir  = "/etc/kojisnap/conf.d"
)

// config is the configuration: keys are the names of flags, at the top level for every command
// that has the flag, in a command's table for that command alone. The table volumes maps
// production's volumes to staging's names of them.
type config struct {
	values map[string]any
	from   map[string]string // the file that set a key or table.key
}

// readConfig reads one file, or without one the files of /etc/kojisnap, later ones overriding.
func readConfig(file string) (*config, error) {
	c := &config{values: map[string]any{}, from: map[string]string{}}
	if file != "" {
		return c, c.read(file)
	}
	err := c.read(configFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	more, _ := filepath.Glob(filepath.Join(configDir, "*.toml"))
	slices.Sort(more)
	for _, name := range more {
		if err := c.read(name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *config) read(file string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return usagef("configuration: %w", err)
	}
	values := map[string]any{}
	if _, err := toml.Decode(string(body), &values); err != nil {
		return usagef("configuration %s: %w", file, err)
	}
	for _, key := range sortedKeys(values) {
		table, isTable := values[key].(map[string]any)
		if err := known(key, table, isTable); err != nil {
			return usagef("configuration %s: %w", file, err)
		}
		if !isTable {
			c.values[key], c.from[key] = values[key], file
			continue
		}
		have, _ := c.values[key].(map[string]any)
		merged := maps.Clone(have)
		if merged == nil {
			merged = map[string]any{}
		}
		for k, v := range table {
			merged[k], c.from[key+"."+k] = v, file
		}
		c.values[key] = merged
	}
	return nil
}

// known refuses keys that set nothing: a misspelt one must not pass in silence.
func known(key string, table map[string]any, isTable bool) error {
	if key == "volumes" && isTable {
		return nil
	}
	topLevel := false
	var keys []string
	for _, cmd := range commands() {
		f := newFlags(cmd.name)
		new(app).addFlags(f)
		cmd.setup(f)
		for section, part := range f.parts {
			topLevel = topLevel || !isTable && part.Lookup(key) != nil
			keys = append(keys, flagNames("", part)...)
			if section != key || !isTable {
				continue
			}
			for _, k := range sortedKeys(table) {
				if part.Lookup(k) == nil {
					hint := suggest(k, flagNames("", part))
					if others := sectionsWith(k); others != "" {
						hint = fmt.Sprintf(" (it belongs %s)", others)
					}
					return fmt.Errorf("[%s] has no key %q%s", key, k, hint)
				}
			}
			return nil
		}
	}
	switch {
	case isTable:
		return fmt.Errorf("no command [%s]%s", key, suggest(key, append(commandNames(), "volumes")))
	case !topLevel:
		slices.Sort(keys)
		return fmt.Errorf("no flag %q%s", key, suggest(key, keys))
	}
	return nil
}

func (c *config) lookup(section, key string) (v any, where string, ok bool) {
	if table, isTable := c.values[section].(map[string]any); isTable {
		if v, ok := table[key]; ok {
			return v, c.from[section+"."+key] + " [" + section + "]", true
		}
	}
	v, ok = c.values[key]
	if _, isTable := v.(map[string]any); isTable {
		return nil, "", false
	}
	return v, c.from[key], ok
}

// volumes is the table of names for production's volumes.
func (c *config) volumes() (map[string]string, error) {
	table, _ := c.values["volumes"].(map[string]any)
	rules := map[string]string{}
	for k, v := range table {
		name, ok := v.(string)
		if !ok {
			return nil, usagef("%s: [volumes] %s: want the name of a volume", c.from["volumes."+k], k)
		}
		rules[k] = name
	}
	return rules, nil
}
