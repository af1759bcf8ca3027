package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Faults are what is wrong with a configuration, each with file and line, in the order of the files.
type Faults []error

func (f Faults) Error() string {
	if len(f) == 1 {
		return f[0].Error()
	}
	return fmt.Sprintf("%v (and %d more: kojisnap config check lists them)", f[0], len(f)-1)
}

func (f Faults) Unwrap() []error { return f }

// Read reads one file, or if that is empty those of a directory: Name, then those of conf.d that end in .toml, by
// name. Later files go before earlier ones key by key: a list replaces a list, a table is merged. Without any file
// the configuration is empty. A key that the schema does not have, or a value of another type, is a fault; the error
// is then Faults, and the configuration has everything else.
func Read(file, dir string, schema *Schema) (*Config, error) {
	c := &Config{values: map[place]setting{}, defined: map[string]string{}}
	names := []string{file}
	if file == "" {
		c.dir = dir
		names = nil
		if _, err := os.Stat(filepath.Join(dir, Name)); !errors.Is(err, fs.ErrNotExist) {
			names = append(names, filepath.Join(dir, Name))
		}
		more, err := c.confD(filepath.Join(dir, "conf.d"))
		if err != nil {
			return c, fmt.Errorf("configuration: %w", err)
		}
		names = append(names, more...)
	}
	var faults Faults
	for _, name := range names {
		faults = append(faults, c.read(name, schema)...)
	}
	if len(faults) > 0 {
		return c, faults
	}
	return c, nil
}

// confD returns the files of conf.d to read, by name, and notes those that are probably misnamed.
func (c *Config) confD(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir) // by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch ending := filepath.Ext(name); {
		case ending == ".toml":
			names = append(names, name)
		case slices.Contains([]string{".toml", ".conf", ".cfg", ".ini", ".yaml", ".yml", ".json"}, strings.ToLower(ending)):
			c.Unread = append(c.Unread, name)
		}
	}
	return names, nil
}

// read adds what a file says, except for what is wrong.
func (c *Config) read(file string, schema *Schema) Faults {
	body, err := os.ReadFile(file)
	if err != nil {
		return Faults{fmt.Errorf("configuration: %w", err)}
	}
	c.files = append(c.files, file)
	values := map[string]any{}
	if _, err := toml.Decode(string(body), &values); err != nil {
		return Faults{syntaxError(file, err)}
	}
	r := reader{c, schema, file, keyLines(string(body)), nil}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if table, ok := values[key].(map[string]any); ok && key == envTable {
			r.environments(table)
		} else {
			r.key(place{"", "", key}, values[key])
		}
	}
	slices.SortStableFunc(r.faults, func(a, b fault) int { return a.line - b.line })
	var faults Faults
	for _, f := range r.faults {
		faults = append(faults, fmt.Errorf("configuration %s: %w", r.at(f.line), f.err))
	}
	return faults
}

// syntaxError is an error of the TOML parser with file and line.
func syntaxError(file string, err error) error {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return fmt.Errorf("configuration %s: %w", file, err)
	}
	hint := ""
	if strings.Contains(parse.Message, "'"+envTable+"'") {
		hint = "; a file that has [env.NAME] names the environment to work for as default = \"NAME\" in [env]"
	}
	return fmt.Errorf("configuration %s:%d: %s%s", file, parse.Position.Line, parse.Message, hint)
}

// reader reads the keys of one file.
type reader struct {
	config *Config
	schema *Schema
	file   string
	lines  map[string]int // by path of the key
	faults []fault
}

type fault struct {
	line int // 0: unknown
	err  error
}

func (r *reader) at(line int) string {
	if line > 0 {
		return fmt.Sprintf("%s:%d", r.file, line)
	}
	return r.file
}

// line returns the line that has a key, or a table if the key is empty.
func (r *reader) line(p place) int {
	var path []string
	if p.env != "" {
		path = append(path, envTable, p.env)
	}
	for _, part := range []string{p.table, p.key} {
		if part != "" {
			path = append(path, part)
		}
	}
	return r.lines[joinKey(path...)]
}

func (r *reader) fault(line int, err error) { r.faults = append(r.faults, fault{line, err}) }

// environments reads the table env: the tables of environments, and which one is the default.
func (r *reader) environments(table map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		line := r.lines[joinKey(envTable, name)]
		keys, isTable := table[name].(map[string]any)
		switch {
		case isTable && !environmentName.MatchString(name):
			r.fault(line, fmt.Errorf("[env.%s]: environment %q: want lower case letters, digits, - and _", name, name))
		case isTable:
			if r.config.defined[name] == "" {
				r.config.defined[name] = r.at(line)
			}
			for _, key := range slices.Sorted(maps.Keys(keys)) {
				r.key(place{name, "", key}, keys[key])
			}
		case name == "default":
			if err := r.schema.check(place{"", "", envTable}, table[name]); err != nil {
				r.fault(line, fmt.Errorf("[env] default: %w", errors.Unwrap(err)))
				continue
			}
			r.config.values[place{"", "", envTable}] = setting{table[name], r.file, line, "[env] default"}
		default:
			r.fault(line, fmt.Errorf("[env] has no key %q: it has default, and a table for each environment, such as [env.stg]", name))
		}
	}
}

// key reads a key that is in no command's table: a value, or such a table.
func (r *reader) key(p place, value any) {
	table, isTable := value.(map[string]any)
	if isTable && (p.key == volumesTable || r.schema.sections[p.key] != nil) {
		for _, key := range slices.Sorted(maps.Keys(table)) {
			r.value(place{p.env, p.key, key}, table[key])
		}
		return
	}
	r.value(p, value)
}

// value takes the value of a key, or notes what is wrong with it.
func (r *reader) value(p place, value any) {
	if err := r.schema.check(p, value); err != nil {
		r.fault(r.line(p), err)
		return
	}
	r.config.values[p] = setting{merged(r.config.values[p].value, value), r.file, r.line(p), ""}
}
