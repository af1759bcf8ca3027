package hardlink_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

const (
	glibcDir = "packages/glibc/2.41/5.fc42" // on production's DEFAULT, not copied
	glibc    = "glibc-2.41-5.fc42"
	oldBash  = "packages/bash/5.2.37/1.fc42" // on production's archive01, not copied
)

// mounted is onlyBash, with production's tree mounted read-only.
func mounted(t testing.TB) (s *site, ro func(*hardlink.Options)) {
	t.Helper()
	s = onlyBash(t)
	at := filepath.Join(t.TempDir(), "prod")
	bindReadOnly(t, s.prod, at)
	return s, func(o *hardlink.Options) { o.ReadOnly, o.WritableSource = at, false }
}

// rowsOf is a database that has builds on the volumes of the plan, except some on others.
func (s *site) rowsOf(t testing.TB, differ map[string]string) func(*hardlink.Options) {
	rows := map[string]string{}
	for _, b := range s.plan(t).Linked {
		rows[b.NVR()] = b.Volume
	}
	for nvr, volume := range differ {
		if rows[nvr] = volume; volume == "no row" {
			delete(rows, nvr)
		}
	}
	return func(o *hardlink.Options) {
		o.Rows = func(_ context.Context, builds []volumes.Build) (map[string]string, error) {
			asked := map[string]string{}
			for _, b := range builds {
				if v, ok := rows[b.NVR()]; ok {
					asked[b.NVR()] = v
				}
			}
			return asked, nil
		}
	}
}

// copyTree does what shutil.copytree with symlinks does, as changeBuildVolume calls it.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		must(t, err)
		dst := to + strings.TrimPrefix(p, from)
		switch {
		case d.IsDir():
			return os.MkdirAll(dst, 0o755)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			must(t, err)
			return os.Symlink(target, dst)
		}
		info, err := d.Info()
		must(t, err)
		must(t, os.WriteFile(dst, mustRead(t, p), 0o644))
		return os.Chtimes(dst, info.ModTime(), info.ModTime())
	})
	must(t, err)
}

// failedMove does with a build of production's what changeBuildVolume does before it fails.
func (s *site) failedMove(t testing.TB, dir, volume string) string {
	t.Helper()
	to := filepath.Join(s.top, dir)
	if volume != "" {
		to = filepath.Join(s.top, "vol", volume, dir)
	} else {
		must(t, os.Remove(to))
	}
	must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	from, err := filepath.EvalSymlinks(filepath.Join(s.prod, dir))
	must(t, err)
	copyTree(t, from, to)
	return to
}

// A delete or a reset in Koji that fails on the read-only volume has removed the symlink on DEFAULT. The next
// plain copy makes it again and reports it, unless the database speaks against it.
func TestFailedDelete(t *testing.T) {
	for name, c := range map[string]struct {
		dir, volume string // volume: the one in the database; "-": the build is not there
		again       bool
	}{
		"on the read-only volume":        {glibcDir, "prod", true},
		"on another of production's":     {oldBash, "prod_archive01", true},
		"copied":                         {bashDir, "staged", true},
		"copied, and led back":           {bashDir, "prod", true},
		"no database":                    {glibcDir, "-", true},
		"not in the database yet":        {glibcDir, "no row", true},
		"deleted indeed":                 {glibcDir, "", false},
		"moved to a volume of staging's": {glibcDir, "fast", false},
		"moved to DEFAULT":               {glibcDir, "DEFAULT", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			s.mustCopy(t)
			part := strings.Split(c.dir, "/")
			options := s.rowsOf(t, map[string]string{strings.Join(part[1:], "-"): c.volume})
			if c.volume == "-" {
				options = func(*hardlink.Options) {}
			}
			link := filepath.Join(s.top, c.dir)
			was, err := os.Readlink(link)
			must(t, err)
			must(t, os.Remove(link))
			a := s.diff(t, options)
			mends := slices.ContainsFunc(a.Links, func(l hardlink.LinkAction) bool { return l.Path == c.dir && l.Mend })
			if mends != c.again || len(a.Links) > 1 || a.Pending() != c.again {
				t.Errorf("links %+v", a.Links)
			}
			for range 2 { // a plain run, and an audit
				s.mustCopy(t, options)
				if is, _ := os.Readlink(link); (is == was) != c.again || !c.again && is != "" {
					t.Errorf("DEFAULT says %q, before it was %q", is, was)
				}
				options = both(options, audit)
			}
			if a := s.diff(t, options); a.Pending() {
				t.Errorf("left to do: %+v", a)
			}
		})
	}
}

func both(f, g func(*hardlink.Options)) func(*hardlink.Options) {
	return func(o *hardlink.Options) { f(o); g(o) }
}

// A build that left the snapshot's scope is still in the database, and has its symlink.
func TestFailedDeleteOutOfScope(t *testing.T) {
	s := onlyBash(t)
	s.mustCopy(t)
	options := s.rowsOf(t, nil)
	s.input.Others = slices.DeleteFunc(s.input.Others, func(b volumes.Other) bool { return b.NVR() == glibc })
	must(t, os.Remove(filepath.Join(s.top, glibcDir)))
	s.mustCopy(t, options)
	if _, err := os.Stat(filepath.Join(s.top, glibcDir)); err != nil {
		t.Error(err)
	}
}

// A move to DEFAULT that failed has left a copy in the symlink's place. The symlink replaces it; the build is
// visible at each moment.
func TestFailedMove(t *testing.T) {
	for name, dir := range map[string]string{"from the read-only volume": glibcDir, "from another of production's": oldBash} {
		t.Run(name, func(t *testing.T) {
			s, ro := mounted(t)
			s.mustCopy(t, ro)
			options := both(ro, s.rowsOf(t, nil))
			s.failedMove(t, dir, "")
			e := s.engine(t, options)
			a, err := e.Diff(t.Context(), s.plan(t))
			must(t, err)
			if len(a.Strays) != 1 || a.Strays[0].Path != dir || a.Strays[0].Keep != "" || a.Strays[0].Files == 0 {
				t.Fatalf("strays %+v", a.Strays)
			}
			e.Watch(func() {
				if _, err := os.Stat(filepath.Join(s.top, dir)); err != nil {
					t.Errorf("meanwhile: %v", err)
				}
			})
			r, err := e.Apply(t.Context(), a)
			must(t, err)
			if r.Strays != 1 || r.Links != 1 {
				t.Errorf("report %+v", r)
			}
			s.check(t)
			if a := s.diff(t, options); a.Pending() || len(a.Strays) > 0 {
				t.Errorf("left to do: %+v", a)
			}
			if left := files(t, filepath.Join(s.top, "vol/staged/.kojisnap-tmp")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// A failed move to the copy volume or to one of staging's own leaves a stray there, which blocks each later
// move: it is removed. If a compose wants the build, its files are copied then.
func TestFailedMoveToVolume(t *testing.T) {
	for _, volume := range []string{"staged", "fast"} {
		s, ro := mounted(t)
		s.mustCopy(t, ro)
		stray := s.failedMove(t, glibcDir, volume)
		own := filepath.Join(s.top, "vol", volume, "packages/glibc/2.41/9.own")
		must(t, os.MkdirAll(own, 0o755))
		options := both(ro, s.rowsOf(t, nil))
		if a := s.diff(t, options, s.rowsOf(t, map[string]string{glibc: volume})); len(a.Strays) > 0 {
			t.Errorf("%s: where the database has it: %+v", volume, a.Strays)
		}
		if volume == "staged" {
			s.input = volumestest.Split(s.input, func(b volumes.BuildFiles) bool {
				return b.NVR() == "bash-5.3.0-2.fc42"
			})
		}
		r := s.mustCopy(t, options)
		if r.Strays != 1 {
			t.Errorf("%s: report %+v", volume, r)
		}
		if _, err := os.Lstat(stray); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", volume, err)
		}
		if _, err := os.Lstat(own); err != nil {
			t.Error(err)
		}
		s.check(t)
	}
	// A plan wants it in the meantime.
	s, ro := mounted(t)
	s.mustCopy(t, ro)
	s.failedMove(t, glibcDir, "staged")
	all := newSite(t, "bash", "glibc")
	s.input = volumestest.Split(all.input, func(b volumes.BuildFiles) bool {
		return b.NVR() == glibc || b.NVR() == "bash-5.3.0-2.fc42"
	})
	r := s.mustCopy(t, ro, s.rowsOf(t, map[string]string{glibc: "prod"}))
	if r.Strays != 1 || r.Builds != 1 {
		t.Errorf("report %+v", r)
	}
	s.check(t)
	if a := s.diff(t, ro, audit); a.Pending() || len(a.Kept) > 0 {
		t.Errorf("an audit: %+v", a)
	}
}

// After a kill at any moment, the next run repairs it.
func TestKilledWhileMending(t *testing.T) {
	for _, exchange := range []bool{true, false} {
		first := 0
		if exchange {
			first = 1 % every()
		}
		for n := first; ; n += every() {
			s, ro := mounted(t)
			s.mustCopy(t, ro)
			options := both(ro, s.rowsOf(t, nil))
			s.failedMove(t, glibcDir, "")
			s.failedMove(t, oldBash, "fast")
			must(t, os.Remove(filepath.Join(s.top, bashDir)))
			e := s.engine(t, options)
			a, err := e.Diff(t.Context(), s.plan(t))
			must(t, err)
			e.CrashAfterUnless(int64(n), exchange)
			_, err = e.Apply(t.Context(), a)
			s.mustCopy(t, options)
			s.check(t)
			if a := s.diff(t, options); a.Pending() || len(a.Strays) > 0 {
				t.Errorf("after %d operations: %+v", n, a)
			}
			if err == nil {
				if n < 8 {
					t.Errorf("only %d operations", n)
				}
				break
			}
		}
	}
}
