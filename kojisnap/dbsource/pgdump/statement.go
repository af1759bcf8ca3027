package pgdump

import (
	"bytes"
	"strings"
)

// maxHead is how much of a statement is kept: the whole of those that matter.
const maxHead = 256 << 10

// scanner reads SQL outside COPY blocks: statement by statement, as psql tells them apart. So a line in a string, a
// comment or a function's body is never taken for a statement.
type scanner struct {
	*text
	head    []byte // of the statement
	escapes bool   // standard_conforming_strings is off: backslashes escape in any string
	parens  int
	blocks  int    // open BEGIN and CASE of a function's body in SQL
	words   []byte // the word being read
	first   []string
}

// Kinds of what scan reads.
const (
	atEnd     = iota
	statement // head has it, without its semicolon
	meta      // a command of psql: head has its line
	comment   // head has a line that is a comment
)

// scan reads the next thing of the text.
func (s *scanner) scan() (kind int) {
	s.head, s.words, s.first = s.head[:0], s.words[:0], s.first[:0]
	s.parens, s.blocks = 0, 0
	for {
		c, ok := s.next()
		if !ok {
			return atEnd
		}
		started := len(s.head) > 0
		switch {
		case !started && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
		case c == '-' && s.follows('-'):
			line, end := s.restOfLine()
			if !started {
				s.head = append(append(s.head, "--"...), line...)
				if !end {
					return atEnd
				}
				return comment
			}
			s.word(' ')
			s.keep(' ')
		case c == '/' && s.follows('*'):
			s.blockComment()
			if started {
				s.word(' ')
				s.keep(' ')
			}
		case !started && c == '\\':
			line, end := s.restOfLine()
			if !end { // a part of a command
				return atEnd
			}
			s.head = append(append(s.head, '\\'), line...)
			return meta
		case c == '\'':
			escapes := s.escapes || isEscapeString(s.words)
			s.words = s.words[:0]
			s.keep(c)
			s.quoted('\'', escapes)
		case c == '"':
			s.word(' ')
			s.keep(c)
			s.quoted('"', false)
		case c == '$' && len(s.words) == 0:
			s.keep(c)
			s.dollar()
		default:
			s.word(c)
			switch c {
			case '(':
				s.parens++
			case ')':
				s.parens--
			}
			if c == ';' && s.parens <= 0 && s.blocks == 0 {
				return statement
			}
			s.keep(c)
		}
	}
}

func (s *scanner) keep(c byte) {
	if len(s.head) < maxHead {
		s.head = append(s.head, c)
	}
}

func (s *scanner) follows(c byte) bool {
	d, ok := s.peek()
	if ok && d == c {
		s.skip(1)
		return true
	}
	return false
}

// restOfLine reads to the end of the line; of a long one it keeps the beginning.
func (s *scanner) restOfLine() (line []byte, end bool) {
	for {
		c, ok := s.next()
		if !ok || c == '\n' {
			return line, ok
		}
		if len(line) < 4096 {
			line = append(line, c)
		}
	}
}

// blockComment reads over a comment, which may have others in it.
func (s *scanner) blockComment() {
	for depth := 1; depth > 0; {
		c, ok := s.next()
		switch {
		case !ok:
			return
		case c == '*' && s.follows('/'):
			depth--
		case c == '/' && s.follows('*'):
			depth++
		}
	}
}

// quoted reads to the end of a string or a quoted name. A quote within is doubled: that reads as two strings.
func (s *scanner) quoted(quote byte, escapes bool) {
	for {
		c, ok := s.next()
		if !ok {
			return
		}
		s.keep(c)
		switch {
		case c == quote && s.follows(quote):
			s.keep(quote)
		case c == quote:
			return
		case c == '\\' && escapes:
			if c, ok := s.next(); ok {
				s.keep(c)
			}
		}
	}
}

// dollar reads a string in dollar quotes, if it is one.
func (s *scanner) dollar() {
	tag := []byte{'$'}
	for {
		c, ok := s.peek()
		if !ok || c != '$' && !isWord(c) || len(tag) > 64 {
			return // $1, say
		}
		s.skip(1)
		s.keep(c)
		if tag = append(tag, c); c == '$' {
			break
		}
	}
	var last []byte
	for {
		c, ok := s.next()
		if !ok {
			return
		}
		s.keep(c)
		if last = append(last, c); len(last) > len(tag) {
			last = last[1:]
		}
		if c == '$' && bytes.Equal(last, tag) {
			return
		}
	}
}

// word looks for the words by which a function's body in SQL (BEGIN ATOMIC … END) begins and ends.
func (s *scanner) word(c byte) {
	if isWord(c) {
		if len(s.words) < 64 {
			s.words = append(s.words, c)
		}
		return
	}
	if len(s.words) == 0 {
		return
	}
	word := strings.ToUpper(string(s.words))
	s.words = s.words[:0]
	if len(s.first) < 4 {
		s.first = append(s.first, word)
	}
	if !s.makesRoutine() || s.parens > 0 {
		return
	}
	switch word {
	case "BEGIN":
		s.blocks++
	case "CASE":
		if s.blocks > 0 {
			s.blocks++
		}
	case "END":
		if s.blocks > 0 {
			s.blocks--
		}
	}
}

func (s *scanner) makesRoutine() bool {
	f := s.first
	if len(f) == 0 || f[0] != "CREATE" {
		return false
	}
	if len(f) > 3 && f[1] == "OR" && f[2] == "REPLACE" {
		f = f[2:]
	}
	return len(f) > 1 && (f[1] == "FUNCTION" || f[1] == "PROCEDURE")
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

func isEscapeString(word []byte) bool { return len(word) == 1 && (word[0] == 'e' || word[0] == 'E') }
