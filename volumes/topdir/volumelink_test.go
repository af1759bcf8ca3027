package topdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/volumes"
)

// tree makes a tree of production's with one build.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "prod")
	for _, sub := range []string{"packages/bash/5/1", "vol/ssd/packages/zlib/1/1", "repos-dist"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func prodLink(tree string) volumes.Link {
	return volumes.VolumeLink{Name: "prod", Source: "."}.Link(tree)
}

func noneOurs(string, string) bool { return false }

// Whatever is at vol/NAME, and whoever made it, EnsureVolume makes a volume of it or says why not.
func TestVolumes(t *testing.T) {
	prod := tree(t)
	elsewhere := tree(t)
	ourOld := func(path, target string) bool { return path == "vol/prod" && target == elsewhere }
	ourLink := func(path, target string) bool { return path == "vol/prod/packages" && target == elsewhere+"/packages" }
	for name, c := range map[string]struct {
		link    string // target of vol/prod, if that is a symlink
		inner   string // target of vol/prod/packages, if vol/prod is a directory
		dir     string // a directory that exists
		file    string // a file that exists
		ours    func(path, target string) bool
		outcome Outcome
		err     string
	}{
		"nothing":                            {outcome: Make},
		"a symlink of an earlier version":    {link: elsewhere, ours: ourOld, outcome: Convert},
		"a symlink of an operator's":         {link: prod, outcome: Convert},
		"a symlink to other builds":          {link: elsewhere, err: "was not made by kojisnap: remove it"},
		"a symlink that leads nowhere":       {link: "/nowhere", err: "was not made by kojisnap: remove it"},
		"the directory":                      {inner: prod + "/packages", outcome: Unchanged},
		"the directory, by another way":      {inner: prod + "/vol/../packages", outcome: Unchanged},
		"the directory, leading elsewhere":   {inner: elsewhere + "/packages", ours: ourLink, outcome: Switch},
		"a directory of somebody's":          {inner: elsewhere + "/packages", err: "was not made by kojisnap: remove it"},
		"an empty directory":                 {dir: "vol/prod", outcome: Make},
		"a directory that the hub worked in": {dir: "vol/prod/work", outcome: Make},
		"builds of staging's own":            {dir: "vol/prod/packages", err: "is not a symlink to"},
		"a file":                             {file: "vol/prod", err: "is no directory"},
	} {
		t.Run(name, func(t *testing.T) {
			top := openTop(t)
			if c.ours == nil {
				c.ours = noneOurs
			}
			for _, dir := range []string{"vol", c.dir} {
				if err := os.MkdirAll(top.Join(dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if c.inner != "" {
				if err := errors.Join(os.Mkdir(top.Join("vol/prod"), 0o755), os.Symlink(c.inner, top.Join("vol/prod/packages"))); err != nil {
					t.Fatal(err)
				}
			}
			if c.link != "" {
				if err := os.Symlink(c.link, top.Join("vol/prod")); err != nil {
					t.Fatal(err)
				}
			}
			if c.file != "" {
				if err := os.WriteFile(top.Join(c.file), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			l := prodLink(prod)
			s, err := top.CheckVolume(l, c.ours)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || s.Outcome != c.outcome || s.Old != c.link {
				t.Fatalf("%+v, %v; want %v", s, err, c.outcome)
			}
			if o, err := top.EnsureVolume(l, "temp", c.ours); o != c.outcome || err != nil {
				t.Fatalf("made: %v, %v", o, err)
			}
			checkVolume(t, top, prod, c.dir != "vol/prod/work")
			if s, err := top.CheckVolume(l, noneOurs); s.Outcome != Unchanged || err != nil {
				t.Errorf("afterwards: %+v, %v", s, err)
			}
			if found, err := FindTree(top.Path(), "prod"); found != prod && found != prod+"/vol/.." || err != nil {
				t.Errorf("FindTree: %q, %v; want %q", found, err, prod)
			}
			if _, err := top.Lstat("temp"); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the temporary name is left")
			}
		})
	}
}

// checkVolume checks that vol/prod is a directory with production's builds, and, if alone, that it has nothing else.
func checkVolume(t *testing.T, top *Dir, prod string, alone bool) {
	t.Helper()
	list, err := os.ReadDir(top.Join("vol/prod"))
	if err != nil || alone && len(list) != 1 {
		t.Errorf("vol/prod has %v, %v", list, err)
	}
	is, err := os.Stat(top.Join("vol/prod/packages"))
	want, werr := os.Stat(prod + "/packages")
	if err != nil || werr != nil || !os.SameFile(is, want) {
		t.Errorf("vol/prod/packages: %v, %v", err, werr)
	}
	if _, err := os.Stat(top.Join("vol/prod/packages/bash/5/1")); err != nil {
		t.Error(err)
	}
}

// While a symlink becomes a directory, builds are visible after each step, and the next run repairs what a
// kill leaves after any step. This also holds where names cannot be exchanged, as on NFS.
func TestConvertVolume(t *testing.T) {
	for _, exchange := range []bool{true, false} {
		prod := tree(t)
		ops := 0
		for fail := 0; ; fail++ {
			top := openTop(t)
			if err := errors.Join(os.Mkdir(top.Join("vol"), 0o755), os.Symlink(prod, top.Join("vol/prod"))); err != nil {
				t.Fatal(err)
			}
			killed := errors.New("killed")
			n := 0
			var did []string
			step := func(op, rel string) error {
				if _, err := os.Stat(top.Join("vol/prod/packages/bash/5/1")); err != nil {
					t.Errorf("exchange %v, after %q: %v", exchange, did, err)
				}
				if op == "exchange" && !exchange {
					return unix.EINVAL
				}
				did = append(did, op+" "+rel)
				if n++; n > fail {
					return killed
				}
				return nil
			}
			top.Hook = step
			_, err := top.EnsureVolume(prodLink(prod), "temp", noneOurs)
			if err == nil {
				ops = n
			}
			top.Hook = nil
			if err := top.RemoveAll("temp"); err != nil { // as each run does first
				t.Fatal(err)
			}
			if _, err := top.EnsureVolume(prodLink(prod), "temp", noneOurs); err != nil {
				t.Errorf("exchange %v, after a kill at %q: %v", exchange, did, err)
			}
			checkVolume(t, top, prod, true)
			if info, err := os.Lstat(top.Join("vol/prod")); err != nil || exchange && !info.IsDir() {
				t.Errorf("vol/prod is %v, %v", info, err)
			}
			if ops > 0 {
				break
			}
		}
		if ops < 3 {
			t.Errorf("exchange %v: %d steps", exchange, ops)
		}
	}
}

// If the tree's path passes through vol/prod, the link is neither made to lead to itself nor lost.
func TestVolumeThroughItself(t *testing.T) {
	prod := tree(t)
	top := openTop(t)
	alias := filepath.Join(t.TempDir(), "alias")
	if err := errors.Join(os.Mkdir(top.Join("vol"), 0o755), os.Symlink(prod, top.Join("vol/prod")), os.Symlink(top.Path(), alias)); err != nil {
		t.Fatal(err)
	}
	for _, through := range []string{top.Join("vol/prod"), alias + "/vol/prod"} {
		if _, err := top.EnsureVolume(prodLink(through), "temp", noneOurs); err == nil || !strings.Contains(err.Error(), "by way of it") {
			t.Errorf("a symlink, %s: %v", through, err)
		}
	}
	if _, err := top.EnsureVolume(prodLink(prod), "temp", noneOurs); err != nil {
		t.Fatal(err)
	}
	all := func(string, string) bool { return true }
	for _, through := range []string{top.Join("vol/prod"), alias + "/vol/prod"} {
		if o, err := top.EnsureVolume(prodLink(through), "temp", all); o != Unchanged || err != nil {
			t.Errorf("the directory, %s: %v, %v", through, o, err)
		}
	}
	checkVolume(t, top, prod, true)
}

// A tree that is mounted at vol/prod is used and reported. Mounted builds alone are used, too.
func TestMountedVolume(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mount(2)")
	}
	for at, whole := range map[string]bool{"vol/prod": true, "vol/prod/packages": false} {
		prod, top := tree(t), openTop(t)
		if err := os.MkdirAll(top.Join(at), 0o755); err != nil {
			t.Fatal(err)
		}
		source := prod
		if !whole {
			source += "/packages"
		}
		if err := unix.Mount(source, top.Join(at), "", unix.MS_BIND, ""); err != nil {
			t.Skipf("needs the right to mount: %v", err)
		}
		t.Cleanup(func() { unix.Unmount(top.Join(at), unix.MNT_DETACH) })
		for _, tree := range []string{prod, top.Join("vol/prod")} {
			s, err := top.CheckVolume(prodLink(tree), noneOurs)
			if err != nil || s.Outcome != Unchanged || s.Whole != whole {
				t.Errorf("%s: %+v, %v", at, s, err)
			}
		}
		if found, err := FindTree(top.Path(), "prod"); found != top.Join("vol/prod") || err != nil {
			t.Errorf("FindTree: %q, %v", found, err)
		}
		if s, err := top.CheckVolume(prodLink(t.TempDir()), noneOurs); err == nil {
			t.Errorf("other builds: %+v", s)
		}
	}
}

func TestVolumeNames(t *testing.T) {
	top := openTop(t)
	for _, name := range []string{"..", "", "a\nb"} {
		if _, err := top.CheckVolume(volumes.Link{Path: "vol/" + name + "/packages", Target: "/x"}, noneOurs); !errors.Is(err, volumes.ErrUnsafeName) && !slices.Contains([]string{"..", ""}, name) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := FindTree(top.Path(), name); !errors.Is(err, volumes.ErrUnsafeName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
