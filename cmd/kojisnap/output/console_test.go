package output

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestWrap: lines are broken at words and never within one; what is continued is indented by two columns more, and no
// word is lost.
func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"kojisnap: one two three four five six\n", 20, "kojisnap: one two\n  three four five\n  six\n"},
		{"no terminal, no break, however long the line is", 0, "no terminal, no break, however long the line is"},
		{"short", 20, "short"},
		{"  indented text that is too long", 20, "  indented text that\n    is too long"},
		{"x /a/path/that/is/longer/than/a/line y", 20, "x\n  /a/path/that/is/longer/than/a/line\n  y"},
		{"ä ö ü ä ö ü ä ö ü ä ö", 20, "ä ö ü ä ö ü ä ö ü ä\n  ö"},
		{"\x1b[33mwarn:\x1b[0m a b c d e f g h", 20, "\x1b[33mwarn:\x1b[0m a b c d e f g\n  h"},
		{"one\n\ntwo three four five six\n", 20, "one\n\ntwo three four five\n  six\n"},
		{"", 20, ""},
	} {
		got := Wrap(test.text, test.width)
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
		if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(test.text), " ") {
			t.Errorf("%q has other words than %q", got, test.text)
		}
	}
}

// TestColours: only warnings, failed checks and the verdict have colours, and only where there are some; what a text
// brings along is no colour.
func TestColours(t *testing.T) {
	for _, colour := range []bool{true, false} {
		var out bytes.Buffer
		c := Console{colour: colour}
		log := Errors{Out: &out, Console: c, Format: Text}.Log()
		log.Warn("look \x1b[31mhere", "name", "\x1b[0m")
		log.Error("broken")
		want := "kojisnap: warn: look \uFFFD[31mhere name=\uFFFD[0m\nkojisnap: error: broken\n"
		if colour {
			want = strings.Replace(want, "warn:", "\x1b[33mwarn:\x1b[0m", 1)
		}
		if out.String() != want {
			t.Errorf("colours %v: %q, want %q", colour, &out, want)
		}
		const table = "ok       files\nfailed   links\nwarning  failed\n         failed\n"
		want = table
		if colour {
			want = "ok       files\n\x1b[31mfailed\x1b[0m   links\n\x1b[33mwarning\x1b[0m  failed\n         failed\n"
		}
		if got := c.PaintStatus(table); got != want {
			t.Errorf("colours %v: %q", colour, got)
		}
	}
	// A log for programs has none.
	var out bytes.Buffer
	Errors{Out: &out, Console: Console{colour: true}, Format: JSON}.Log().LogAttrs(t.Context(), slog.LevelWarn, "look")
	if strings.Contains(out.String(), "33m") {
		t.Errorf("%s", &out)
	}
}
