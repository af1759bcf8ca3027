package hardlink_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

// A tree that is not the snapshot's is refused with one line before anything is written. A tree from which a
// build has gone since is accepted.
func TestWrongTree(t *testing.T) {
	const wrong = "is not the tree of this snapshot, or not all of it"
	for name, c := range map[string]struct {
		change func(t *testing.T, s *site)
		err    string
	}{
		"right": {func(*testing.T, *site) {}, ""},
		"of another Koji": {func(t *testing.T, s *site) {
			must(t, os.RemoveAll(filepath.Join(s.prod, "packages")))
			must(t, os.MkdirAll(filepath.Join(s.prod, "packages/other/1/1/x86_64"), 0o755))
		}, wrong},
		"half restored": {func(t *testing.T, s *site) {
			entries, err := os.ReadDir(filepath.Join(s.prod, "packages"))
			must(t, err)
			for _, e := range entries[len(entries)/2:] {
				must(t, os.RemoveAll(filepath.Join(s.prod, "packages", e.Name())))
			}
		}, wrong},
		"of rebuilt packages": {func(t *testing.T, s *site) {
			for _, p := range files(t, s.prod) {
				if strings.HasSuffix(p, ".rpm") && !strings.Contains(p, "/data/") {
					must(t, os.Remove(filepath.Join(s.prod, p)))
					must(t, os.WriteFile(filepath.Join(s.prod, p), []byte("another"), 0o644))
				}
			}
		}, wrong},
		"without builds, and none are copied": {func(t *testing.T, s *site) {
			s.input = volumestest.Split(s.input, func(volumes.BuildFiles) bool { return false })
			must(t, os.RemoveAll(filepath.Join(s.prod, "packages")))
			must(t, os.Mkdir(filepath.Join(s.prod, "packages"), 0o755))
		}, wrong},
		"one build has gone since": {func(t *testing.T, s *site) {
			must(t, os.RemoveAll(filepath.Join(s.prod, "packages/nginx/1.28.0/1.fc42")))
		}, "nginx"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			c.change(t, s)
			_, err := s.copy(t)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if c.err == wrong && (strings.Contains(err.Error(), "\n") || len(files(t, s.top)) != 0) {
				t.Errorf("error %q; below topdir: %q", err, files(t, s.top))
			}
			if c.err == "nginx" && s.wholeOrAbsent(t) == 0 {
				t.Error("nothing was copied")
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A volume of production's that is not mounted here is named, with its builds.
func TestVolumeThatLeadsNowhere(t *testing.T) {
	s := newSite(t)
	s.input = volumestest.Split(s.input, func(b volumes.BuildFiles) bool { return b.Volume != "archive01" })
	on := 0
	for _, b := range s.input.Others {
		if b.Volume == "archive01" {
			on++
		}
	}
	must(t, os.RemoveAll(filepath.Join(s.prod, "vol/archive01")))
	a, err := s.engine(t).Diff(t.Context(), s.plan(t))
	must(t, err)
	want := hardlink.Nowhere{Link: volumes.Link{Path: "vol/prod_archive01/packages", Target: s.prod + "/vol/archive01/packages"},
		Volume: "archive01", Why: s.prod + "/vol/archive01/packages is not there", Builds: on}
	if len(a.Nowhere) != 1 || a.Nowhere[0] != want || on == 0 {
		t.Errorf("%+v, want %+v", a.Nowhere, want)
	}
}

// Each file of each staged build can be read: planned ones are regular files; all others are symlinks whose
// targets begin with topdir's path and end in production's tree, which is mounted read-only elsewhere.
func TestEveryFileOfAStagedBuildResolves(t *testing.T) {
	s := newSite(t)
	ro := filepath.Join(t.TempDir(), "elsewhere")
	bindReadOnly(t, s.prod, ro)
	s.want.SigKeys, s.want.Arches = []string{"41526f0e"}, []string{"x86_64"}
	s.mustCopy(t, func(o *hardlink.Options) { o.ReadOnly = ro })
	s.check(t)
	regular, links := 0, 0
	for _, b := range s.plan(t).Staged {
		planned := map[string]bool{}
		for _, f := range b.Files {
			planned[f.Path] = true
		}
		src := s.prodDir(t, b.Build)
		b.Build.Volume = "staged"
		root := filepath.Join(s.top, dir(t, b.Build))
		have := files(t, root)
		if real := files(t, src); len(have) != len(real) {
			t.Errorf("%s: %d files, production has %d", b.Build.NVR(), len(have), len(real))
		}
		for _, p := range have {
			path := filepath.Join(root, p)
			target, err := os.Readlink(path)
			if planned[p] {
				if info, lerr := os.Lstat(path); err == nil || lerr != nil || !info.Mode().IsRegular() {
					t.Errorf("%s: is not a regular file: %v", path, lerr)
				}
				regular++
				continue
			}
			links++
			if err != nil || !strings.HasPrefix(target, s.top+"/vol/prod") {
				t.Errorf("%s -> %q, %v", path, target, err)
			}
			if end, err := filepath.EvalSymlinks(path); err != nil || !strings.HasPrefix(end, ro+"/") {
				t.Errorf("%s ends at %s, %v", path, end, err)
			}
		}
	}
	if regular < 100 || links < 100 {
		t.Errorf("only %d regular files, %d symlinks", regular, links)
	}
}
