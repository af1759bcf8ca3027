package config

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// joinKey returns the path of a key as keyLines has it.
func joinKey(parts ...string) string { return strings.Join(parts, "\x00") }

// keyLines returns for each key and table of a TOML file the first line that has it. The file must be one that the
// parser has taken: the parser does not say where a key is, and its scanner is not for others.
func keyLines(body string) map[string]int {
	s := lineScanner{text: strings.TrimPrefix(body, "\ufeff"), line: 1, lines: map[string]int{}}
	var table []string
	for s.blank(true); s.pos < len(s.text); s.blank(true) {
		begin := s.pos
		if s.text[s.pos] == '[' {
			for s.pos < len(s.text) && s.text[s.pos] == '[' {
				s.pos++
			}
			table = s.key(nil)
			for s.pos < len(s.text) && s.text[s.pos] == ']' {
				s.pos++
			}
		} else {
			s.pair(table)
		}
		if s.pos == begin { // not TOML
			s.next()
		}
	}
	return s.lines
}

// lineScanner knows just enough of TOML to find keys: what strings, arrays and inline tables look like.
type lineScanner struct {
	text  string
	pos   int
	line  int
	lines map[string]int
}

// next goes on by a byte.
func (s *lineScanner) next() {
	if s.text[s.pos] == '\n' {
		s.line++
	}
	s.pos++
}

// blank skips white space, and with lines also newlines, commas and comments.
func (s *lineScanner) blank(lines bool) {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == ' ' || c == '\t' || c == '\r' || lines && (c == '\n' || c == ','):
			s.next()
		case lines && c == '#':
			for s.pos < len(s.text) && s.text[s.pos] != '\n' {
				s.pos++
			}
		default:
			return
		}
	}
}

// pair reads a key and its value.
func (s *lineScanner) pair(table []string) {
	path := s.key(table)
	if s.pos < len(s.text) && s.text[s.pos] == '=' {
		s.pos++
		s.value(path)
	}
}

// key reads a key with dots, notes its line and those of the tables above it, and returns its path.
func (s *lineScanner) key(table []string) []string {
	path := append([]string(nil), table...)
	for {
		s.blank(false)
		path = append(path, s.word())
		if name := joinKey(path...); s.lines[name] == 0 {
			s.lines[name] = s.line
		}
		s.blank(false)
		if s.pos == len(s.text) || s.text[s.pos] != '.' {
			return path
		}
		s.pos++
	}
}

// word reads a part of a key.
func (s *lineScanner) word() string {
	if s.pos < len(s.text) && (s.text[s.pos] == '"' || s.text[s.pos] == '\'') {
		begin := s.pos
		s.quoted()
		return unquoteKey(s.text[begin:s.pos])
	}
	begin := s.pos
	for s.pos < len(s.text) && !strings.ContainsRune(" \t\r\n=.]#", rune(s.text[s.pos])) {
		s.pos++
	}
	return s.text[begin:s.pos]
}

// value skips a value, and notes the keys of inline tables.
func (s *lineScanner) value(path []string) {
	s.blank(false)
	if s.pos == len(s.text) {
		return
	}
	switch c := s.text[s.pos]; c {
	case '"', '\'':
		s.quoted()
	case '[', '{':
		s.pos++
		for s.blank(true); s.pos < len(s.text) && s.text[s.pos] != c+2; s.blank(true) { // ] and } in ASCII
			begin := s.pos
			if c == '{' {
				s.pair(path)
			} else {
				s.value(path)
			}
			if s.pos == begin {
				s.next()
			}
		}
		if s.pos < len(s.text) {
			s.pos++
		}
	default:
		for s.pos < len(s.text) && !strings.ContainsRune(",]}#\n", rune(s.text[s.pos])) {
			s.pos++
		}
	}
}

// quoted skips a string of any kind.
func (s *lineScanner) quoted() {
	quote := s.text[s.pos : s.pos+1]
	if long := strings.Repeat(quote, 3); strings.HasPrefix(s.text[s.pos:], long) {
		quote = long
	}
	escapes := quote[0] == '"'
	for s.pos += len(quote); s.pos < len(s.text); s.next() {
		if escapes && s.text[s.pos] == '\\' && s.pos+1 < len(s.text) {
			s.next()
			continue
		}
		if strings.HasPrefix(s.text[s.pos:], quote) {
			s.pos += len(quote)
			for len(quote) == 3 && s.pos < len(s.text) && s.text[s.pos] == quote[0] { // up to two belong to the text
				s.pos++
			}
			return
		}
	}
}

// unquoteKey returns what a quoted part of a key means.
func unquoteKey(quoted string) string {
	var v map[string]any
	if _, err := toml.Decode(quoted+" = 1", &v); err == nil {
		for key := range v {
			return key
		}
	}
	return quoted
}
