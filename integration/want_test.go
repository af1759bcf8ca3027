package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// TestUnknownWant: a tag, an arch or a key that production does not know chooses nothing, so it is wrong
// usage, and those that there are are named. Nothing is done then.
func TestUnknownWant(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	w.pull(t, lastEvent, "f42-compose")
	c := w.config(t, "f42-compose")
	plain := strings.Replace(w.read(t, c), "sigkey = [\"41526f0e\", \"\"]\n", "", 2)
	config := func(tables string) string {
		path := filepath.Join(t.TempDir(), "c.toml")
		text := plain
		for table := range strings.SplitSeq(tables, ";") {
			name, keys, _ := strings.Cut(table, "]")
			text = strings.Replace(text, name+"]", name+"]\n"+keys, 1)
		}
		must(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	before := w.state(t)
	for _, test := range []struct {
		args []string
		says []string // lines
		pair bool     // another command is wrong in the same way
	}{
		{[]string{"copy", "--arch", "x86-64"}, []string{"no rpm of arch x86-64; there are aarch64 i686 x86_64"}, false},
		{[]string{"verify", "--arch", "x86-64", "--arch", "x86_64"}, []string{"no rpm of arch x86-64; there are aarch64 i686 x86_64"}, true},
		{[]string{"sync", "--arch", "X86_64"}, []string{"no rpm of arch X86_64; there are aarch64 i686 x86_64"}, true},
		{[]string{"copy", "--sigkey", "105ef944", "--sigkey", ""}, []string{"sigkey 105ef944 signs none of 266 rpms; production uses 41526f0e ba2992d4"}, true},
		{[]string{"verify", "--sigkey", "105ef944"}, []string{"sigkey 105ef944 signs none of 266 rpms; production uses 41526f0e ba2992d4"}, false},
		{[]string{"sync", "--sigkey", "105ef944"}, []string{"sigkey 105ef944 signs none of 266 rpms; production uses 41526f0e ba2992d4"}, true},
		{[]string{"copy", "--tag", "f42-composs"}, []string{"has no tag f42-composs; it has f41 f42 f42-addons f42-compose"}, true},
		{[]string{"verify", "--tag", "f42-composs", "--tag", "f42"}, []string{"has no tag f42-composs; it has f41 f42 f42-addons f42-compose"}, true},
		{[]string{"sync", "--compose-tag", "f42-composs", "--compose-tag", "f43"}, []string{"has no tag f42-composs; it has f41", "has no tag f43; it has f41"}, false},
		{[]string{"verify", "--against", w.prodURL, "--arch", "riscv64", "--sigkey", "deadbeef"}, []string{"no rpm of arch riscv64", "sigkey deadbeef signs none"}, false},
		{[]string{"copy", "--arch", "a\nb\x1b[31m"}, []string{"no rpm of arch a b\uFFFD[31m; there are"}, false},
		{[]string{"sync", "-c", config("[verify]arch = [\"x86-64\"]")}, []string{"no rpm of arch x86-64; there are aarch64 i686 x86_64"}, false},
	} {
		if test.pair && !seedtest.Long() {
			continue
		}
		args := test.args
		if test.args[len(args)-2] != "-c" {
			args = append(args, "-c", config(""))
		}
		o := kojisnapRun(t, args...)
		lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
		if o.code != 2 || o.stdout != "" || len(lines) != len(test.says) {
			t.Errorf("%q: exit code %d, %q, %q", args, o.code, o.stdout, o.stderr)
			continue
		}
		for i, says := range test.says {
			if !strings.Contains(lines[i], says) {
				t.Errorf("%q: line %q, want %q", args, lines[i], says)
			}
		}
	}
	if after := w.state(t); after != before {
		t.Errorf("something changed: %s", firstDifference(before, after))
	}
	// What is known in another way is no mistake: an arch of a tag without rpms, one whose rpms are of
	// others, a key in capitals. Verify looks for what was copied, though only [copy] says what that is.
	succeed(t, "sync", "-c", config("[copy]arch = [\"x86_64\", \"i386\", \"noarch\"]\nsigkey = [\"41526F0E\", \"\"]"))
}

func (w *env) read(t testing.TB, path string) string {
	t.Helper()
	body, err := os.ReadFile(path)
	must(t, err)
	return string(body)
}
