package output

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"kojisnap/kojisnap/progress"
)

// A stage of files shows files and bytes, on a terminal with rate and time left; in a
// pipe it shows nothing.
func TestProgressOfFiles(t *testing.T) {
	terminal := Console{file: os.Stdout} // what it really is, only ConsoleOf looks
	for _, c := range []struct {
		name string
		mode string
		errs Errors
		want string // regular expression
	}{
		{"a terminal", "auto", Errors{Console: terminal, Format: Text}, `copy 2/3 files +66% \|█+ *\| \(2\.0/3\.0 MiB, [0-9.]+ [KMGT]?i?B/s\) \[[0-9]+s:[0-9]+s\]`},
		{"a pipe", "auto", Errors{Format: Text}, `^$`},
		{"a quiet terminal", "auto", Errors{Console: terminal, Quiet: true, Format: Text}, `^$`},
		{"plain", "plain", Errors{}, `^kojisnap: copy 2 of 3 files, 2097152 of 3145728 bytes, [0-9.]+m?s\n$`},
	} {
		var out strings.Builder
		c.errs.Out = &out
		p := c.errs.Progress(c.mode)
		if b, ok := p.(*bars); ok {
			b.every = 0
		}
		counter := progress.BeginFiles(p, "copy", 3, 3<<20)
		counter.AddFile(1 << 20)
		counter.AddFile(1 << 20)
		counter.End()
		if !regexp.MustCompile(c.want).MatchString(out.String()) {
			t.Errorf("%s: %q does not match %s", c.name, out.String(), c.want)
		}
	}
}
