package pyregexp

import "fmt"

// source returns a pattern's tokens, reading one ahead, as Python's Tokenizer does: the position of
// an error depends on that.
type source struct {
	pattern string
	text    []rune
	index   int // after next
	next    token
}

// token is a character, or a backslash with the character after it.
type token struct {
	escaped bool
	char    rune // end: there is none left
}

const end rune = -1

func (t token) is(char rune) bool { return !t.escaped && t.char == char }

func (t token) isAny(chars string) bool {
	for _, c := range chars {
		if t.is(c) {
			return true
		}
	}
	return false
}

func (t token) len() int {
	switch {
	case t.char == end:
		return 0
	case t.escaped:
		return 2
	}
	return 1
}

func (t token) String() string {
	if t.escaped {
		return `\` + string(t.char)
	}
	return string(t.char)
}

func newSource(pattern string) *source {
	s := &source{pattern: pattern, text: []rune(pattern)}
	s.advance()
	return s
}

func (s *source) advance() {
	if s.index >= len(s.text) {
		s.next = token{char: end}
		return
	}
	s.next = token{char: s.text[s.index]}
	if s.next.char == '\\' {
		if s.index+1 >= len(s.text) {
			s.failAt(len(s.text)-1, "bad escape (end of pattern)")
		}
		s.index++
		s.next = token{escaped: true, char: s.text[s.index]}
	}
	s.index++
}

func (s *source) get() token {
	t := s.next
	s.advance()
	return t
}

// match takes the next token if it is a character.
func (s *source) match(char rune) bool {
	if !s.next.is(char) {
		return false
	}
	s.advance()
	return true
}

// while takes up to n characters of a set.
func (s *source) while(n int, chars string) string {
	var taken []rune
	for len(taken) < n && s.next.isAny(chars) {
		taken = append(taken, s.get().char)
	}
	return string(taken)
}

// until takes a name and its terminator.
func (s *source) until(terminator rune, what string) string {
	name := ""
	for {
		t := s.get()
		switch {
		case t.char == end && name == "":
			s.fail(0, "missing %s", what)
		case t.char == end:
			s.fail(length(name), "missing %c, unterminated name", terminator)
		case !t.is(terminator):
			name += t.String()
		case name == "":
			s.fail(1, "missing %s", what)
		default:
			return name
		}
	}
}

// tell returns the position of the next token.
func (s *source) tell() int { return s.index - s.next.len() }

func (s *source) seek(position int) {
	s.index = position
	s.advance()
}

// fail ends the parse with an error offset characters before the next token.
func (s *source) fail(offset int, format string, args ...any) {
	s.failAt(s.tell()-offset, format, args...)
}

func (s *source) failAt(position int, format string, args ...any) {
	panic(&SyntaxError{Pattern: s.pattern, Msg: fmt.Sprintf(format, args...), Pos: position})
}

func (s *source) unsupported(format string, args ...any) {
	panic(&UnsupportedError{Pattern: s.pattern, Reason: fmt.Sprintf(format, args...)})
}

func length(s string) int { return len([]rune(s)) }
