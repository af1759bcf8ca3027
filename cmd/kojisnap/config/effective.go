package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/kojisnap/secret"
)

// Setting is the value that a key has for a command. Passwords are masked.
type Setting struct {
	Section string   `json:"section"` // the command; Common: every command that has the key
	Key     string   `json:"key"`
	Value   string   `json:"value"`  // as TOML writes it
	Values  []string `json:"values"` // the same as texts: one, or those of a list
	Origin  string   `json:"origin"` // file, line and table; --env; or "default"
	Default bool     `json:"default"`

	path bool
}

// Path reports whether the value is the path of a file or a directory, or a list of them.
func (s Setting) Path() bool { return s.path }

// Effective returns what a configuration, as its environment sees it, says for the keys of some sections, or without
// any of all, in the order of the help. Keys that are not set have their default. Hidden keys are there only if they are set.
func Effective(c *Config, s *Schema, sections ...string) []Setting {
	settings := []Setting{}
	for _, section := range s.order() {
		if len(sections) > 0 && !slices.Contains(sections, section) {
			continue
		}
		for _, k := range s.sections[section] {
			if !k.meant() {
				continue
			}
			if v, origin, ok := c.Lookup(section, k.Flag.Name); ok {
				text, texts := valueText(k.Flag.Value, v)
				settings = append(settings, Setting{section, k.Flag.Name, text, texts, origin, false, k.isPath()})
			} else if !k.Flag.Hidden {
				text, texts := valueText(k.Flag.Value, k.defaultValue())
				settings = append(settings, Setting{section, k.Flag.Name, text, texts, "default", true, k.isPath()})
			}
		}
	}
	names := append(s.order(), volumesTable)
	if rules := c.Volumes(); len(sections) == 0 || len(rules) > 0 && slices.ContainsFunc(sections, func(n string) bool { return n != Common && slices.Contains(names, n) }) {
		for _, name := range sortedKeys(rules) {
			_, origin, _ := c.Lookup(volumesTable, name)
			settings = append(settings, Setting{volumesTable, name, Quote(rules[name]), []string{rules[name]}, origin, false, false})
		}
	}
	return settings
}

// order returns the sections in the order of the commands, the common one first.
func (s *Schema) order() []string {
	order := []string{Common}
	for _, name := range s.commands {
		if len(s.sections[name]) > 0 {
			order = append(order, name)
		}
	}
	return order
}

// meant reports whether a key belongs in a configuration: that one is read cannot be said there.
func (k Key) meant() bool {
	return k.Section != Common || k.Flag.Name != "config" && k.Flag.Name != "test"
}

// isPath reports whether a key is a path in the machine that runs a command. That of event-file is mostly one below
// topdir, and hub-topdir is one of the hub's.
func (k Key) isPath() bool {
	name, _ := pflag.UnquoteUsage(k.Flag)
	return slices.Contains([]string{"FILE", "DIR", "DIR|URL", "PATH"}, name) && k.Flag.Name != "event-file" && k.Flag.Name != "hub-topdir"
}

// defaultValue returns the default as TOML has it.
func (k Key) defaultValue() any {
	text := k.Flag.DefValue
	if _, ok := k.Flag.Value.(pflag.SliceValue); ok {
		return []any{}
	}
	switch k.Flag.Value.Type() {
	case new(Images).Type():
		return map[string]any{}
	case "bool":
		return text == "true"
	case "int", "int64":
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	case "float64":
		n, _ := strconv.ParseFloat(text, 64)
		return n
	case new(Duration).Type():
		return shortDuration(text)
	}
	return text
}

// shortDuration leaves out the zeroes at the end of a duration: 15m for 15m0s.
func shortDuration(text string) string {
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return cmp.Or(text, "0s")
}

// valueText returns a value as TOML writes it, and as texts. Passwords are masked.
func valueText(flag pflag.Value, v any) (text string, texts []string) {
	if table, ok := v.(map[string]any); ok {
		return tableText(table)
	}
	list, isList := v.([]any)
	if _, wantsList := flag.(pflag.SliceValue); wantsList && !isList {
		list, isList = []any{v}, true
	}
	if !isList {
		text, plain := scalarText(v)
		return text, []string{plain}
	}
	parts := []string{}
	texts = []string{}
	for _, e := range list {
		text, plain := scalarText(e)
		parts, texts = append(parts, text), append(texts, plain)
	}
	return "[" + strings.Join(parts, ", ") + "]", texts
}

func scalarText(v any) (text, plain string) {
	switch v := v.(type) {
	case string:
		plain = secret.HideText(v)
		return Quote(plain), plain
	case time.Time:
		plain = fmt.Sprint(new(Moment).ofTOML(v))
		return Quote(plain), plain
	}
	plain = fmt.Sprint(v)
	return plain, plain
}

// Quote returns a text as a string of TOML, in one line and without control characters.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString("\\" + string(r))
		case r == '\n':
			b.WriteString("\\n")
		case r == '\t':
			b.WriteString("\\t")
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Exposed returns, in words, the keys whose values hold a password in a file for which open says that others can read
// it.
func (c *Config) Exposed(open func(file string) bool) []string {
	var found []string
	for p, s := range c.values {
		texts := []any{s.value}
		if list, ok := s.value.([]any); ok {
			texts = list
		}
		for _, v := range texts {
			if text, ok := v.(string); ok && secret.HideText(text) != text && open(s.file) {
				found = append(found, fmt.Sprintf("configuration %s: %s has a password, and everybody can read the file: chmod o-r %s", s.at(), c.name(p), s.file))
				break
			}
		}
	}
	slices.Sort(found)
	return found
}
