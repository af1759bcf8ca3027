package hardlink_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
)

// A directory that may be somebody's stays and is reported: if it has anything that production does not have,
// if the database does not have the build on production's volume, or if a move may still be running.
func TestStrayThatStays(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		rows   map[string]string
		after  time.Duration
		why    string // "": it is not even a stray
	}{
		"a file more": {change: func(t *testing.T, dir string) {
			must(t, os.WriteFile(dir+"/notes", nil, 0o644))
		}, why: `"notes" in it is not production's`},
		"a file of another size": {change: func(t *testing.T, dir string) {
			must(t, os.WriteFile(oneOf(t, dir), []byte("x"), 0o644))
		}, why: "is not production's"},
		"a file of other content": {change: func(t *testing.T, dir string) {
			path := oneOf(t, dir)
			b := flip(-1)(mustRead(t, path))
			must(t, os.WriteFile(path, b, 0o644))
		}, why: "is not production's"},
		"a symlink in the place of a file": {change: func(t *testing.T, dir string) {
			path := oneOf(t, dir)
			must(t, errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)))
		}, why: "is not production's"},
		"a FIFO": {change: func(t *testing.T, dir string) {
			must(t, unix.Mkfifo(dir+"/fifo", 0o644))
		}, why: "is not production's"},
		"half of it": {change: func(t *testing.T, dir string) {
			must(t, os.Remove(oneOf(t, dir)))
		}, why: "a move may be under way"},
		"nothing of it, now": {change: func(t *testing.T, dir string) {
			must(t, errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)))
		}, why: "a move may be under way"},
		"copied from the copy volume":    {rows: map[string]string{glibc: "staged"}, why: "a move may be under way"},
		"staging's own build":            {rows: map[string]string{glibc: "DEFAULT"}},
		"a build that is not complete":   {rows: map[string]string{glibc: ""}},
		"on another volume of staging's": {rows: map[string]string{glibc: "fast"}},
		"not in the database":            {rows: map[string]string{glibc: "no row"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, ro := mounted(t)
			s.mustCopy(t, ro)
			options := both(ro, s.rowsOf(t, c.rows))
			dir := s.failedMove(t, glibcDir, "")
			if c.change != nil {
				c.change(t, dir)
			}
			before := looks(t, dir)
			for _, options := range []func(*hardlink.Options){options, both(options, audit)} {
				a := s.diff(t, options)
				if a.Pending() || (len(a.Strays) == 1) != (c.why != "") {
					t.Fatalf("strays %+v, links %+v", a.Strays, a.Links)
				}
				if c.why != "" && (!strings.Contains(a.Strays[0].Keep, c.why) || a.Strays[0].Path != glibcDir) {
					t.Errorf("%+v, want %q", a.Strays[0], c.why)
				}
				s.mustCopy(t, options)
				if looks(t, dir) != before {
					t.Error("it changed")
				}
			}
		})
	}
}

// looks describes a directory's content by names, sizes and times.
func looks(t testing.TB, dir string) (text string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := os.Lstat(p)
		must(t, err)
		text += fmt.Sprintln(p, info.Mode(), info.Size(), info.ModTime())
		return nil
	}))
	return text
}
func oneOf(t testing.TB, dir string) string {
	t.Helper()
	return filepath.Join(dir, files(t, dir)[0])
}

// A copy that has not changed for an hour is no running move.
func TestStrayThatLayStill(t *testing.T) {
	later := func(o *hardlink.Options) { o.Now = func() time.Time { return time.Now().Add(2 * time.Hour) } }
	for name, rows := range map[string]map[string]string{"half of it": nil, "from the copy volume": {glibc: "staged"}} {
		t.Run(name, func(t *testing.T) {
			s, ro := mounted(t)
			s.mustCopy(t, ro)
			dir := s.failedMove(t, glibcDir, "")
			if rows == nil {
				must(t, os.Remove(oneOf(t, dir)))
			}
			r := s.mustCopy(t, both(ro, s.rowsOf(t, rows)), later)
			if r.Strays != 1 {
				t.Errorf("report %+v", r)
			}
			s.check(t)
		})
	}
}

// Nothing is removed without a database, or if production's tree is writable, so that a move can succeed.
func TestStrayNotRemoved(t *testing.T) {
	s, ro := mounted(t)
	s.mustCopy(t, ro)
	dir := s.failedMove(t, glibcDir, "")
	before := snapshot(t, dir)
	if r := s.mustCopy(t, ro); r.Strays != 0 {
		t.Errorf("no database: %+v", r)
	}
	writable := func(o *hardlink.Options) { o.ReadOnly, o.WritableSource = s.prod, true }
	if a := s.diff(t, s.rowsOf(t, nil), writable); len(a.Strays) != 1 || !strings.Contains(a.Strays[0].Keep, "writable") {
		t.Errorf("a writable tree: %+v", a.Strays)
	}
	s.mustCopy(t, s.rowsOf(t, nil), writable)
	if snapshot(t, dir) != before {
		t.Error("it changed")
	}
}

// What changes between Diff and the removal stays.
func TestStrayChangedMeanwhile(t *testing.T) {
	for _, volume := range []string{"", "fast"} {
		s, ro := mounted(t)
		s.mustCopy(t, ro)
		dir := s.failedMove(t, glibcDir, volume)
		e := s.engine(t, ro, s.rowsOf(t, nil))
		a, err := e.Diff(t.Context(), s.plan(t))
		must(t, err)
		must(t, os.WriteFile(dir+"/notes", nil, 0o644))
		before := snapshot(t, dir)
		r, err := e.Apply(t.Context(), a)
		must(t, err)
		if r.Strays != 0 || snapshot(t, dir) != before {
			t.Errorf("volume %q: report %+v", volume, r)
		}
	}
}
