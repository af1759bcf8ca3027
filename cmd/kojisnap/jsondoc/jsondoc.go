// Package jsondoc reads JSON.md, for tests that hold to it what kojisnap prints.
package jsondoc

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Field is a field of a document.
type Field struct {
	Name   string
	Type   string // without the unit
	Unit   string
	Always bool
}

// Doc is the fields of each command and type, by headings.
type Doc map[string][]Field

var line = regexp.MustCompile("^\\| `([^`]+)` \\| ([^|,]+)(?:, ([^|]+))? \\| ([^|]+) \\|.*\\|$")

// Read reads the file. What is in its form of a table, and not a field, is an error.
func Read(path string) (Doc, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d, section := Doc{}, ""
	for text := range strings.Lines(string(body)) {
		text = strings.TrimSpace(text)
		if title := strings.TrimLeft(text, "#"); title != text {
			section = strings.TrimSpace(title)
			if _, twice := d[section]; twice {
				return nil, fmt.Errorf("%s: %q is there twice", path, section)
			}
			d[section] = nil
			continue
		}
		if !strings.HasPrefix(text, "| `") {
			continue
		}
		m := line.FindStringSubmatch(text)
		if m == nil {
			return nil, fmt.Errorf("%s: %q is no field", path, text)
		}
		d[section] = append(d[section], Field{m[1], m[2], m[3], m[4] == "always"})
	}
	return d, nil
}

// Section is the heading of what a command line prints, or "" if that is no JSON.
func Section(args []string) string {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	switch {
	case len(args) == 0 || !slices.Contains(args, "--json") || slices.Contains(args, "--nagios"):
		return ""
	case args[0] == "diff" && slices.Contains(args, "--rows"):
		return "diff --rows"
	case args[0] == "diff" && slices.Contains(args, "staging"):
		return "diff staging"
	case args[0] == "copy" && strings.Contains(strings.Join(args, " "), "--builds all"):
		return "copy all"
	case args[0] == "status" && slices.Contains(args, "--all"):
		return "status --all"
	}
	return args[0]
}

// Check says what is wrong with a document that a process with an exit code printed.
func (d Doc) Check(section, document string, code int) error {
	dec := json.NewDecoder(strings.NewReader(document))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("no document: %w", err)
	}
	if dec.More() {
		return fmt.Errorf("more than one document")
	}
	text, failed := v["error"].(string)
	if fmt.Sprint(v["format"]) != "1" || fmt.Sprint(v["exit"]) != fmt.Sprint(code) || failed != (code != 0) || failed && text == "" {
		return fmt.Errorf("format %v, exit %v after %d, error %q", v["format"], v["exit"], code, text)
	}
	for _, name := range []string{"format", "exit", "error"} {
		delete(v, name)
	}
	if len(v) == 0 && failed {
		return nil
	}
	return d.object(section, v)
}

// object checks an object against the fields of a section.
func (d Doc) object(section string, v map[string]any) error {
	fields, ok := d[section]
	if !ok {
		return fmt.Errorf("there is no section %q", section)
	}
	for _, f := range fields {
		value, has := v[f.Name]
		delete(v, f.Name)
		if !has && !f.Always {
			continue
		}
		if !has {
			return fmt.Errorf("%s: no field %q", section, f.Name)
		}
		if err := d.value(f.Type, value); err != nil {
			return fmt.Errorf("%s: %s: %w", section, f.Name, err)
		}
	}
	for name := range v {
		return fmt.Errorf("%s: the field %q is not documented", section, name)
	}
	return nil
}

var reference = regexp.MustCompile(`^\[([^]]+)\]\(#.*\)$`)

func (d Doc) value(kind string, v any) error {
	if of, ok := strings.CutPrefix(kind, "array of "); ok && v != nil {
		list, ok := v.([]any)
		for _, e := range list {
			if err := d.value(of, e); err != nil {
				return err
			}
		}
		return is(kind, v, ok)
	}
	if of, ok := strings.CutPrefix(kind, "map of "); ok && v != nil {
		table, ok := v.(map[string]any)
		for _, e := range table {
			if e == nil && of == "string" { // NULL
				continue
			}
			if err := d.value(of, e); err != nil {
				return err
			}
		}
		return is(kind, v, ok)
	}
	text, isText := v.(string)
	number, isNumber := v.(json.Number)
	switch kind {
	case "string":
		return is(kind, v, isText)
	case "time":
		_, err := time.Parse(time.RFC3339Nano, text)
		return is(kind, v, isText && err == nil)
	case "boolean":
		_, ok := v.(bool)
		return is(kind, v, ok)
	case "number":
		return is(kind, v, isNumber)
	case "integer":
		_, err := number.Int64()
		return is(kind, v, isNumber && err == nil)
	}
	object, isObject := v.(map[string]any)
	if m := reference.FindStringSubmatch(kind); m != nil && isObject {
		return d.object(m[1], object)
	}
	return is(kind, v, isObject && kind == "object" || v == nil)
}

func is(kind string, v any, ok bool) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%v is no %s", v, kind)
}
