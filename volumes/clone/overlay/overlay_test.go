package overlay_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/seedtest"
	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/clonetest"
	"kojisnap/volumes/clone/overlay"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, o overlay.Options) *overlay.Provider {
	t.Helper()
	o.Env = clonetest.Env
	p, err := overlay.New(o)
	must(t, err)
	return p
}

// Where links are made by reflink, and where by metacopy: with both the contract holds, and links cost no data.
func TestContract(t *testing.T) {
	type layers struct{ lower, upper, mode string }
	for _, c := range seedtest.Some([]layers{
		{"xfs", "", "reflink"}, {"btrfs", "", "reflink"}, {"xfs", "", "metacopy"}, {"xfs", "xfs", "metacopy"}, {"ext4", "btrfs", "metacopy"}, {"btrfs", "ext4", "metacopy"},
	}, 3) {
		t.Run(c.lower+" below "+c.upper+" by "+c.mode, func(t *testing.T) {
			disk := clonetest.Disk(t, c.lower, 600<<20)
			tree, dir := filepath.Join(disk, "koji"), filepath.Join(disk, "clones")
			if c.upper != "" {
				dir = filepath.Join(clonetest.Disk(t, c.upper, 600<<20), "clones")
			}
			rpms := clonetest.Tree(t, tree, 20, 2<<20)
			p := open(t, overlay.Options{Dir: dir, Lower: tree, LiveLower: true, Metacopy: c.upper == "" && c.mode == "metacopy"})
			clonetest.Contract(t, p, tree, rpms, true)

			made, err := p.Create(t.Context(), clonetest.ID(9))
			must(t, err)
			if made.Details["mode"] != c.mode {
				t.Errorf("mode %q (%s), want %q", made.Details["mode"], made.Details["probe"], c.mode)
			}
			path, err := p.Mount(t.Context(), made)
			must(t, err)
			before := clonetest.Used(t, path)
			for _, rel := range rpms {
				must(t, os.Link(filepath.Join(path, rel), filepath.Join(path, filepath.Base(rel))))
			}
			if wrote := clonetest.Used(t, path) - before; wrote > 20*2<<20/10 {
				t.Errorf("%d bytes were written for links of %d", wrote, 20*2<<20)
			}
			var a, b unix.Stat_t
			must(t, unix.Stat(filepath.Join(path, rpms[3]), &a))
			must(t, unix.Stat(filepath.Join(path, filepath.Base(rpms[3])), &b))
			if a.Ino != b.Ino || a.Dev != b.Dev || b.Nlink != 2 {
				t.Errorf("a link is no link: %+v, %+v", a, b)
			}
			must(t, p.Discard(t.Context(), made))
		})
	}
}

// Only a view of one moment is taken, unless a live tree is accepted.
func TestLiveLower(t *testing.T) {
	disk := clonetest.Disk(t, "btrfs", 600<<20)
	live := clonetest.Subvolume(t, filepath.Join(disk, "koji"))
	clonetest.Tree(t, live, 3, 1<<20)
	for _, name := range []string{"2026-11-28", "2026-11-29"} {
		clonetest.Snapshot(t, live, filepath.Join(disk, "snap:"+name))
	}
	dir := filepath.Join(disk, "clones")
	for _, lower := range []string{live, clonetest.ReadOnly(t, live)} {
		p := open(t, overlay.Options{Dir: dir, Lower: lower})
		if _, err := p.Create(t.Context(), clonetest.ID(1)); err == nil || !strings.Contains(err.Error(), "is no view of one moment") || !strings.Contains(err.Error(), "--live-lower") {
			t.Errorf("lower %s: %v", lower, err)
		}
		if err := p.Check(t.Context()); err == nil {
			t.Errorf("lower %s: the check finds nothing", lower)
		}
	}
	// The last snapshot by name counts; its colon is escaped.
	p := open(t, overlay.Options{Dir: dir, Lower: filepath.Join(disk, "snap:*")})
	must(t, p.Check(t.Context()))
	c, err := p.Create(t.Context(), clonetest.ID(2))
	must(t, err)
	if want := filepath.Join(disk, "snap:2026-11-29"); c.Lower.Path != want || c.Lower.Live {
		t.Errorf("lower %+v, want %s", c.Lower, want)
	}
	if c.Details["mode"] != "metacopy" { // nobody replaces its files
		t.Errorf("mode %q", c.Details["mode"])
	}
	_, err = p.Mount(t.Context(), c)
	must(t, err)
	must(t, p.Discard(t.Context(), c))
	p = open(t, overlay.Options{Dir: dir, Lower: filepath.Join(disk, "none-*")})
	if _, err := p.Create(t.Context(), clonetest.ID(3)); err == nil || !strings.Contains(err.Error(), "nothing matches") {
		t.Errorf("no match: %v", err)
	}
	// A read-only file system of a disk of this host.
	xfs := clonetest.Disk(t, "xfs", 400<<20)
	clonetest.Tree(t, xfs, 3, 1<<20)
	must(t, unix.Mount("", xfs, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	must(t, open(t, overlay.Options{Dir: dir, Lower: xfs}).Check(t.Context()))
}

// Without the right to mount, the message says what to do.
func TestNoRight(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give the right away")
	}
	tree := t.TempDir()
	clonetest.Tree(t, tree, 1, 1<<10)
	p := open(t, overlay.Options{Dir: t.TempDir(), Lower: tree, LiveLower: true})
	err := without(t, func() error { _, err := p.Create(t.Context(), clonetest.ID(1)); return err })
	if err == nil || !strings.Contains(err.Error(), "CAP_SYS_ADMIN") {
		t.Errorf("without the right: %v", err)
	}
}

// A full disk: nothing is mounted, what was made can be discarded, and the message names the directory.
func TestNoRoom(t *testing.T) {
	lower := clonetest.Disk(t, "ext4", 200<<20)
	rpms := clonetest.Tree(t, lower, 3, 2<<20)
	small := filepath.Join(t.TempDir(), "small")
	must(t, os.Mkdir(small, 0o755))
	must(t, unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m,nr_inodes=8"))
	t.Cleanup(func() { clonetest.UnmountAll(t, small) })
	p := open(t, overlay.Options{Dir: filepath.Join(small, "clones"), Lower: lower, LiveLower: true})
	_, err := p.Create(t.Context(), clonetest.ID(1))
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error %v, want ENOSPC", err)
	}
	must(t, unix.Mount("", small, "", unix.MS_REMOUNT, "size=64m,nr_inodes=10000"))
	c, err := p.Create(t.Context(), clonetest.ID(1)) // the same id goes on
	must(t, err)
	path, err := p.Mount(t.Context(), c)
	must(t, err)
	must(t, os.Link(filepath.Join(path, rpms[0]), filepath.Join(path, "x")))
	must(t, p.Discard(t.Context(), c))
}

// What is in a clone's directory and is not kojisnap's stays, and so does what is mounted in a clone.
func TestOthersStay(t *testing.T) {
	disk := clonetest.Disk(t, "xfs", 400<<20)
	tree, dir := filepath.Join(disk, "koji"), filepath.Join(disk, "clones")
	clonetest.Tree(t, tree, 3, 1<<20)
	p := open(t, overlay.Options{Dir: dir, Lower: tree, LiveLower: true})
	c, err := p.Create(t.Context(), clonetest.ID(1))
	must(t, err)
	path, err := p.Mount(t.Context(), c)
	must(t, err)
	own := filepath.Join(filepath.Dir(path), "own")
	must(t, os.WriteFile(own, nil, 0o644))
	if err := p.Discard(t.Context(), c); err == nil || !strings.Contains(err.Error(), "did not make") {
		t.Errorf("a file of another's: %v", err)
	}
	must(t, os.Remove(own))
	must(t, os.Mkdir(filepath.Join(path, "inner"), 0o755))
	must(t, unix.Mount("tmpfs", filepath.Join(path, "inner"), "tmpfs", 0, "size=1m"))
	must(t, os.WriteFile(filepath.Join(path, "inner/precious"), nil, 0o644))
	if err := p.Discard(t.Context(), c); !errors.Is(err, clone.ErrBusy) {
		t.Errorf("something is mounted in the clone: %v", err)
	}
	if _, err := os.Stat(filepath.Join(path, "inner/precious")); err != nil {
		t.Error(err)
	}
	must(t, unix.Unmount(filepath.Join(path, "inner"), 0))
	must(t, p.Discard(t.Context(), c))
	// A directory with the name of a clone that another made is in the way.
	other := filepath.Join(dir, clonetest.ID(2).String())
	must(t, os.MkdirAll(filepath.Join(other, "data"), 0o755))
	if _, err := p.Create(t.Context(), clonetest.ID(2)); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("in the way: %v", err)
	}
	if err := p.Discard(t.Context(), clone.Clone{ID: clonetest.ID(2).String()}); err == nil {
		t.Error("another's directory was removed")
	}
}

// A lower tree that is gone, or another one at its place, is told by Mount and by Lower.Check.
func TestStaleLower(t *testing.T) {
	disk := clonetest.Disk(t, "xfs", 400<<20)
	tree, dir := filepath.Join(disk, "koji"), filepath.Join(disk, "clones")
	rpms := clonetest.Tree(t, tree, 3, 1<<20)
	p := open(t, overlay.Options{Dir: dir, Lower: tree, LiveLower: true})
	c, err := p.Create(t.Context(), clonetest.ID(1))
	must(t, err)
	must(t, os.Rename(tree, tree+"-before"))
	var stale *clone.StaleError
	if _, err := p.Mount(t.Context(), c); !errors.As(err, &stale) || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("a lower that is gone: %v", err)
	}
	clonetest.Tree(t, tree, 3, 1<<20)
	if _, err := p.Mount(t.Context(), c); !errors.As(err, &stale) || !strings.Contains(err.Error(), "was replaced") {
		t.Errorf("a lower that was replaced: %v", err)
	}
	must(t, os.RemoveAll(tree))
	must(t, os.Rename(tree+"-before", tree))
	path, err := p.Mount(t.Context(), c)
	must(t, err)
	info, err := os.Stat(filepath.Join(path, rpms[0]))
	must(t, err)
	made, err := os.Stat(filepath.Join(path, "..", "about.json"))
	must(t, err)
	if why := c.Lower.FileStale(rpms[0], info, made.ModTime()); why != "" {
		t.Errorf("an unchanged file: %q", why)
	}
	must(t, os.WriteFile(filepath.Join(tree, rpms[0]), []byte("new"), 0o644))
	if why := c.Lower.FileStale(rpms[0], info, made.ModTime()); !strings.Contains(why, "was replaced") {
		t.Errorf("a file that was replaced: %q", why)
	}
	must(t, os.Remove(filepath.Join(tree, rpms[0])))
	if why := c.Lower.FileStale(rpms[0], info, made.ModTime()); !strings.Contains(why, "is gone") {
		t.Errorf("a file that is gone: %q", why)
	}
	must(t, p.Discard(t.Context(), c))
}

// Wrong options are refused, each with the flag that would change it.
func TestOptions(t *testing.T) {
	for _, o := range []overlay.Options{{Lower: "/a"}, {Dir: "/a"}, {Dir: "a", Lower: "/b"}, {Dir: "/a,upperdir=/etc", Lower: "/b"}, {Dir: "/a b", Lower: "/b"}, {Dir: "/a:b", Lower: "/b"}} {
		if _, err := overlay.New(o); err == nil || !strings.Contains(err.Error(), "clones by overlay") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
