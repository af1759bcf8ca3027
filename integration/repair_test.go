package integration_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// TestDamagedCopies damages copies in topdir in many ways. Each is named with its cure by verify and by
// an audit, exit code 6, or 3 where it is gone; a sync makes it again in the same run, and so does copy
// --repair. What somebody put in the place of a copy stays, and what composes have linked is not touched.
func TestDamagedCopies(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	succeed(t, "sync", "-c", c)
	signed := onlyPath(t, filepath.Join(w.topdir, "vol/staged/packages/bash/*/*/data/signed/41526f0e/x86_64/bash-5*.rpm"))
	other := onlyPath(t, filepath.Join(w.topdir, "vol/staged/packages/bash/*/*/data/signed/41526f0e/src/bash-5*.src.rpm"))
	plain := strings.Replace(strings.Replace(signed, "vol/staged/", "vol/prod/", 1), "data/signed/41526f0e/", "", 1)
	content := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		must(t, err)
		return b
	}
	good := content(signed)
	put := func(b []byte, sameTime bool) func() {
		return func() {
			info, err := os.Stat(signed)
			must(t, err)
			anew(t, signed, b)
			if sameTime {
				must(t, os.Chtimes(signed, info.ModTime(), info.ModTime()))
			}
		}
	}
	flipped := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 0xff
		return b
	}
	cases := []struct {
		name   string
		damage func()
		gone   bool
		stays  bool // somebody put it there
	}{
		{name: "truncated", damage: put(good[:len(good)/2], false)},
		{name: "empty", damage: put(nil, false)},
		{name: "header, size and time as they were", damage: put(flipped(4), true)},
		{name: "signature, size and time as they were", damage: put(flipped(400), true)},
		{name: "payload", damage: put(flipped(len(good)-1), false)},
		{name: "payload, size and time as they were", damage: put(flipped(len(good)-1), true)},
		{name: "text", damage: put([]byte("no rpm\n"), false)},
		{name: "gone", damage: func() { must(t, os.Remove(signed)) }, gone: true},
		{name: "its directory gone", damage: func() { must(t, os.RemoveAll(filepath.Dir(filepath.Dir(signed)))) }, gone: true},
		{name: "its build gone", damage: func() { must(t, os.RemoveAll(filepath.Join(filepath.Dir(signed), "../../../.."))) }, gone: true},
		{name: "another rpm that is whole", damage: put(content(other), false), stays: true},
		{name: "the unsigned rpm", damage: put(content(plain), false)},
	}
	for _, s := range seedtest.Some(cases, 7) {
		t.Run(s.name, func(t *testing.T) {
			want := 6
			if s.gone {
				want = 3
			}
			run := func(code int, says string, args ...string) outcome {
				t.Helper()
				o := kojisnapRun(t, args...)
				if o.code != code || !strings.Contains(o.stdout+o.stderr, says) {
					t.Errorf("%v: exit code %d, want %d and %q: %s%s", args, o.code, code, says, o.stdout, o.stderr)
				}
				return o
			}
			intact := func() {
				t.Helper()
				if !bytes.Equal(content(signed), good) {
					t.Error("it is not as it was")
				}
				run(0, "", "verify", "-c", c)
			}
			link := filepath.Join(t.TempDir(), "compose.rpm")
			s.damage()
			// The content of a compose's link is whatever it was.
			linked, err := os.ReadFile(signed)
			if err == nil {
				must(t, os.Link(signed, link))
			}
			run(want, filepath.Base(signed), "verify", "-c", c)
			if s.stays {
				for _, args := range [][]string{{"copy", "-c", c, "--audit"}, {"copy", "-c", c, "--repair"}} {
					run(0, "not as kojisnap left it", args...)
				}
				run(6, "not as kojisnap left it", "sync", "-c", c)
				if !bytes.Equal(content(signed), linked) {
					t.Error("it was replaced")
				}
				must(t, os.Remove(signed))
				run(0, "", "sync", "-c", c)
				intact()
				return
			}
			if !s.gone {
				audit := []string{"copy", "-c", c, "--audit"}
				if strings.Contains(s.name, "as they were") { // nothing is to be seen but by reading it
					audit = append(audit, "--verify", "digest")
				}
				for _, quiet := range []string{"-v", "-q"} {
					o := run(6, "kojisnap copy --repair makes it again", append(audit, quiet)...)
					if strings.Count(o.stderr, filepath.Base(signed)) != 1 {
						t.Errorf("copy --audit %s names it %d times: %s", quiet, strings.Count(o.stderr, filepath.Base(signed)), o.stderr)
					}
				}
				run(3, "", "copy", "-c", c, "--repair", "--dry-run")
			}
			o := run(0, "", "copy", "-c", c, "--repair")
			if !s.gone && !strings.Contains(o.stderr, "a copy is damaged: it is made again") {
				t.Errorf("not told: %q", o.stderr)
			}
			intact()
			if linked != nil && !bytes.Equal(content(link), linked) {
				t.Error("what a compose had linked is another now")
			}
			s.damage()
			run(0, "", "sync", "-c", c)
			intact()
		})
	}
	// A file that production has damaged, too, cannot be made again: the sync says so.
	put(good[:len(good)/2], false)()
	prod := strings.Replace(signed, filepath.Join(w.topdir, "vol/staged"), w.prodTree, 1)
	unsigned := strings.Replace(prod, "data/signed/41526f0e/", "", 1)
	for _, path := range []string{prod, unsigned} {
		anew(t, path, []byte("no rpm\n"))
	}
	if o := kojisnapRun(t, "sync", "-c", c); o.code != 6 || !strings.Contains(o.stderr, filepath.Base(signed)) {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
}

// anew writes a file of its own in the place of one, which may be a hard link of production's.
func anew(t *testing.T, path string, content []byte) {
	t.Helper()
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, content, 0o644))
}

// onlyPath is the only path that a pattern matches.
func onlyPath(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	must(t, err)
	if len(paths) != 1 {
		t.Fatalf("%s: %q", pattern, paths)
	}
	return paths[0]
}

// TestTopdirNotMounted: a topdir that has nothing in it, where copies were made, is refused by copy,
// load and sync, before anything is done, as long as the store or the database knows of the copies.
func TestTopdirNotMounted(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	// A topdir that is new is none of it.
	must(t, os.RemoveAll(w.topdir))
	must(t, os.Mkdir(w.topdir, 0o755))
	succeed(t, "sync", "-c", c)
	mounted := w.topdir + ".mounted"
	must(t, os.Rename(w.topdir, mounted))
	must(t, os.Mkdir(w.topdir, 0o755))
	empty := func() {
		t.Helper()
		if list, err := os.ReadDir(w.topdir); err != nil || len(list) > 0 {
			t.Errorf("topdir has %v, %v", list, err)
		}
	}
	refused := func(by string, args ...string) {
		t.Helper()
		before := w.database(t, "")
		o := kojisnapRun(t, args...)
		if o.code != 1 || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, by) || !strings.Contains(o.stderr, "is it mounted?") || !strings.Contains(o.stderr, "--new-topdir") {
			t.Errorf("%v: exit code %d: %q", args, o.code, o.stderr)
		}
		if w.database(t, "") != before {
			t.Errorf("%v: the database changed", args)
		}
		empty()
	}
	ledger := "the ledger in store"
	for _, more := range [][]string{nil, {"--audit"}, {"--dry-run"}} {
		for _, command := range []string{"copy", "load", "sync"} {
			refused(ledger, append([]string{command, "-c", c}, more...)...)
		}
	}
	saved := onlyPath(t, filepath.Join(w.store.String(), "ledgers/stg"))
	must(t, os.Rename(saved, saved+".away"))
	for _, command := range []string{"copy", "load", "sync"} {
		refused("the database", command, "-c", c)
	}
	// A store that knows, and no database.
	must(t, os.Rename(saved+".away", saved))
	refused(ledger, w.copyArgs("--env", "stg")...)
	// Mounted again, nothing happened; and a new one is filled if it is meant.
	must(t, os.Remove(w.topdir))
	must(t, os.Rename(mounted, w.topdir))
	succeed(t, "sync", "-c", c)
	must(t, os.RemoveAll(w.topdir))
	must(t, os.Mkdir(w.topdir, 0o755))
	if o := kojisnapRun(t, "sync", "-c", c, "--new-topdir", "--dry-run"); o.code != 3 {
		t.Errorf("--dry-run: exit code %d: %s", o.code, o.stderr)
	}
	succeed(t, "sync", "-c", c, "--new-topdir")
	succeed(t, "verify", "-c", c)
	succeed(t, "sync", "-c", c)
}
