// Package config reads kojisnap's configuration, and gives the flags of commands their values from it.
//
// A key of the configuration has the name, the type and the default of a flag. At the top level it is for every
// command that has the flag; in the table of a command it is for that command alone, and goes before the top
// level. What the command line says goes before both. The table volumes is no command's: it maps production's
// volumes to staging's names of them. All errors of this package say what is wrong with a command line or with a
// configuration.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Where the configuration is unless the command line names a file: the file Name in Dir, and those of the
// directory conf.d beside it.
const (
	Dir  = "/etc/kojisnap"
	Name = "kojisnap.toml"
)

// Config is what the files of a configuration say.
type Config struct {
	// Unread are files of conf.d that may be meant for kojisnap but do not end in .toml.
	Unread []string

	values map[string]any
	origin map[string]string // the file and line that set a key or table.key
	files  []string          // that were read
	dir    string            // where files are looked for, if none was named
}

// Read reads one file, or if that is empty those of a directory, later ones overriding earlier ones. Without any
// file the configuration is empty. A key that the schema does not have, or a value of another type, is an
// error with file and line.
func Read(file, dir string, schema *Schema) (*Config, error) {
	c := &Config{values: map[string]any{}, origin: map[string]string{}}
	if file != "" {
		return c, c.read(file, schema)
	}
	c.dir = dir
	err := c.read(filepath.Join(dir, Name), schema)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	more := filepath.Join(dir, "conf.d")
	entries, err := os.ReadDir(more) // by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	for _, e := range entries {
		name := filepath.Join(more, e.Name())
		switch ending := filepath.Ext(name); {
		case ending == ".toml":
			if err := c.read(name, schema); err != nil {
				return nil, err
			}
		case slices.Contains([]string{".toml", ".conf", ".cfg", ".ini", ".yaml", ".yml", ".json"}, strings.ToLower(ending)):
			c.Unread = append(c.Unread, name)
		}
	}
	return c, nil
}

// Sources says which files were read, or that there are none, for a message about a missing key.
func (c *Config) Sources() string {
	switch {
	case len(c.files) > 0:
		return "not in the configuration that was read, " + strings.Join(c.files, ", ")
	case c.dir != "":
		return "there is no configuration in " + c.dir + ", and -c names none"
	}
	return "no configuration was read"
}

// Lookup returns the value of a key for a section, from the section's table or else from the top level, and
// its origin: file, line and table. ok is false if neither has it.
func (c *Config) Lookup(section, key string) (value any, origin string, ok bool) {
	if table, isTable := c.values[section].(map[string]any); isTable {
		if v, ok := table[key]; ok {
			return v, c.origin[section+"."+key] + " [" + section + "]", true
		}
	}
	value, ok = c.values[key]
	if _, isTable := value.(map[string]any); isTable {
		return nil, "", false
	}
	return value, c.origin[key], ok
}

// Volumes returns the table volumes: staging's names of production's volumes.
func (c *Config) Volumes() (map[string]string, error) {
	table, _ := c.values[volumesTable].(map[string]any)
	rules := map[string]string{}
	for k, v := range table {
		name, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%s: [volumes] %s: want the name of a volume", c.origin["volumes."+k], k)
		}
		rules[k] = name
	}
	return rules, nil
}

const volumesTable = "volumes"

// read adds what a file says.
func (c *Config) read(file string, schema *Schema) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	c.files = append(c.files, file)
	values := map[string]any{}
	if _, err := toml.Decode(string(body), &values); err != nil {
		return fmt.Errorf("configuration %s: %w", file, err)
	}
	at := func(table, key string) string {
		if n := lineOfKey(string(body), table, key); n > 0 {
			return fmt.Sprintf("%s:%d", file, n)
		}
		return file
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		table, isTable := values[key].(map[string]any)
		if in, wrong, err := schema.check(key, values[key]); err != nil {
			return fmt.Errorf("configuration %s: %w", at(in, wrong), err)
		}
		if !isTable {
			c.values[key], c.origin[key] = values[key], at("", key)
			continue
		}
		have, _ := c.values[key].(map[string]any)
		merged := maps.Clone(have)
		if merged == nil {
			merged = map[string]any{}
		}
		for k, v := range table {
			merged[k], c.origin[key+"."+k] = v, at(key, k)
		}
		c.values[key] = merged
	}
	return nil
}

var (
	tableLine = regexp.MustCompile(`^\s*\[\s*["']?([^]"']*?)["']?\s*\]`)
	keyLine   = regexp.MustCompile(`^\s*["']?([A-Za-z0-9_-]+)["']?\s*[=.]`)
)

// lineOfKey returns the line of a file that has a key of a table, or for key "" the table itself. It is 0 if the
// file has the key in a form that people do not write.
func lineOfKey(body, table, key string) int {
	now, n := "", 0
	for line := range strings.Lines(body) {
		n++
		if m := tableLine.FindStringSubmatch(line); m != nil {
			if now = m[1]; now == table && key == "" || table == "" && now == key {
				return n
			}
			continue
		}
		if m := keyLine.FindStringSubmatch(line); m != nil && now == table && m[1] == key {
			return n
		}
	}
	return 0
}
