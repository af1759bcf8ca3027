package pyregexp_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/pyregexp"
	"kojisnap/kojisnap/seedtest"
)

func compile(t *testing.T, pattern string) *pyregexp.Regexp {
	t.Helper()
	re, err := pyregexp.Compile(pattern)
	if err != nil {
		t.Fatalf("%q: %v", pattern, err)
	}
	return re
}

// TestErrors: why a pattern is refused, in Python's words where they are Python's reasons.
func TestErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		`*a`:            "nothing to repeat at position 0",
		"a\n*b\n(c":     "missing ), unterminated subpattern at position 5 (line 3, column 1)",
		`é(?P<x>a`:      "missing ), unterminated subpattern at position 1",
		`(?<=a+)b`:      "look-behind requires fixed-width pattern",
		`a\p{L}`:        `bad escape \p at position 1`,
		`a(?i)b*+`:      "global flags not at the start of the expression at position 1",
		"\xff":          "it is not UTF-8",
		`\N{DIGIT ONE}`: `\N{DIGIT ONE}: names of characters are not known here`,
		`(?t)a`:         "flag t: only Python before 3.13 knows it",
		`(?:(a)|b)*?\1`: "reference to group 1, which is in a lazy loop: Python before 3.11 has bugs there",
	} {
		re, err := pyregexp.Compile(pattern)
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, %v; want %s", pattern, re, err, want)
		}
	}
}

// processTime is the CPU time of this process.
func processTime(t *testing.T) time.Duration {
	t.Helper()
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &at); err != nil {
		t.Fatal(err)
	}
	return time.Duration(at.Nano())
}

// TestLimits: a match that explodes ends, and so does a run of many such.
func TestLimits(t *testing.T) {
	defer regexp2.StopTimeoutClock()
	began := processTime(t)
	re := compile(t, `(a+)+$`)
	name := strings.Repeat("a", 60) + "!"
	var undecided *pyregexp.UndecidedError
	reason := func() string {
		t.Helper()
		if matches, err := re.MatchStart(name); matches || !errors.As(err, &undecided) || undecided.Name != name {
			t.Fatalf("%v, %v", matches, err)
		}
		return undecided.Reason
	}
	first := reason()
	if first != "the match took longer than 1s" {
		t.Errorf("the first: %s", first)
	}
	if matches, err := re.MatchStart("aaaa"); !matches || err != nil {
		t.Errorf("another name: %v, %v", matches, err)
	}
	counts := map[string]int{first: 1}
	wait := func(d time.Duration) { // in the short form matches spend only the rest
		if !seedtest.Long() {
			re.Spend(d)
		}
	}
	wait(1980 * time.Millisecond)
	for !strings.Contains(undecided.Reason, "not tried") {
		got := reason()
		if counts[got]++; got == "the match took longer than 50ms" && counts[got] == 1 {
			// Not by the number of matches: a second of a busy machine has less CPU time.
			if spent := processTime(t) - began; spent > 5*time.Second {
				t.Errorf("matches became short after %v", spent)
			}
			wait(2980 * time.Millisecond)
		}
	}
	if long, short := counts["the match took longer than 1s"], counts["the match took longer than 50ms"]; long == 0 || short == 0 || len(counts) != 3 {
		t.Errorf("reasons: %v", counts)
	}
	for range 10000 { // or the test times out
		if got := reason(); !strings.Contains(got, "not tried") {
			t.Fatalf("after all: %s", got)
		}
	}

	re = compile(t, strings.Repeat("(?!b)", 40000))
	if _, err := re.MatchStart("a"); !errors.As(err, &undecided) || !strings.Contains(err.Error(), "memory") {
		t.Errorf("much memory: %v", err)
	}
}

// TestBig: long patterns and deep ones are compiled in a moment, or refused.
func TestBig(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("package%d-x", i))
	}
	re := compile(t, "^(?:"+strings.Join(names, "|")+")$")
	for name, want := range map[string]bool{"package4999-x": true, "package5000-x": false, "package1": false} {
		if got, err := re.MatchStart(name); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	compile(t, strings.Repeat("(", 140)+"a"+strings.Repeat(")*", 140))
	for _, deep := range []string{"(", "(?:", "(?=", "(?i:", "(?(1)", "(?>", "(?P<x>"} {
		var unsupported *pyregexp.UnsupportedError
		if _, err := pyregexp.Compile("()" + strings.Repeat(deep, 100000)); !errors.As(err, &unsupported) && deep != "(?P<x>" {
			t.Errorf("100,000 times %s: %v", deep, err)
		}
	}
}

func TestConcurrent(t *testing.T) {
	re := compile(t, `(?i)(?!kernel)[\w.+-]+-(x)\1`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				for name, want := range map[string]bool{"Kernel-xx": false, "lib-XX": true, "lib-x": false} {
					if got, err := re.MatchStart(name); got != want || err != nil {
						t.Errorf("%s: %v, %v", name, got, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if _, err := re.MatchStart("é-xx"); !errors.As(err, new(*pyregexp.UndecidedError)) {
		t.Errorf("a reference that ignores case, beyond ASCII: %v", err)
	}
}
