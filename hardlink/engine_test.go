package hardlink_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

// site is production's tree and an empty staging topdir.
type site struct {
	prod, top string
	input     volumes.Input
	want      volumes.Want
}

// newSite has all packages, or only some.
func newSite(t testing.TB, packages ...string) *site {
	t.Helper()
	s := &site{prod: filepath.Join(t.TempDir(), "prod"), top: filepath.Join(t.TempDir(), "koji")}
	for _, dir := range []string{s.prod, s.top} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cloneTree(t, s.prod, packages)
	s.input = volumestest.Input(t)
	if len(packages) > 0 {
		s.input.Builds = slices.DeleteFunc(s.input.Builds, func(b volumes.BuildFiles) bool { return !slices.Contains(packages, b.Name) })
	}
	s.want = volumes.Want{SigKeys: []string{"41526F0E", ""}}
	return s
}

// extracted is production's tree, extracted once for all tests.
var extracted = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kojiprod")
	if err == nil {
		err = kojiprod.ExtractTree(dir)
	}
	return dir, err
})

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	code := m.Run()
	if dir, _ := extracted(); dir != "" {
		os.RemoveAll(dir)
	}
	removeBenchSets()
	os.Exit(code)
}

// cloneTree fills dir with production's tree as hard links. A test that damages a file has to replace it.
func cloneTree(t testing.TB, dir string, packages []string) {
	t.Helper()
	from, err := extracted()
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == from {
			return err
		}
		to := filepath.Join(dir, strings.TrimPrefix(p, from))
		switch {
		case d.IsDir() && len(packages) > 0 && filepath.Base(filepath.Dir(p)) == "packages" && !slices.Contains(packages, d.Name()):
			return filepath.SkipDir
		case d.IsDir():
			return os.Mkdir(to, 0o755)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		}
		return os.Link(p, to)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) plan(t testing.TB) volumes.Plan {
	t.Helper()
	plan, err := volumes.NewPlan(s.input, s.want)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func (s *site) open(t testing.TB, change ...func(*hardlink.Options)) (*hardlink.Engine, error) {
	opts := hardlink.Options{Topdir: s.top, ReadOnly: s.prod, WritableSource: true}
	for _, c := range change {
		c(&opts)
	}
	e, err := hardlink.New(opts)
	if err == nil {
		t.Cleanup(func() { e.Close() })
	}
	return e, err
}

func (s *site) engine(t testing.TB, change ...func(*hardlink.Options)) *hardlink.Engine {
	t.Helper()
	e, err := s.open(t, change...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// copy does what the command does.
func (s *site) copy(t testing.TB, change ...func(*hardlink.Options)) (hardlink.Report, error) {
	t.Helper()
	e, err := s.open(t, change...)
	if err != nil {
		return hardlink.Report{}, err
	}
	a, err := e.Diff(t.Context(), s.plan(t))
	if err != nil {
		return hardlink.Report{}, err
	}
	return e.Apply(t.Context(), a)
}

func (s *site) mustCopy(t testing.TB, change ...func(*hardlink.Options)) hardlink.Report {
	t.Helper()
	r, err := s.copy(t, change...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// check compares topdir with the plan: each planned file is regular and equals production's, everything else
// that production has is reached through a symlink, and each symlink on DEFAULT leads to its build. It
// returns the number of planned files.
func (s *site) check(t testing.TB) (regular int) {
	t.Helper()
	plan := s.plan(t)
	for _, b := range plan.Staged {
		src := s.prodDir(t, b.Build)
		b.Build.Volume = plan.CopyVolume
		dst := filepath.Join(s.top, dir(t, b.Build))
		planned := map[string]bool{}
		for _, f := range b.Files {
			planned[f.Path] = true
			info, err := os.Lstat(filepath.Join(dst, f.Path))
			if err != nil {
				t.Error(err)
				continue
			}
			if info.Mode() != 0o644 {
				t.Errorf("%s %s: mode %v", b.Build.NVR(), f.Path, info.Mode())
			}
			if !same(t, filepath.Join(dst, f.Path), filepath.Join(src, f.Path)) {
				t.Errorf("%s %s: is not production's", b.Build.NVR(), f.Path)
			}
			if from, err := os.Stat(filepath.Join(src, f.Path)); err != nil || !from.ModTime().Equal(info.ModTime()) {
				t.Errorf("%s %s: time %v, %v", b.Build.NVR(), f.Path, info.ModTime(), err)
			}
			regular++
		}
		for _, p := range files(t, src) {
			if planned[p] {
				continue
			}
			link := p
			if strings.HasPrefix(p, logsDir+"/") {
				link = logsDir
			}
			target, err := os.Readlink(filepath.Join(dst, link))
			if err != nil || !strings.HasPrefix(target, s.top+"/vol/prod") {
				t.Errorf("%s %s: symlink %q, %v", b.Build.NVR(), p, target, err)
			}
			if !same(t, filepath.Join(dst, p), filepath.Join(src, p)) {
				t.Errorf("%s %s: the symlink leads elsewhere", b.Build.NVR(), p)
			}
		}
	}
	for _, b := range plan.Linked {
		b.Volume = ""
		link := filepath.Join(s.top, dir(t, b))
		if target, err := os.Readlink(link); err != nil || !strings.HasPrefix(target, "../../../vol/") {
			t.Errorf("DEFAULT: %s -> %q, %v", link, target, err)
		}
		// A build without a directory at production has none here.
		if _, err := os.Stat(link); err != nil && b.NVR() != "legacy-empty-0-1" {
			t.Errorf("DEFAULT: %v", err)
		}
	}
	return regular
}

func (s *site) prodDir(t testing.TB, b volumes.Build) string { return filepath.Join(s.prod, dir(t, b)) }

func dir(t testing.TB, b volumes.Build) string {
	t.Helper()
	d, err := b.Dir()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// same reports whether two paths lead to one file, or to files with the same content.
func same(t testing.TB, a, b string) bool {
	t.Helper()
	one, err := os.Stat(a)
	if err != nil {
		t.Error(err)
		return false
	}
	other, err := os.Stat(b)
	if err != nil {
		t.Error(err)
		return false
	}
	return os.SameFile(one, other) || sum(t, a) == sum(t, b)
}

func sum(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// files lists everything below root except directories.
func files(t testing.TB, root string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			paths = append(paths, rel)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	return paths
}

// snapshot lists all names below root and what they are, to check later that nothing changed.
func snapshot(t testing.TB, root string) string {
	t.Helper()
	var b strings.Builder
	for _, p := range files(t, root) {
		full := filepath.Join(root, p)
		if target, err := os.Readlink(full); err == nil {
			io.WriteString(&b, p+" -> "+target+"\n")
		} else {
			io.WriteString(&b, p+" "+sum(t, full)+"\n")
		}
	}
	return b.String()
}

func TestCopyAndCopyAgain(t *testing.T) {
	s := newSite(t)
	prod := snapshot(t, s.prod)
	first := s.mustCopy(t)
	n := s.check(t)
	if made := first.Linked + first.Reflinked + first.Copied; made != n || first.Builds != len(s.input.Builds) {
		t.Errorf("made %d files of %d planned, %d builds of %d", made, n, first.Builds, len(s.input.Builds))
	}
	before := snapshot(t, s.top)
	e := s.engine(t)
	a, err := e.Diff(t.Context(), s.plan(t))
	if err != nil {
		t.Fatal(err)
	}
	if a.Pending() || a.Present != n || len(a.Kept)+len(a.Missing) != 0 {
		var b strings.Builder
		a.WriteTo(&b)
		t.Errorf("a second run has something to do, %d present of %d:\n%s", a.Present, n, b.String())
	}
	again, err := e.Apply(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if again.Present != n || again.Builds != 0 || again.Links != 0 {
		t.Errorf("second report %+v", again)
	}
	if snapshot(t, s.top) != before || snapshot(t, s.prod) != prod {
		t.Error("a tree changed")
	}
}
