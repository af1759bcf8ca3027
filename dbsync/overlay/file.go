package overlay

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

// Error lists what is wrong with an overlay. Each fault begins with file and line.
type Error struct {
	Faults    []error
	Malformed bool // the file itself is wrong, independently of the database and the snapshot
}

func (e *Error) Error() string   { return errors.Join(e.Faults...).Error() }
func (e *Error) Unwrap() []error { return e.Faults }

// Place is an entry's place in its file.
type Place struct {
	file string
	line int            // of its header
	keys map[string]int // the lines of its keys
}

func (s *Place) origin() *Place { return s }

// At returns the place of one of an entry's keys, as "overlay.toml:17".
func (s Place) At(key string) string {
	if s.file == "" {
		return "the overlay of the last load"
	}
	return fmt.Sprintf("%s:%d", s.file, s.lineOf(key))
}

func (s Place) lineOf(key string) int {
	if line, ok := s.keys[key]; ok {
		return line
	}
	return s.line
}

// Read reads a file. Faults of its content are an *Error.
func Read(file string) (*Overlay, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	return Parse(file, body)
}

// Parse reads TOML. It reports all unknown keys, values of the wrong type, missing and duplicate
// entries together, in one *Error, with the file's name and their lines.
func Parse(file string, body []byte) (*Overlay, error) {
	text := strings.TrimPrefix(string(body), "\ufeff")
	if _, err := toml.Decode(text, new(map[string]any)); err != nil {
		line := 1
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			line = syntax.Position.Line
		}
		return nil, &Error{[]error{fmt.Errorf("%s:%d: %s", file, line, tomlMessage(err))}, true}
	}
	sources, faults := locate(file, text)
	if len(faults) > 0 {
		return nil, &Error{faults, true}
	}
	o := new(Overlay)
	if _, err := toml.Decode(text, o); err != nil {
		return nil, &Error{[]error{fmt.Errorf("%s: %w", file, err)}, true}
	}
	for kind, entries := range o.sources() {
		for i, s := range entries {
			*s = *sources[kind][i]
		}
	}
	o.Place = Place{file: file, line: 1, keys: sources[""][0].keys}
	if faults := o.validate(); len(faults) > 0 {
		return nil, &Error{faults, true}
	}
	return o, nil
}

// sources are the places of the entries, by their names in the file, for the kinds in the file.
func (o *Overlay) sources() map[string][]*Place {
	all := map[string][]*Place{}
	all["user"] = sourcesOf(o.Users)
	all["host"] = sourcesOf(o.Hosts)
	all["channel"] = sourcesOf(o.Channels)
	all["permission"] = sourcesOf(o.Permissions)
	all["content_generator"] = sourcesOf(o.ContentGenerators)
	all["external_repo_url"] = sourcesOf(o.ExternalRepoURL)
	all["target"] = sourcesOf(o.Targets)
	all["tag_extra"] = sourcesOf(o.TagExtras)
	if o.Everyone.Principals != nil {
		all["everyone"] = []*Place{&o.Everyone.Place}
	}
	maps.DeleteFunc(all, func(_ string, entries []*Place) bool { return len(entries) == 0 })
	return all
}

func sourcesOf[E any, P interface {
	*E
	origin() *Place
}](entries []E) (all []*Place) {
	for i := range entries {
		all = append(all, P(&entries[i]).origin())
	}
	return all
}

// locate finds the lines of entries and keys, which the TOML library does not report. It decodes
// each statement alone, below its header, and so also finds the faults of each statement.
func locate(file, text string) (sources map[string][]*Place, faults []error) {
	sources = map[string][]*Place{"": {{file: file, keys: map[string]int{}}}}
	header, known := "", true
	for _, st := range statements(text) {
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("%s:%d: %s", file, st.line, fmt.Sprintf(format, args...)))
		}
		if st.header {
			header, known = st.text, true
		} else if !known {
			continue // its header was reported
		}
		var part Overlay
		alone := st.text
		if !st.header {
			alone = header + "\n" + st.text
		}
		meta, err := toml.Decode(alone, &part)
		if err != nil {
			fault("%s", tomlMessage(err))
			known = known && !st.header
			continue
		}
		if unknown := meta.Undecoded(); len(unknown) > 0 {
			fault("unknown key %q", unknown[0].String())
			known = known && !st.header
			continue
		}
		keys := meta.Keys()
		key := keys[len(keys)-1]
		for kind, entries := range part.sources() {
			if st.header || header == "" || len(sources[kind]) == 0 {
				for range entries {
					sources[kind] = append(sources[kind], &Place{file: file, line: st.line, keys: map[string]int{}})
				}
			}
			if !st.header && header != "" && len(key) > 1 {
				sources[kind][len(sources[kind])-1].keys[key[1]] = st.line
			}
		}
		if len(key) == 1 {
			sources[""][0].keys[key[0]] = st.line
		}
	}
	return sources, faults
}

// statement is a header or a key with its value.
type statement struct {
	line   int
	text   string
	header bool
}

// statements splits well-formed TOML. A statement ends at the first line where its lines alone are
// well-formed: the beginning of a string or a list never is.
func statements(text string) (out []statement) {
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); {
		first, whole := i, lines[i]
		i++
		for i < len(lines) && !wellFormed(whole) {
			var more strings.Builder
			more.WriteString(whole)
			for ended := false; i < len(lines) && !ended; i++ {
				more.WriteString(lines[i])
				ended = strings.ContainsAny(lines[i], `]}"'`) // only these end a value of several lines
			}
			whole = more.String()
		}
		bare := strings.TrimSpace(whole)
		if bare == "" || bare[0] == '#' {
			continue
		}
		out = append(out, statement{first + 1, whole, bare[0] == '['})
	}
	return out
}

func wellFormed(text string) bool {
	_, err := toml.Decode(text, new(map[string]any))
	return err == nil
}

var tomlPlace = regexp.MustCompile(`^toml: (?:line \d+:? ?)?(?:\(last key (".*?")\): )?`)

// tomlType matches the library's message about a value of the wrong type.
var tomlType = regexp.MustCompile(`^(.*?)incompatible types: TOML value has type (\S+); destination has type (\S+)$`)

// kindOf describes a type in the library's message.
func kindOf(t string) string {
	switch t {
	case "string", "String":
		return "a text in quotes"
	case "int64", "integer", "Integer":
		return "a whole number"
	case "float64", "float", "Float":
		return "a number"
	case "bool", "Bool":
		return "true or false"
	case "slice", "[]interface", "[]interface{}", "[]any":
		return "a list"
	case "map", "map[string]interface", "map[string]interface{}", "map[string]any", "struct":
		return "a table"
	}
	return t
}

// tomlMessage is the library's message without the line, which may be that of another entry
// with the same key.
func tomlMessage(err error) string {
	text := err.Error()
	place := tomlPlace.FindStringSubmatch(text)
	if place == nil {
		return text
	}
	text = text[len(place[0]):]
	if wrong := tomlType.FindStringSubmatch(text); wrong != nil {
		text = fmt.Sprintf("%swant %s, not %s", wrong[1], kindOf(wrong[3]), kindOf(wrong[2]))
	}
	if place[1] != "" {
		text = place[1] + ": " + text
	}
	return text
}
