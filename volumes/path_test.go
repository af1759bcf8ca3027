package volumes_test

import (
	"os"
	"path/filepath"
	"testing"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

func TestPaths(t *testing.T) {
	b := volumes.Build{Name: "draftpkg", Version: "1", Release: "1.fc42,draft_71"}
	r := volumes.RPM{Name: "draftpkg-libs", Version: "1", Release: "1.fc42", Arch: "x86_64"}
	on := func(volume string) func() (string, error) {
		c := b
		c.Volume = volume
		return c.Dir
	}
	for _, c := range []struct {
		got  func() (string, error)
		want string
	}{
		{b.Dir, "packages/draftpkg/1/1.fc42,draft_71"},
		{on("DEFAULT"), "packages/draftpkg/1/1.fc42,draft_71"},
		{on("ssd"), "vol/ssd/packages/draftpkg/1/1.fc42,draft_71"},
		{on("prod/vol/ssd"), "vol/prod/vol/ssd/packages/draftpkg/1/1.fc42,draft_71"},
		{r.Path, "x86_64/draftpkg-libs-1-1.fc42.x86_64.rpm"},
		{func() (string, error) { return r.SignedPath("41526F0E") }, "data/signed/41526f0e/x86_64/draftpkg-libs-1-1.fc42.x86_64.rpm"},
		{func() (string, error) { return volumes.SigPath(r, "41526F0E") }, "data/sigcache/41526f0e/x86_64/draftpkg-libs-1-1.fc42.x86_64.rpm.sig"},
		{func() (string, error) { return volumes.SigPath(r, "") }, "data/sigcache/x86_64/draftpkg-libs-1-1.fc42.x86_64.rpm.sig"},
		{func() (string, error) { return volumes.MavenPath("org.example", "lib", "1.2.3", "lib.jar") }, "maven/org/example/lib/1.2.3/lib.jar"},
		{func() (string, error) { return volumes.WinPath("bin/x64", "tool.exe") }, "win/bin/x64/tool.exe"},
		{func() (string, error) { return volumes.WinPath("", "tool.exe") }, "win/tool.exe"},
		{func() (string, error) { return volumes.ImagePath("a.raw.xz") }, "images/a.raw.xz"},
		{func() (string, error) { return volumes.TypePath("module", "modulemd.txt") }, "files/module/modulemd.txt"},
	} {
		if got, err := c.got(); got != c.want || err != nil {
			t.Errorf("path %q, %v, want %q", got, err, c.want)
		}
	}
}

// Every file that the real database names is where the layout says, and the links
// are those that Koji left.
func TestLayoutOfRealTree(t *testing.T) {
	top := t.TempDir()
	if err := kojiprod.ExtractTree(top); err != nil {
		t.Fatal(err)
	}
	in := volumestest.Input(t)
	plan, err := volumes.NewPlan(in, volumes.Want{SigKeys: []string{"", "41526f0e", "ba2992d4"}})
	if err != nil {
		t.Fatal(err)
	}
	n, links := 0, 0
	for _, b := range plan.Staged {
		dir, err := b.Build.Dir()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range b.Files {
			info, err := os.Lstat(filepath.Join(top, dir, f.Path))
			if err != nil {
				if f.Kind != volumes.KindSigned { // pruned, or never written
					t.Error(err)
				}
				continue
			}
			if n++; !info.Mode().IsRegular() || f.Size >= 0 && info.Size() != f.Size {
				t.Errorf("%s/%s: %v, %d bytes, want %d", dir, f.Path, info.Mode(), info.Size(), f.Size)
			}
		}
		if b.Build.Volume == volumes.DefaultVolume {
			continue
		}
		link, target, err := b.Build.Link()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(filepath.Join(top, link)); got != target || err != nil {
			t.Errorf("%s -> %q, %v; want %q", link, got, err, target)
		}
		links++
	}
	if n < 1000 || links != 5 {
		t.Errorf("%d files and %d links seen", n, links)
	}
}
