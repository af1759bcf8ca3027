package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestBadTopdir(t *testing.T) {
	t.Parallel()
	for _, b := range []bad{
		{"missing", func(t *testing.T, w *env) []string {
			w.pullOnce(t, "f42")
			return w.copyArgs("--topdir", filepath.Join(w.topdir, "missing"))
		}, 1, []string{"topdir", "missing"}},
		{"missing, and no source", func(t *testing.T, w *env) []string {
			w.pullOnce(t, "f42")
			return []string{"copy", "--store", w.store.String(), "--topdir", filepath.Join(w.topdir, "missing")}
		}, 1, []string{"topdir", "missing"}},
		{"the read-only volume itself", func(t *testing.T, w *env) []string {
			w.pullOnce(t, "f42")
			return w.copyArgs("--topdir", w.prodTree)
		}, 1, []string{"read-only volume"}},
		{"below the read-only volume", func(t *testing.T, w *env) []string {
			w.pullOnce(t, "f42")
			return w.copyArgs("--topdir", filepath.Join(w.prodTree, "repos"))
		}, 1, []string{"read-only volume"}},
		{"nothing mounted", func(t *testing.T, w *env) []string {
			w.pullOnce(t, "f42")
			empty := filepath.Join(filepath.Dir(w.prodTree), "mnt-prod")
			must(t, os.Mkdir(empty, 0o755))
			return []string{"copy", "--topdir", w.topdir, "--store", w.store.String(), "--source", empty}
		}, 1, []string{"mnt-prod: nothing is mounted there"}},
		{"a tree that is half restored", func(t *testing.T, w *env) []string {
			w.pullOnce(t, "f42")
			for _, pattern := range []string{"[a-k]*", "[p-z]*"} {
				gone, err := filepath.Glob(filepath.Join(w.prodTree, "packages", pattern))
				must(t, err)
				for _, dir := range gone {
					must(t, os.RemoveAll(dir))
				}
			}
			return w.copyArgs()
		}, 1, []string{"read-only volume", "is not the tree of this snapshot, or not all of it: of "}},
		{"a toplink that leads elsewhere", func(t *testing.T, w *env) []string {
			w.pullOnce(t, "f42")
			must(t, os.MkdirAll(filepath.Join(w.topdir, "vol/staged/packages"), 0o755))
			must(t, os.Symlink("..", filepath.Join(w.topdir, "vol/staged/toplink")))
			return w.copyArgs()
		}, 1, []string{"vol/staged/toplink", "does not lead to topdir"}},
		{"no source", func(t *testing.T, w *env) []string {
			w.pullOnce(t, "f42")
			return []string{"copy", "--topdir", w.topdir, "--store", w.store.String()}
		}, 1, []string{"--source"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			w := newHubEnv(t)
			w.addTree(t)
			b.check(t, w)
		})
	}
}

// TestFullTopdir fills a real file system. The build that did not fit is not there at all;
// with room again, the same command completes.
func TestFullTopdir(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	w.addTree(t)
	w.pullOnce(t, "f42")
	const size = 600 << 10
	if err := syscall.Mount("tmpfs", w.topdir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(w.topdir, syscall.MNT_DETACH)) })
	o := kojisnapRun(t, w.copyArgs()...)
	if o.code != 1 || !strings.Contains(o.stderr, "full") || !strings.Contains(o.stderr, w.topdir) {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	must(t, syscall.Mount("tmpfs", w.topdir, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	succeed(t, w.copyArgs()...)
	if o := kojisnapRun(t, w.copyArgs("--dry-run")...); o.code != 0 {
		t.Errorf("after completing: exit code %d\n%s", o.code, o.stdout)
	}
}

// TestDamagedSource flips a byte of an rpm at production: code 6, its name, and the file is
// not there.
func TestDamagedSource(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	w.addTree(t)
	w.pullOnce(t, "f42")
	const rpm = "packages/filesystem/3.18/36.fc42/x86_64/filesystem-3.18-36.fc42.x86_64.rpm"
	path := filepath.Join(w.prodTree, rpm)
	body, err := os.ReadFile(path)
	must(t, err)
	body[len(body)-10] ^= 0xff
	must(t, os.WriteFile(path, body, 0o644))
	o := kojisnapRun(t, w.copyArgs()...)
	if o.code != 6 || !strings.Contains(o.stderr, "filesystem-3.18-36.fc42.x86_64.rpm") {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if _, err := os.Stat(filepath.Join(w.topdir, "vol/staged", rpm)); err == nil {
		t.Error("the damaged rpm is visible")
	}
}
