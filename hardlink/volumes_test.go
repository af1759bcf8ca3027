package hardlink_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger/ledgertest"
	"kojisnap/volumes"
)

// vol/NAME shows only packages, so that Koji's tools see no more of production's tree.
func TestVolumesShowPackagesAlone(t *testing.T) {
	s := newSite(t)
	for _, dir := range []string{"repos-dist/f42/1", "work", "vol/archive01/repos-dist/f42/2"} {
		must(t, os.MkdirAll(filepath.Join(s.prod, dir), 0o755))
	}
	s.mustCopy(t)
	s.check(t)
	for name, builds := range map[string]string{"prod": "packages", "prod_archive01": "vol/archive01/packages"} {
		dir := filepath.Join(s.top, "vol", name)
		list, err := os.ReadDir(dir)
		if err != nil || len(list) != 1 || list[0].Name() != "packages" {
			t.Errorf("%s has %v, %v", dir, list, err)
		}
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
		if target, err := os.Readlink(dir + "/packages"); target != filepath.Join(s.prod, builds) {
			t.Errorf("%s/packages -> %q, %v", dir, target, err)
		}
	}
	if a := s.diff(t); a.Pending() {
		t.Errorf("something is left to do: %+v", a)
	}
	// The tree moves to another place: the symlinks change.
	moved := filepath.Join(t.TempDir(), "moved")
	must(t, os.Rename(s.prod, moved))
	s.prod = moved
	s.mustCopy(t)
	s.check(t)
}

// If production is mounted at vol/prod itself, that is used, left as it is, and reported.
func TestMountAtVolume(t *testing.T) {
	s := newSite(t, "bash", "glibc")
	at := filepath.Join(s.top, "vol/prod")
	bindReadOnly(t, s.prod, at)
	var log bytes.Buffer
	for range 2 {
		log.Reset()
		s.mustCopy(t, func(o *hardlink.Options) {
			o.ReadOnly, o.Log = at, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		if n := strings.Count(log.String(), "is mounted there"); n != 1 || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("told %d times: %s", n, log.String())
		}
	}
	s.check(t)
	// This works for each path that leads to topdir.
	link := filepath.Join(s.top, "vol/prod_archive01/packages")
	if target, err := os.Readlink(link); target != "../../vol/prod/vol/archive01/packages" {
		t.Errorf("-> %q, %v", target, err)
	}
	if _, err := os.Stat(link); err != nil {
		t.Error(err)
	}
}

// bashOther is a file that is not wanted, so that it becomes a symlink.
const bashOther = "data/signed/ba2992d4/x86_64/bash-5.3.0-2.fc42.x86_64.rpm"

// makeOld makes topdir what an earlier version left: with relative symlinks in staged builds, and with whole
// trees as volumes.
func (s *site) makeOld(t testing.TB, ledger bool) {
	t.Helper()
	s.logsOneByOne(t)
	old := func(path, target string) string {
		below, ok := strings.CutPrefix(target, s.top+"/vol/")
		if !ok {
			return target
		}
		return strings.Repeat("../", 5+strings.Count(path, "/")) + below
	}
	relative := 0
	err := filepath.WalkDir(filepath.Join(s.top, "vol/staged/packages"), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.Type() != os.ModeSymlink {
			return err
		}
		target, err := os.Readlink(p)
		must(t, err)
		must(t, os.Remove(p))
		in := strings.Split(strings.TrimPrefix(p, s.top+"/vol/staged/packages/"), "/")
		relative++
		return os.Symlink(old(strings.Join(in[3:], "/"), target), p)
	})
	must(t, err)
	if relative < 5 {
		t.Fatalf("only %d symlinks", relative)
	}
	volumes := map[string]string{"vol/prod": s.prod}
	list, err := os.ReadDir(filepath.Join(s.top, "vol"))
	must(t, err)
	for _, e := range list {
		if name, ok := strings.CutPrefix(e.Name(), "prod_"); ok {
			volumes["vol/"+e.Name()] = "prod/vol/" + name
		}
	}
	for path, target := range volumes {
		must(t, os.RemoveAll(filepath.Join(s.top, path)))
		must(t, os.Symlink(target, filepath.Join(s.top, path)))
	}
	path := filepath.Join(s.top, ".kojisnap/ledger")
	if !ledger {
		must(t, os.Remove(path))
		return
	}
	text := ledgertest.Downgrade(2, string(mustRead(t, path)), func(f []string) {
		switch f[0] {
		case "S":
			f[2] = old(f[1], f[2])
		case "K":
			if target, ok := volumes[filepath.Dir(f[1])]; ok {
				f[1], f[2] = filepath.Dir(f[1]), target
			}
		}
	})
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// checkNew checks that nothing of an earlier version is left.
func (s *site) checkNew(t testing.TB) {
	t.Helper()
	s.check(t)
	for _, name := range []string{"prod", "prod_archive01"} {
		if info, err := os.Lstat(filepath.Join(s.top, "vol", name)); err != nil || !info.IsDir() {
			t.Errorf("vol/%s: %v, %v", name, info, err)
		}
	}
	text := string(mustRead(t, filepath.Join(s.top, ".kojisnap/ledger")))
	if !strings.HasPrefix(text, "kojisnap-ledger\t4\n") || !strings.Contains(text, "\nT\t"+s.top+"\n") {
		t.Errorf("the ledger: %.40q…", text)
	}
	if a := s.diff(t); a.Pending() || len(a.Kept) > 0 {
		t.Errorf("something is left to do: %+v", a)
	}
	if a := s.diff(t, func(o *hardlink.Options) { o.Audit = true }); a.Pending() || len(a.Kept) > 0 {
		t.Errorf("an audit: %+v", a)
	}
}

// A plain copy converts what an earlier version made, once. Meanwhile each build stays visible through the
// volumes.
func TestEarlierVersion(t *testing.T) {
	s := newSite(t)
	s.mustCopy(t)
	s.makeOld(t, true)
	mine := filepath.Join(s.top, "vol/staged", bashDir, bashOther)
	must(t, os.Remove(mine))
	must(t, os.Symlink("staging's own", mine))
	e := s.engine(t)
	e.Watch(func() {
		for _, path := range []string{"vol/prod/" + bashDir, "vol/prod_archive01/packages"} {
			if _, err := os.Stat(filepath.Join(s.top, path)); err != nil {
				t.Errorf("meanwhile: %v", err)
			}
		}
	})
	a, err := e.Diff(t.Context(), s.plan(t))
	must(t, err)
	r, err := e.Apply(t.Context(), a)
	must(t, err)
	if r.Symlinked < 50 || r.Linked+r.Copied > 0 || r.Links != 3 {
		t.Errorf("report %+v", r)
	}
	if target, _ := os.Readlink(mine); target != "staging's own" {
		t.Errorf("staging's symlink says %q", target)
	}
	must(t, os.Remove(mine))
	must(t, os.Symlink(s.top+"/vol/prod/"+bashDir+"/"+bashOther, mine))
	s.checkNew(t)
	// From then on symlinks are not looked at.
	must(t, os.Remove(mine))
	must(t, os.Symlink("../../../../../../../../../prod/"+bashDir+"/"+bashOther, mine))
	if a := s.diff(t); a.Pending() {
		t.Errorf("symlinks are looked at again: %+v", a)
	}
}

// The symlinks of a build that is no longer wanted are converted, too.
func TestEarlierVersionUnwanted(t *testing.T) {
	s := newSite(t, "bash", "glibc")
	s.mustCopy(t)
	s.makeOld(t, true)
	s.input = volumes.Input{Others: []volumes.Other{{Build: s.input.Builds[0].Build, Files: true}}}
	s.mustCopy(t)
	for _, p := range files(t, filepath.Join(s.top, "vol/staged/packages")) {
		path := filepath.Join(s.top, "vol/staged/packages", p)
		if target, err := os.Readlink(path); err == nil && !filepath.IsAbs(target) {
			t.Errorf("%s -> %q", path, target)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// An audit without a ledger also converts what an earlier version made.
func TestEarlierVersionWithoutLedger(t *testing.T) {
	s := newSite(t, "bash", "glibc", "kernel") // nothing would show who made the directory of an empty build
	s.mustCopy(t)
	s.makeOld(t, false)
	s.mustCopy(t, func(o *hardlink.Options) { o.Audit = true })
	s.checkNew(t)
}

// After a kill at any moment, the next run continues.
func TestKilledWhileMovingOver(t *testing.T) {
	for n := int64(0); ; n += 5 {
		s := newSite(t, "bash")
		s.mustCopy(t)
		s.makeOld(t, true)
		e := s.engine(t)
		a, err := e.Diff(t.Context(), s.plan(t))
		must(t, err)
		e.CrashAfter(n)
		_, err = e.Apply(t.Context(), a)
		for _, b := range s.plan(t).Staged {
			if _, err := os.Stat(filepath.Join(s.top, "vol/prod", dir(t, volumes.Build{Name: b.Build.Name, Version: b.Build.Version, Release: b.Build.Release}))); b.Build.Volume == "" && err != nil {
				t.Errorf("after %d operations: %v", n, err)
			}
		}
		s.mustCopy(t)
		s.checkNew(t)
		if err == nil {
			if n < 20 {
				t.Errorf("only %d operations", n)
			}
			return
		}
	}
}

// The hub may have topdir at another path. If that path changes, symlinks follow, also after a kill.
func TestHubTopdir(t *testing.T) {
	s := onlyBash(t)
	link := "vol/staged/" + bashDir + "/" + bashOther
	at := func(hub string) func(*hardlink.Options) {
		return func(o *hardlink.Options) { o.HubTopdir = hub }
	}
	says := func(hub string) {
		t.Helper()
		for _, p := range files(t, filepath.Join(s.top, "vol/staged/packages")) {
			target, err := os.Readlink(filepath.Join(s.top, "vol/staged/packages", p))
			if err == nil && target != hub+"/vol/prod/packages/"+p {
				t.Errorf("%s -> %q", p, target)
			}
		}
	}
	s.mustCopy(t, at("/mnt/koji"))
	says("/mnt/koji")
	if a := s.diff(t, at("/mnt/koji")); a.Pending() {
		t.Errorf("something is left to do: %+v", a)
	}
	if a := s.diff(t, at("/mnt/koji"), func(o *hardlink.Options) { o.Audit = true }); a.Pending() || len(a.Kept) > 0 {
		t.Errorf("an audit: %+v", a)
	}
	// The path changes, with a kill, and changes back: no symlink with the other path is left.
	for n := int64(1); ; n += 3 {
		e := s.engine(t, at("/srv/koji"))
		a, err := e.Diff(t.Context(), s.plan(t))
		must(t, err)
		e.CrashAfter(n)
		if _, err := e.Apply(t.Context(), a); err == nil {
			break
		}
		s.mustCopy(t, at("/mnt/koji"))
		says("/mnt/koji")
	}
	says("/srv/koji")
	if _, err := os.Readlink(filepath.Join(s.top, link)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"koji", "/mnt/koji/", "/mnt/../koji", "/mnt//koji", "/", "/mnt/a\nb"} {
		if _, err := s.open(t, at(bad)); err == nil || !strings.Contains(err.Error(), "the hub's path of topdir") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Koji can use the files of a staged build: its hub hard-links them into a dist repo with link(2), which does
// not follow symlinks, and moves a promoted draft's directory, or copies its symlinks to another volume. All
// files can be read there.
func TestKojiLinksAndMoves(t *testing.T) {
	s := newSite(t)
	ro := filepath.Join(t.TempDir(), "mnt")
	bindReadOnly(t, s.prod, ro)
	s.want.SigKeys = []string{"41526f0e"} // unsigned rpms and other keys' are symlinks
	s.mustCopy(t, func(o *hardlink.Options) { o.ReadOnly = ro })
	linked := 0
	for _, b := range s.plan(t).Staged {
		src := s.prodDir(t, b.Build)
		b.Build.Volume = "staged"
		build := filepath.Join(s.top, dir(t, b.Build))
		repo := filepath.Join(s.top, "repos-dist/f42/1/x86_64/Packages", b.Build.NVR())
		must(t, os.MkdirAll(repo, 0o755))
		all := slices.DeleteFunc(files(t, build), func(p string) bool { return p == logsDir }) // link(2) takes only files
		for _, p := range all {
			dst := filepath.Join(repo, strings.ReplaceAll(p, "/", "_"))
			must(t, os.Link(filepath.Join(build, p), dst))
			if sum(t, dst) != sum(t, filepath.Join(src, p)) {
				t.Errorf("%s: another file", dst)
			}
			linked++
		}
		// This is what promote_build and then change_build_volume do, to DEFAULT.
		promoted := build + ".promoted"
		must(t, os.Rename(build, promoted))
		moved := filepath.Join(s.top, "packages", b.Build.Name, b.Build.Version, b.Build.Release+".moved")
		for _, p := range all {
			to := filepath.Join(moved, p)
			must(t, os.MkdirAll(filepath.Dir(to), 0o755))
			if target, err := os.Readlink(filepath.Join(promoted, p)); err == nil {
				must(t, os.Symlink(target, to))
			} else {
				must(t, os.Link(filepath.Join(promoted, p), to))
			}
			if want := sum(t, filepath.Join(src, p)); sum(t, filepath.Join(promoted, p)) != want || sum(t, to) != want {
				t.Errorf("%s: moved, another file", p)
			}
		}
	}
	if linked < 200 {
		t.Errorf("only %d files", linked)
	}
}

// Pungi's linker works: of each rpm it takes the first copy that exists, in the order of the keys and then
// the unsigned one. It hard-links it, and copies it only on EXDEV. An existing file must have the same length
// and the same second.
func TestPungiLinks(t *testing.T) {
	s := newSite(t)
	ro := filepath.Join(t.TempDir(), "mnt")
	bindReadOnly(t, s.prod, ro)
	s.want.SigKeys = []string{"41526f0e"}
	s.mustCopy(t, func(o *hardlink.Options) { o.ReadOnly = ro })
	compose := filepath.Join(s.top, "compose/Packages")
	must(t, os.MkdirAll(compose, 0o755))
	symlinks, regular := 0, 0
	for _, order := range [][]string{{"ba2992d4", "41526f0e", ""}, {"41526f0e", "", "ba2992d4"}, {""}} {
		for _, b := range s.input.Builds {
			for _, r := range b.RPMs {
				for _, key := range order {
					rel, err := r.Path()
					if err == nil && key != "" {
						rel, err = r.SignedPath(key)
					}
					must(t, err)
					staged := b.Build
					staged.Volume = "staged"
					src, dst := filepath.Join(s.top, dir(t, staged), rel), filepath.Join(compose, strings.Join(order, ".")+"."+b.NVR()+"."+r.File())
					if _, err := os.Stat(src); err != nil {
						continue
					}
					must(t, os.Link(src, dst))
					is, err := os.Stat(dst)
					must(t, err)
					want, err := os.Stat(filepath.Join(s.prodDir(t, b.Build), rel))
					must(t, err)
					if is.Size() != want.Size() || is.ModTime().Unix() != want.ModTime().Unix() || sum(t, dst) != sum(t, filepath.Join(s.prodDir(t, b.Build), rel)) {
						t.Errorf("%s: another file", dst)
					}
					if _, err := os.Readlink(dst); err == nil {
						symlinks++
					} else {
						regular++
					}
					break
				}
			}
		}
	}
	if symlinks < 20 || regular < 20 {
		t.Errorf("%d symlinks, %d regular files", symlinks, regular)
	}
}
