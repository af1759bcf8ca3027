package pyregexp_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"kojisnap/kojisnap/pyregexp"
)

// FuzzCompile: whatever the pattern, there is an answer or a clear error; the engine takes all
// that is written for it.
func FuzzCompile(f *testing.F) {
	g := &generator{Rand: rand.New(rand.NewPCG(1, 2))}
	for range 500 {
		f.Add(g.pattern(), g.names(1)[0])
	}
	f.Add(`(a+)+$`, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		re, err := pyregexp.Compile(pattern)
		var syntax *pyregexp.SyntaxError
		var unsupported *pyregexp.UnsupportedError
		switch {
		case errors.As(err, &syntax):
			if syntax.Msg == "" || syntax.Pos < -1 || syntax.Pos > len([]rune(pattern)) {
				t.Errorf("%q: %#v", pattern, syntax)
			}
		case errors.As(err, &unsupported):
			if strings.Contains(unsupported.Reason, "engine") {
				t.Errorf("%q: %v", pattern, err)
			}
		case err != nil:
			t.Errorf("%q: %v", pattern, err)
		default:
			if _, err := re.MatchStart(name); err != nil && !errors.As(err, new(*pyregexp.UndecidedError)) {
				t.Errorf("%q on %q: %v", pattern, name, err)
			}
		}
	})
}
