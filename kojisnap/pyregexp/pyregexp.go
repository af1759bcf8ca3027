package pyregexp

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/sys/unix"
)

// Regexp is a compiled pattern. It may be used concurrently.
type Regexp struct {
	pattern   string
	patient   *regexp2.Regexp
	hasty     func() *regexp2.Regexp // the same with less time
	asciiOnly bool                   // for other texts the result is unknown
	spent     atomic.Int64           // on matches that were slow, in ns of CPU time
}

// A match may take matchTimeout; the engine notices its end about a fifth of a second late. After a
// pattern has used patience in all, each further match may take hastyTimeout, which is enough for a
// pattern that does not explode. After maxSpent no match is tried. A tag may have 30,000 packages.
// The limits count CPU time, so that a pattern is not blamed for a busy machine.
const (
	matchTimeout = time.Second
	patience     = 2 * time.Second
	hastyTimeout = 50 * time.Millisecond
	maxSpent     = 5 * time.Second
)

// Compile parses a pattern. Its error is a *SyntaxError if Python refuses the pattern, or an
// *UnsupportedError if Python may accept it.
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
	patient, err := regexp2.Compile(text)
	if err != nil {
		return nil, &UnsupportedError{pattern, fmt.Sprintf("the engine refuses %q: %v", text, err)}
	}
	patient.MatchTimeout = matchTimeout
	hasty := sync.OnceValue(func() *regexp2.Regexp {
		engine := regexp2.MustCompile(text)
		engine.MatchTimeout = hastyTimeout
		return engine
	})
	return &Regexp{pattern: pattern, patient: patient, hasty: hasty, asciiOnly: folds}, nil
}

// String returns the pattern as Compile got it.
func (r *Regexp) String() string { return r.pattern }

// MatchStart reports whether the pattern matches at the start of a text, as Python's re.match
// does. It takes a second at most; its error is an *UndecidedError.
func (r *Regexp) MatchStart(text string) (bool, error) {
	if r.asciiOnly && strings.ContainsFunc(text, func(c rune) bool { return c >= utf8.RuneSelf }) {
		return false, &UndecidedError{r.pattern, text, "a reference that ignores case, and a character beyond ASCII"}
	}
	engine := r.patient
	if spent := time.Duration(r.spent.Load()); spent >= maxSpent {
		return false, &UndecidedError{r.pattern, text, fmt.Sprintf("the match was not tried, as those of other names took %v", spent.Round(time.Second))}
	} else if spent >= patience {
		engine = r.hasty()
	}
	runtime.LockOSThread()
	start := threadTime()
	matches, err := engine.MatchString(text)
	took := threadTime() - start
	runtime.UnlockOSThread()
	if took > time.Millisecond {
		r.spent.Add(int64(took))
	}
	switch {
	case err == nil:
		return matches, nil
	case errors.Is(err, regexp2.ErrBacktrackingStackLimit):
		return false, &UndecidedError{r.pattern, text, "the match takes too much memory"}
	}
	return false, &UndecidedError{r.pattern, text, fmt.Sprintf("the match took longer than %v", engine.MatchTimeout)}
}

// threadTime returns the CPU time that the calling thread has used.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(fmt.Sprintf("no clock of the thread's CPU time: %v", err)) // Linux has it since 2.6.12
	}
	return time.Duration(t.Nano())
}
