package btrfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/btrfs"
	"kojisnap/volumes/clone/clonetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The tree is a subvolume, or a directory in one, writable or not; what is written in a clone costs nothing but itself.
func TestContract(t *testing.T) {
	disk := clonetest.Disk(t, "btrfs", 600<<20)
	sub := clonetest.Subvolume(t, filepath.Join(disk, "prod"))
	rpms := clonetest.Tree(t, filepath.Join(sub, "koji"), 20, 1<<20)
	frozen := clonetest.Snapshot(t, sub, filepath.Join(disk, "frozen"))
	for _, tree := range []string{filepath.Join(sub, "koji"), filepath.Join(frozen, "koji")} {
		p, err := btrfs.New(btrfs.Options{Env: clonetest.Env, Dir: filepath.Join(disk, "clones"), Subvolume: tree})
		must(t, err)
		must(t, p.Check(t.Context()))
		clonetest.Contract(t, p, tree, rpms, true)
		c, err := p.Create(t.Context(), clonetest.ID(9))
		must(t, err)
		path, err := p.Mount(t.Context(), c)
		must(t, err)
		before := clonetest.Used(t, disk)
		for _, rel := range rpms {
			must(t, os.Link(filepath.Join(path, rel), filepath.Join(path, filepath.Base(rel))))
		}
		if wrote := clonetest.Used(t, disk) - before; wrote > 20<<20/10 {
			t.Errorf("%d bytes were written for links of %d", wrote, 20<<20)
		}
		must(t, p.Discard(t.Context(), c))
	}
}

// What is no subvolume, is elsewhere, or in the way, is refused, and stays.
func TestRefused(t *testing.T) {
	disk, other := clonetest.Disk(t, "btrfs", 300<<20), clonetest.Disk(t, "xfs", 400<<20)
	sub := clonetest.Subvolume(t, filepath.Join(disk, "koji"))
	clonetest.Tree(t, sub, 1, 1<<10)
	clonetest.Tree(t, filepath.Join(other, "koji"), 1, 1<<10)
	for want, o := range map[string]btrfs.Options{
		"no dir is given":           {Subvolume: sub},
		"no subvolume is given":     {Dir: disk},
		"want an absolute path":     {Dir: "clones", Subvolume: sub},
		"which is no Btrfs":         {Dir: other, Subvolume: filepath.Join(other, "koji")},
		"is on another file system": {Dir: other, Subvolume: sub},
		"no such file or directory": {Dir: disk, Subvolume: filepath.Join(disk, "absent")},
		"in the way":                {Dir: disk, Subvolume: sub},
	} {
		if want == "in the way" {
			must(t, os.Mkdir(filepath.Join(disk, clonetest.ID(1).String()), 0o755))
		}
		o.Env = clonetest.Env
		p, err := btrfs.New(o)
		if err == nil {
			_, err = p.Create(t.Context(), clonetest.ID(1))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	p, err := btrfs.New(btrfs.Options{Env: clonetest.Env, Dir: disk, Subvolume: sub})
	must(t, err)
	if err := p.Discard(t.Context(), clone.Clone{ID: clonetest.ID(1).String()}); err == nil || !strings.Contains(err.Error(), "is no subvolume") {
		t.Errorf("a directory was discarded: %v", err)
	}
}
