package main

import (
	"cmp"
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
	"github.com/spf13/pflag"
)

// Where the configuration is without -c: this file, and those of the directory conf.d beside it.
const (
	configDir  = "/etc/kojisnap"
	configName = "kojisnap.toml"
)

// config is the configuration: keys are the names of flags, at the top level for every command
// that has the flag, in a command's table for that command alone. The table volumes maps
// production's volumes to staging's names of them.
type config struct {
	values map[string]any
	from   map[string]string // the file and line that set a key or table.key
	files  []string          // that were read
	dir    string            // where files are looked for, if none was named
	unread []string          // files of conf.d that may be meant for it, and have another ending
}

// readConfig reads one file, or without one those of a directory, later ones overriding.
func readConfig(file, dir string) (*config, error) {
	c := &config{values: map[string]any{}, from: map[string]string{}}
	if file != "" {
		return c, c.read(file)
	}
	c.dir = dir
	err := c.read(filepath.Join(dir, configName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	more := filepath.Join(dir, "conf.d")
	entries, err := os.ReadDir(more) // by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("configuration: %w", err)
	}
	for _, e := range entries {
		name := filepath.Join(more, e.Name())
		switch ending := filepath.Ext(name); {
		case ending == ".toml":
			if err := c.read(name); err != nil {
				return nil, err
			}
		case slices.Contains([]string{".toml", ".conf", ".cfg", ".ini", ".yaml", ".yml", ".json"}, strings.ToLower(ending)):
			c.unread = append(c.unread, name)
		}
	}
	return c, nil
}

// sources says which files were read, or that there are none, for who misses a key.
func (c *config) sources() string {
	switch {
	case len(c.files) > 0:
		return "not in the configuration that was read, " + strings.Join(c.files, ", ")
	case c.dir != "":
		return "there is no configuration in " + c.dir + ", and -c names none"
	}
	return "no configuration was read"
}

func (c *config) read(file string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return usagef("configuration: %w", err)
	}
	c.files = append(c.files, file)
	values := map[string]any{}
	if _, err := toml.Decode(string(body), &values); err != nil {
		return usagef("configuration %s: %w", file, err)
	}
	at := func(table, key string) string {
		if n := lineOfKey(string(body), table, key); n > 0 {
			return fmt.Sprintf("%s:%d", file, n)
		}
		return file
	}
	for _, key := range sortedKeys(values) {
		table, isTable := values[key].(map[string]any)
		if in, wrong, err := known(key, values[key]); err != nil {
			return usagef("configuration %s: %w", at(in, wrong), err)
		}
		if !isTable {
			c.values[key], c.from[key] = values[key], at("", key)
			continue
		}
		have, _ := c.values[key].(map[string]any)
		merged := maps.Clone(have)
		if merged == nil {
			merged = map[string]any{}
		}
		for k, v := range table {
			merged[k], c.from[key+"."+k] = v, at(key, k)
		}
		c.values[key] = merged
	}
	return nil
}

// known refuses keys that set nothing, as a misspelt one must not pass in silence, and values that are not
// of their flag's type, of whatever command it is. It says in which table which key is wrong.
func known(key string, value any) (table, wrong string, err error) {
	inside, isTable := value.(map[string]any)
	if key == "volumes" && isTable {
		return "", "", nil
	}
	found := false
	var bad error // a table may be meant for a command that has the name of a flag, such as verify
	var keys []string
	for _, cmd := range commands() {
		f := newFlags(cmd.name)
		new(app).addFlags(f)
		cmd.setup(f)
		for section, part := range f.parts {
			if section == key && isTable {
				wrong, err := knownIn(section, part, inside)
				return section, wrong, err
			}
			keys = append(keys, flagNames("", part)...)
			if flag := part.Lookup(key); flag != nil {
				found = true
				bad = cmp.Or(bad, assign(flag.Value, value))
			}
		}
	}
	switch {
	case bad != nil:
		return "", key, fmt.Errorf("%s: %w", key, bad)
	case found:
		return "", "", nil
	case isTable:
		return key, "", fmt.Errorf("no command [%s]%s", key, suggest(key, append(commandNames(), "volumes")))
	}
	slices.Sort(keys)
	return "", key, fmt.Errorf("no flag %q%s", key, suggest(key, keys))
}

// knownIn is known of the keys of a command's table.
func knownIn(section string, part *pflag.FlagSet, table map[string]any) (wrong string, err error) {
	for _, k := range sortedKeys(table) {
		flag := part.Lookup(k)
		if flag == nil {
			hint := suggest(k, flagNames("", part))
			if others := sectionsWith(k); others != "" {
				hint = fmt.Sprintf(" (it belongs %s)", others)
			}
			return k, fmt.Errorf("[%s] has no key %q%s", section, k, hint)
		}
		if err := assign(flag.Value, table[k]); err != nil {
			return k, fmt.Errorf("[%s] %s: %w", section, k, err)
		}
	}
	return "", nil
}

var (
	tableLine = regexp.MustCompile(`^\s*\[\s*["']?([^]"']*?)["']?\s*\]`)
	keyLine   = regexp.MustCompile(`^\s*["']?([A-Za-z0-9_-]+)["']?\s*[=.]`)
)

// lineOfKey is the line of a file that has a key of a table, or the table's own for no key; 0 where it is not
// in a form that people write.
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
