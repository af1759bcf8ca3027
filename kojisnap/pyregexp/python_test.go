package pyregexp_test

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/pyregexp"
	"kojisnap/kojisnap/seedtest"
)

//go:embed testdata/rematch.py
var rematch string

// question is a pattern with the names that it is tried on.
type question struct {
	pattern string
	names   []string
}

func (q question) MarshalJSON() ([]byte, error) { return json.Marshal([]any{q.pattern, q.names}) }

// python asks a Python, in one process. It answers as testdata/rematch.py says.
func python(t *testing.T, program string, questions []question) (version string, answers []string) {
	t.Helper()
	in, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-c", rematch)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		answers = append(answers, lines.Text())
	}
	if len(answers) != 1+len(questions) {
		t.Fatalf("%s answered %d questions of %d", program, len(answers)-1, len(questions))
	}
	return answers[0], answers[1:]
}

const notSupported = "not supported: "

// ours answers as testdata/rematch.py does, or with notSupported and why.
func ours(q question) string {
	re, err := pyregexp.Compile(q.pattern)
	var syntax *pyregexp.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return "!" + strings.ReplaceAll(err.Error(), "\n", " ")
	case err != nil:
		return notSupported + err.Error()
	}
	var answer []byte
	for _, name := range q.names {
		matches, err := re.MatchStart(name)
		switch {
		case err != nil:
			answer = append(answer, '?')
		case matches:
			answer = append(answer, '1')
		default:
			answer = append(answer, '0')
		}
	}
	return string(answer)
}

// differ compares matches, as far as both are known.
func differ(mine, theirs string) bool {
	if strings.HasPrefix(mine, notSupported) {
		return false
	}
	for i := range min(len(mine), len(theirs)) {
		if mine[i] != theirs[i] && mine[i] != '?' && theirs[i] != '?' {
			return true
		}
	}
	return len(mine) != len(theirs)
}

// versionErrors are the reasons for which a version of Python refuses what another takes.
func versionErrors(version string) []string {
	switch version {
	case "3.6":
		return []string{"!multiple repeat", "!unknown extension ?>", "!bad escape \\N", "!invalid SRE code", "!bad inline flags: cannot turn on global flag"}
	case "3.7", "3.8":
		return []string{"!multiple repeat", "!unknown extension ?>", "!bad escape \\N", "!invalid SRE code"}
	case "3.9", "3.10":
		return []string{"!multiple repeat", "!unknown extension ?>"}
	case "3.11", "3.12", "3.13":
		return []string{"!global flags not at the start of the expression", "!bad character in group name", "!unknown flag", "!unknown extension ?t"}
	}
	return nil
}

func isVersionError(theirs, version string) bool {
	return slices.ContainsFunc(versionErrors(version), func(why string) bool { return strings.HasPrefix(theirs, why) })
}

// TestAsPython compares with this machine's Python.
func TestAsPython(t *testing.T) {
	program, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("KOJISNAP_TEST_ALL") != "" {
			t.Fatal("needs python3")
		}
		t.Skip("needs python3")
	}
	seedtest.Each(t, []uint64{1, 2}, func(t *testing.T, seed uint64) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 0))}
		var questions []question
		much := 1
		if seedtest.Long() {
			much = 4
		}
		for range 2500 * much {
			questions = append(questions, question{g.pattern(), g.names(10)})
		}
		for range 400 * much {
			questions = append(questions, question{g.loops(), g.letters(10)})
		}
		version, answers := python(t, program, questions)
		if versionErrors(version) == nil {
			t.Fatalf("how Python %s differs from those before it is not known here", version)
		}
		sameWords := !strings.HasPrefix(version, "3.10") && len(version) > len("3.9")
		var refused, matched, unsupported int
		for i, theirs := range answers {
			q := questions[i]
			mine := ours(q)
			bad := false
			switch refuses := strings.HasPrefix(theirs, "!"); {
			case strings.HasPrefix(mine, notSupported):
				unsupported++
				bad = refuses && !isVersionError(theirs, version)
			case strings.HasPrefix(mine, "!"):
				refused++
				bad = !refuses || sameWords && mine != theirs
			case refuses:
				bad = !isVersionError(theirs, version)
			default:
				if strings.Contains(theirs, "1") && strings.Contains(theirs, "0") {
					matched++
				}
				bad = differ(mine, theirs)
			}
			if bad {
				t.Errorf("%q on %q:\n%s\n%s, says Python %s", q.pattern, q.names, mine, theirs, version)
			}
		}
		t.Logf("Python %s: %d patterns refused, %d not supported, %d that match some names", version, refused, unsupported, matched)
		if refused < 400*much || matched < 250*much || unsupported > len(questions)/10 {
			t.Error("these patterns prove too little")
		}
	})
}
