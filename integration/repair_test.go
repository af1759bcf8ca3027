package integration_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// TestDamagedCopies damages copies in topdir in many ways. Each is named with its cure by verify and by
// an audit, exit code 6, or 3 where it is gone; a sync makes it again in the same run, and so does copy
// --repair. What somebody put in the place of a copy stays, and what composes have linked is not touched.
func TestDamagedCopies(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	c := w.config(t, "f42-compose")
	succeed(t, "sync", "-c", c)
	const signature = "data/signed/41526f0e/"
	content := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		must(t, err)
		return b
	}
	// The signed rpms of two builds in turn, each of which is damaged in its own way: verify names five.
	var rpms []string
	for i := range 3 {
		for _, build := range []string{"bash", "coreutils"} {
			rpms = append(rpms, glob(t, filepath.Join(w.topdir, "vol/staged/packages", build, "*/*", signature, "x86_64/*.rpm"))[i])
		}
	}
	put := func(change func(good []byte, path string) []byte, sameTime bool) func(string) {
		return func(path string) {
			info, err := os.Stat(path)
			must(t, err)
			anew(t, path, change(content(path), path))
			if sameTime {
				must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
			}
		}
	}
	flipped := func(at int) func([]byte, string) []byte { // from the end, if it is negative
		return func(good []byte, _ string) []byte {
			b := bytes.Clone(good)
			b[(at+len(b))%len(b)] ^= 0xff
			return b
		}
	}
	half := func(good []byte, _ string) []byte { return good[:len(good)/2] }
	always := func(text string) func([]byte, string) []byte {
		return func([]byte, string) []byte { return []byte(text) }
	}
	unsigned := func(_ []byte, path string) []byte {
		return content(strings.Replace(strings.Replace(path, "vol/staged/", "vol/prod/", 1), signature, "", 1))
	}
	another := func(_ []byte, path string) []byte {
		return content(onlyPath(t, filepath.Join(w.topdir, "vol/staged/packages/bash/*/*", signature, "src/bash-5*.src.rpm")))
	}
	// The damages of a group are all done at once, to one rpm each.
	type group struct {
		name    string
		damages map[string]func(path string)
		gone    bool
		unseen  bool // but by reading it
		stays   bool // somebody put it there
	}
	groups := []group{
		{name: "changed", damages: map[string]func(string){
			"truncated": put(half, false), "empty": put(always(""), false), "payload": put(flipped(-1), false),
			"text": put(always("no rpm\n"), false), "the unsigned rpm": put(unsigned, false)}},
		{name: "size and time as they were", unseen: true, damages: map[string]func(string){
			"header": put(flipped(4), true), "signature": put(flipped(400), true), "payload": put(flipped(-1), true)}},
		{name: "gone", gone: true, damages: map[string]func(string){
			"it": func(path string) { must(t, os.Remove(path)) }, "its directory": func(path string) { must(t, os.RemoveAll(filepath.Dir(filepath.Dir(path)))) }}},
		{name: "its build gone", gone: true, damages: map[string]func(string){
			"its build": func(path string) { must(t, os.RemoveAll(filepath.Join(filepath.Dir(path), "../../../.."))) }}},
		{name: "another rpm that is whole", stays: true, damages: map[string]func(string){"it": put(another, false)}},
	}
	if seedtest.Long() { // one by one, too
		for _, s := range slices.Clone(groups) {
			for what, damage := range s.damages {
				alone := s
				alone.name, alone.damages = s.name+": "+what, map[string]func(string){what: damage}
				groups = append(groups, alone)
			}
		}
	}
	for _, s := range groups {
		t.Run(s.name, func(t *testing.T) {
			want := 6
			if s.gone {
				want = 3
			}
			run := func(code int, says []string, args ...string) outcome {
				t.Helper()
				o := kojisnapRun(t, args...)
				for _, text := range says {
					if !strings.Contains(o.stdout+o.stderr, text) {
						t.Errorf("%v does not say %q: %s%s", args, text, o.stdout, o.stderr)
					}
				}
				if o.code != code {
					t.Errorf("%v: exit code %d, want %d: %s%s", args, o.code, code, o.stdout, o.stderr)
				}
				return o
			}
			// Of each damage: the copy, its content before, a compose's link to it, if it is there, and its content.
			type damaged struct {
				path, link   string
				good, linked []byte
				damage       func(string)
			}
			var all []damaged
			var names []string
			for i, what := range slices.Sorted(maps.Keys(s.damages)) {
				d := damaged{path: rpms[i], damage: s.damages[what], link: filepath.Join(t.TempDir(), "compose.rpm")}
				d.good = content(d.path)
				all, names = append(all, d), append(names, filepath.Base(d.path))
			}
			damage := func() {
				for _, d := range all {
					d.damage(d.path)
				}
			}
			same := func() {
				t.Helper()
				for _, d := range all {
					if !bytes.Equal(content(d.path), d.good) {
						t.Errorf("%s is not as it was", d.path)
					}
				}
			}
			intact := func() {
				t.Helper()
				same()
				run(0, nil, "verify", "-c", c)
			}
			damage()
			for i := range all {
				d := &all[i]
				var err error
				if d.linked, err = os.ReadFile(d.path); err == nil {
					must(t, os.Link(d.path, d.link))
				}
			}
			run(want, names, "verify", "-c", c)
			if s.stays {
				const says = "not as kojisnap left it"
				for _, args := range [][]string{{"copy", "-c", c, "--audit"}, {"copy", "-c", c, "--repair"}} {
					run(0, []string{says}, args...)
				}
				run(6, []string{says}, "sync", "-c", c)
				if !bytes.Equal(content(all[0].path), all[0].linked) {
					t.Error("it was replaced")
				}
				must(t, os.Remove(all[0].path))
				run(0, nil, "sync", "-c", c)
				intact()
				return
			}
			if !s.gone {
				audit := []string{"copy", "-c", c, "--audit"}
				if s.unseen {
					audit = append(audit, "--verify", "digest")
				}
				for _, quiet := range []string{"-v", "-q"} {
					o := run(6, []string{"kojisnap copy --repair makes it again"}, append(audit, quiet)...)
					for _, name := range names {
						if strings.Count(o.stderr, name) != 1 {
							t.Errorf("copy --audit %s names %s %d times: %s", quiet, name, strings.Count(o.stderr, name), o.stderr)
						}
					}
				}
				run(3, nil, "copy", "-c", c, "--repair", "--dry-run")
			}
			o := run(0, nil, "copy", "-c", c, "--repair")
			if !s.gone && strings.Count(o.stderr, "a copy is damaged: it is made again") != len(all) {
				t.Errorf("not told: %q", o.stderr)
			}
			intact()
			for _, d := range all {
				if d.linked != nil && !bytes.Equal(content(d.link), d.linked) {
					t.Error("what a compose had linked is another now")
				}
			}
			damage()
			run(0, nil, "sync", "-c", c) // which verifies, too
			if same(); seedtest.Long() {
				intact()
			}
		})
	}
	// A file that production has damaged, too, cannot be made again: the sync says so.
	signed := rpms[0]
	put(half, false)(signed)
	prod := strings.Replace(signed, filepath.Join(w.topdir, "vol/staged"), w.prodTree, 1)
	for _, path := range []string{prod, strings.Replace(prod, signature, "", 1)} {
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
	w := newLoadedEnv(t)
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
	before := w.database(t, "")
	refused := func(by string, args ...string) {
		t.Helper()
		o := kojisnapRun(t, args...)
		if o.code != 1 || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, by) || !strings.Contains(o.stderr, "is it mounted?") || !strings.Contains(o.stderr, "--new-topdir") {
			t.Errorf("%v: exit code %d: %q", args, o.code, o.stderr)
		}
		if now := w.database(t, ""); now != before {
			t.Errorf("%v: the database changed", args)
			before = now
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
