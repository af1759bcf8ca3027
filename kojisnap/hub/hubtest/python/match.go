package python

import (
	"errors"
	"os/exec"
	"sync"

	"kojisnap/kojisnap/pyregexp"
)

// MatchAll matches a name with each pattern as Python's re.match. A pattern that Python refuses is a fault of
// the call, even if no name is matched with it. So is a pattern that would keep a real hub busy for ever.
func MatchAll(patterns []any) func(string) bool {
	var all []func(string) bool
	for _, p := range patterns {
		all = append(all, matcherOf(Str(p)))
	}
	return func(s string) bool {
		for _, matches := range all {
			if !matches(s) {
				return false
			}
		}
		return true
	}
}

func matcherOf(pattern string) func(string) bool {
	re, err := pyregexp.Compile(pattern)
	var unsupported *pyregexp.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		return askPython(pattern)
	case err != nil:
		Exception("re.error", "%v", err)
	}
	return func(s string) bool {
		matches, err := re.MatchStart(s)
		if err != nil {
			Exception("TimeoutError", "%v", err)
		}
		return matches
	}
}

// asked caches answers of askPython, by pattern and name.
var asked sync.Map

// askPython lets this machine's Python match what kojisnap cannot. It starts a process for each name.
func askPython(pattern string) func(string) bool {
	const program = "import re, sys; sys.exit(0 if re.match(sys.argv[1], sys.argv[2]) else 4)"
	return func(s string) bool {
		if known, ok := asked.Load([2]string{pattern, s}); ok {
			return known.(bool)
		}
		err := exec.Command("python3", "-S", "-E", "-c", program, pattern, s).Run()
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 4) {
			Exception("re.error", "python3, asked for %q: %v", pattern, err)
		}
		asked.Store([2]string{pattern, s}, err == nil)
		return err == nil
	}
}
