package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// bind mounts a directory at another place for the time of the test.
func bind(t *testing.T, from, at string) (undo func()) {
	t.Helper()
	must(t, os.MkdirAll(from, 0o755))
	must(t, os.MkdirAll(at, 0o755))
	if err := syscall.Mount(from, at, "", syscall.MS_BIND, ""); err != nil {
		t.Skip("no mounts here: ", err)
	}
	mounted := true
	undo = func() {
		if mounted {
			must(t, syscall.Unmount(at, syscall.MNT_DETACH))
		}
		mounted = false
	}
	t.Cleanup(undo)
	return undo
}

// TestPackagesApart: DEFAULT's packages is a mount, or a symlink to a directory whose ../../../vol is
// topdir's. kojisnap writes only symlinks there, so this works, in the first run and in those that change and
// remove symlinks.
func TestPackagesApart(t *testing.T) {
	t.Parallel()
	for name, apart := range seedtest.SomeOf(map[string]func(t *testing.T, w *env, disk string) (away func()){
		"a mount": func(t *testing.T, w *env, disk string) func() {
			return bind(t, disk, filepath.Join(w.topdir, "packages"))
		},
		"a mount of another file system": func(t *testing.T, w *env, disk string) func() {
			undo := bind(t, disk, filepath.Join(w.topdir, "packages"))
			if err := syscall.Mount("tmpfs", filepath.Join(w.topdir, "packages"), "tmpfs", 0, "size=16m"); err != nil {
				t.Skip(err)
			}
			over := true
			unmount := func() {
				if over {
					must(t, syscall.Unmount(filepath.Join(w.topdir, "packages"), 0))
				}
				over = false
			}
			t.Cleanup(unmount)
			return func() { unmount(); undo() }
		},
		"a symlink in topdir": func(t *testing.T, w *env, disk string) func() {
			must(t, os.Mkdir(filepath.Join(w.topdir, "packages-2"), 0o755))
			must(t, os.Symlink("packages-2", filepath.Join(w.topdir, "packages")))
			return nil
		},
		"a symlink to a disk with vol": func(t *testing.T, w *env, disk string) func() {
			must(t, os.MkdirAll(filepath.Join(disk, "packages"), 0o755))
			must(t, os.Mkdir(filepath.Join(w.topdir, "vol"), 0o755))
			must(t, os.Symlink(filepath.Join(w.topdir, "vol"), filepath.Join(disk, "vol")))
			must(t, os.Symlink(filepath.Join(disk, "packages"), filepath.Join(w.topdir, "packages")))
			return nil
		},
	}, 2) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newMarkedEnv(t)
			away := apart(t, w, filepath.Join(t.TempDir(), "disk"))
			c := w.config(t, "f42-compose")
			succeed(t, "doctor", "-c", c)
			succeed(t, "sync", "-c", c)
			w.checkSymlinks(t)
			again := []string{"sync", "-c", c}
			if !seedtest.Long() { // the first sync's verify has looked
				again = append(again, "--no-verify")
			}
			// Symlinks are switched, and those that were broken are made again.
			link := filepath.Join(w.topdir, "packages/bash/5.3.0/2.fc42")
			must(t, os.Remove(link))
			if o := kojisnapRun(t, again...); o.code != 0 || !strings.Contains(o.stderr, "bash/5.3.0/2.fc42") {
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}
			succeed(t, removing(t, append(again[:len(again):len(again)], "--builds", "none")...)...)
			if o := kojisnapRun(t, append(again[:len(again):len(again)], "--owner", "nobody", "--mode", "0644")...); o.code != 0 {
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}
			w.checkSymlinks(t)
			if left := glob(t, filepath.Join(w.topdir, "packages/.*"), filepath.Join(w.topdir, "vol/staged/.kojisnap-tmp*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
			if away == nil {
				return
			}
			away()
			if o := kojisnapRun(t, "sync", "-c", c); o.code != 1 || !strings.Contains(o.stderr, "is it mounted?") || len(glob(t, filepath.Join(w.topdir, "packages/*"))) > 0 {
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}
		})
	}
}

// TestLayoutRefused: a layout with which no run can work is refused by doctor, and by sync and copy before
// anything is pulled or written, with what is wrong and what to do.
func TestLayoutRefused(t *testing.T) {
	t.Parallel()
	for name, c := range seedtest.SomeOf(map[string]struct {
		lay  func(t *testing.T, w *env, disk string)
		says string
	}{
		"vol is a mount": {func(t *testing.T, w *env, disk string) { bind(t, disk, filepath.Join(w.topdir, "vol")) }, "vol is another mount"},
		"vol is a symlink": {func(t *testing.T, w *env, disk string) {
			must(t, os.Mkdir(disk, 0o755))
			must(t, os.Symlink(disk, filepath.Join(w.topdir, "vol")))
		}, "vol is a symlink"},
		"the copy volume is a mount": {func(t *testing.T, w *env, disk string) { bind(t, disk, filepath.Join(w.topdir, "vol/staged")) }, "vol/staged is another mount"},
		"its packages is a symlink": {func(t *testing.T, w *env, disk string) {
			must(t, os.MkdirAll(filepath.Join(w.topdir, "vol/staged"), 0o755))
			must(t, os.Symlink(disk, filepath.Join(w.topdir, "vol/staged/packages")))
		}, "vol/staged/packages is a symlink"},
		"packages leads where vol is another": {func(t *testing.T, w *env, disk string) {
			must(t, os.MkdirAll(filepath.Join(disk, "packages"), 0o755))
			must(t, os.Symlink(filepath.Join(disk, "packages"), filepath.Join(w.topdir, "packages")))
		}, "mount --bind"},
		"packages leads nowhere": {func(t *testing.T, w *env, disk string) {
			must(t, os.Symlink(disk, filepath.Join(w.topdir, "packages")))
		}, "leads nowhere"},
		"packages is production's": {func(t *testing.T, w *env, disk string) {
			must(t, os.MkdirAll(filepath.Join(w.prodTree, "packages/sub"), 0o755))
			bind(t, filepath.Join(w.prodTree, "packages/sub"), filepath.Join(w.topdir, "packages"))
		}, "a part of the read-only volume"},
		"packages leads into production's": {func(t *testing.T, w *env, disk string) {
			must(t, os.MkdirAll(filepath.Join(w.prodTree, "sub"), 0o755))
			must(t, os.Symlink(filepath.Join(w.prodTree, "sub"), filepath.Join(w.topdir, "packages")))
		}, "in the read-only volume"},
	}, 4) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newMarkedEnv(t)
			c.lay(t, w, filepath.Join(t.TempDir(), "disk"))
			config := w.config(t, "f42-compose")
			before := w.state(t)
			for args, code := range map[string]int{"sync": 1, "doctor": 3} {
				o := kojisnapRun(t, args, "-c", config)
				must(t, os.RemoveAll(filepath.Join(w.store.String(), "doctor")))
				if o.code != code || !strings.Contains(o.stdout+o.stderr, c.says) || !strings.Contains(o.stdout+o.stderr, w.topdir) {
					t.Errorf("%s: exit code %d, want %q: %s%s", args, o.code, c.says, o.stdout, o.stderr)
				}
			}
			if after := w.state(t); after != before {
				t.Error(firstDifference(before, after))
			}
			w.pullOnce(t, "f42-compose")
			before = w.state(t)
			if o := kojisnapRun(t, w.copyArgs("--tag", "f42-compose")...); o.code != 1 || !strings.Contains(o.stderr, c.says) {
				t.Errorf("copy: exit code %d: %s", o.code, o.stderr)
			}
			if after := w.state(t); after != before {
				t.Error(firstDifference(before, after))
			}
		})
	}
}
