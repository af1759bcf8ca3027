package pyregexp_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// record is set to make testdata/recorded.jsonl anew: go test -run TestRecorded -record "$(ls …/python3)"
var record = flag.String("record", "", "the Pythons to record, oldest first")

// recording is what versions of Python say to a pattern and names, as testdata/rematch.py does.
type recording struct {
	Pattern string            `json:"pattern"`
	Names   []string          `json:"names,omitempty"` // none: odd
	Answers map[string]string `json:"answers"`         // by versions, separated by spaces
}

// unsupported are the cases that some Python may take, and that are refused all the same.
var unsupported = []string{
	`\N{LATIN SMALL LETTER A}`, `[\N{DIGIT ONE}]`, `\N{NO SUCH}`, `(?t)a`, `(?t)a*`, `a{4294967294}`, `(?-x:a b(?x))`,
	`(a)(?(+1)b)`, `(a)(?( 1 )b)`, `(a)(?(1_0)b)`, `(a(?(1)b|c))`, `(?:(a)|b)*(?(1)c|$)`, `aa(?<=(a){2})\1`, `(?!(a)b)a\1?`,
}

// TestRecorded compares with what Python 3.6 to 3.13 said when they were asked: where those that
// take a pattern agree, that is the answer, and what all refuse is refused in the newest's words.
func TestRecorded(t *testing.T) {
	if *record != "" {
		recordPythons(t, strings.Fields(*record))
	}
	data, err := os.ReadFile("testdata/recorded.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if len(lines) < len(cases)+500 {
		t.Fatalf("only %d recordings", len(lines))
	}
	for _, line := range lines {
		var r recording
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Names == nil {
			r.Names = odd
		}
		mine := ours(question{r.Pattern, r.Names})
		var takes, refuses []string
		for versions, answer := range r.Answers {
			if strings.HasPrefix(answer, "!") {
				if refuses = append(refuses, answer); strings.HasSuffix(versions, "3.13") && mine != answer && strings.HasPrefix(mine, "!") {
					t.Errorf("%q: %s, and Python 3.13 says %s", r.Pattern, mine, answer)
				}
				continue
			}
			if takes = append(takes, answer); differ(mine, answer) {
				t.Errorf("%q on %q:\n%s\n%s, say Python %s", r.Pattern, r.Names, mine, answer, versions)
			}
		}
		switch {
		case strings.HasPrefix(mine, notSupported):
			if !generated(r.Pattern) && !slices.Contains(unsupported, r.Pattern) {
				t.Errorf("%q: %s", r.Pattern, mine)
			}
		case len(takes) == 0 && !strings.HasPrefix(mine, "!"):
			t.Errorf("%q: %s, but no Python takes it: %s", r.Pattern, mine, refuses)
		case len(takes) > 0 && strings.HasPrefix(mine, "!"):
			t.Errorf("%q: %s, but some Python takes it", r.Pattern, mine)
		}
	}
}

func generated(pattern string) bool {
	return !slices.ContainsFunc(cases, func(q question) bool { return q.pattern == pattern })
}

func recordPythons(t *testing.T, programs []string) {
	g := &generator{Rand: rand.New(rand.NewPCG(1, 1))}
	questions := slices.Clone(cases)
	for range 900 {
		questions = append(questions, question{g.pattern(), g.names(6)})
	}
	for range 100 {
		questions = append(questions, question{g.loops(), g.letters(8)})
	}
	versions := make([]map[string]string, len(questions)) // by answer
	for _, program := range programs {
		version, answers := python(t, program, questions)
		for i, answer := range answers {
			if versions[i] == nil {
				versions[i] = map[string]string{}
			}
			versions[i][answer] = strings.TrimSpace(versions[i][answer] + " " + version)
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for i, q := range questions {
		r := recording{q.pattern, q.names, map[string]string{}}
		if len(q.names) > 0 && &q.names[0] == &odd[0] {
			r.Names = nil
		}
		for answer, of := range versions[i] {
			r.Answers[of] = answer
		}
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("testdata/recorded.jsonl", out.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}
