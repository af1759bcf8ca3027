package python

import (
	"encoding/json"
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

// askPython lets this machine's Python match what kojisnap cannot.
func askPython(pattern string) func(string) bool {
	return func(s string) bool {
		matches, err := interpreter.matches(pattern, s)
		if err != nil {
			Exception("re.error", "python3, asked for %q: %v", pattern, err)
		}
		return matches
	}
}

// interpreter is one for all questions, as Python takes longer to start than to match.
var interpreter asking

// asking is a Python that is asked, started with the first question. It ends with this process, as its input does.
type asking struct {
	mu      sync.Mutex
	ask     *json.Encoder
	answers *json.Decoder
}

// program answers each [pattern, text] of its input with [matches, error].
const program = `
import json, re, sys
for line in sys.stdin:
    try:
        answer = [re.match(*json.loads(line)) is not None, ""]
    except Exception as e:
        answer = [False, str(e) or repr(e)]
    print(json.dumps(answer), flush=True)
`

func (a *asking) matches(pattern, text string) (matches bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ask == nil {
		cmd := exec.Command("python3", "-S", "-E", "-c", program)
		in, err := cmd.StdinPipe()
		if err != nil {
			return false, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return false, err
		}
		if err := cmd.Start(); err != nil {
			return false, err
		}
		a.ask, a.answers = json.NewEncoder(in), json.NewDecoder(out)
	}
	var said string
	if err := errors.Join(a.ask.Encode([]string{pattern, text}), a.answers.Decode(&[]any{&matches, &said})); err != nil {
		return false, err
	}
	if said != "" {
		return false, errors.New(said)
	}
	return matches, nil
}
