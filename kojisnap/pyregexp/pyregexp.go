package pyregexp

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// Regexp is a compiled pattern. It may be used concurrently.
type Regexp struct {
	pattern   string
	engine    *regexp2.Regexp
	asciiOnly bool // of other texts it is not known
	stuck     atomic.Int32
}

// The engine notices that a match takes too long within about matchTimeout and a fifth of a
// second. After maxStuck such matches none is tried any more, lest a tag of many packages take
// hours.
const (
	matchTimeout = time.Second
	maxStuck     = 5
)

// Compile parses a pattern. Its error is a *SyntaxError if Python refuses the pattern, or an
// *UnsupportedError if it may not.
func Compile(pattern string) (*Regexp, error) {
	if !utf8.ValidString(pattern) {
		return nil, &UnsupportedError{pattern, "it is not UTF-8"}
	}
	t, err := parse(pattern)
	if err != nil {
		return nil, err
	}
	text, folds, err := write(t, pattern)
	if err != nil {
		return nil, err
	}
	engine, err := regexp2.Compile(text)
	if err != nil {
		return nil, &UnsupportedError{pattern, fmt.Sprintf("the engine refuses %q: %v", text, err)}
	}
	engine.MatchTimeout = matchTimeout
	return &Regexp{pattern: pattern, engine: engine, asciiOnly: folds}, nil
}

// String returns the pattern as Compile got it.
func (r *Regexp) String() string { return r.pattern }

// MatchStart reports whether the pattern matches at the start of a text, as Python's re.match
// does. It takes a second at most; its error is an *UndecidedError.
func (r *Regexp) MatchStart(text string) (bool, error) {
	if r.asciiOnly && strings.ContainsFunc(text, func(c rune) bool { return c >= utf8.RuneSelf }) {
		return false, &UndecidedError{r.pattern, text, "a reference that ignores case, and a character beyond ASCII"}
	}
	if r.stuck.Load() >= maxStuck {
		return false, &UndecidedError{r.pattern, text, fmt.Sprintf("the match was not tried, as %d others took longer than %v", maxStuck, matchTimeout)}
	}
	matches, err := r.engine.MatchString(text)
	switch {
	case err == nil:
		return matches, nil
	case errors.Is(err, regexp2.ErrBacktrackingStackLimit):
		return false, &UndecidedError{r.pattern, text, "the match takes too much memory"}
	}
	r.stuck.Add(1)
	return false, &UndecidedError{r.pattern, text, fmt.Sprintf("the match took longer than %v", matchTimeout)}
}
