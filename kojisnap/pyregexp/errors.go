package pyregexp

import (
	"fmt"
	"slices"
)

// SyntaxError says why Python refuses a pattern, with the text of its re.error.
type SyntaxError struct {
	Pattern string
	Msg     string
	Pos     int // in characters; -1: none in particular
}

// Error is as Python's str(re.error).
func (e *SyntaxError) Error() string {
	if e.Pos < 0 {
		return e.Msg
	}
	text := fmt.Sprintf("%s at position %d", e.Msg, e.Pos)
	before := []rune(e.Pattern)
	if !slices.Contains(before, '\n') {
		return text
	}
	before = before[:min(e.Pos, len(before))]
	line, column := 1, e.Pos+1
	for i, r := range before {
		if r == '\n' {
			line, column = line+1, e.Pos-i
		}
	}
	return fmt.Sprintf("%s (line %d, column %d)", text, line, column)
}

// UnsupportedError is a pattern that Python may accept, but for which this package cannot be sure
// what it matches.
type UnsupportedError struct {
	Pattern string
	Reason  string
}

func (e *UnsupportedError) Error() string { return e.Reason }

// UndecidedError says that it is unknown whether a pattern matches a name.
type UndecidedError struct {
	Pattern string
	Name    string
	Reason  string
}

func (e *UndecidedError) Error() string { return fmt.Sprintf("name %q: %s", e.Name, e.Reason) }
