package integration_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
)

// TestRenamedVolume: production renames a volume. The next sync leads everything there, that which leads
// through the old name, too, and tells.
func TestRenamedVolume(t *testing.T) {
	t.Parallel()
	for name, builds := range map[string]string{"not copied": "latest", "copied": "tagged"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLoadedEnv(t)
			c := w.config(t, "f42-compose")
			succeed(t, "sync", "-c", c, "--no-verify", "--builds", builds)
			if left := w.dangling(t); len(left) > 0 {
				t.Fatalf("before: %q", left)
			}
			w.update(t, "volume", hubtest.Values{"name": "archive01"}, hubtest.Values{"name": "cold"})
			must(t, os.Rename(filepath.Join(w.prodTree, "vol/archive01"), filepath.Join(w.prodTree, "vol/cold")))
			for _, link := range glob(t, filepath.Join(w.prodTree, "packages/*/*/*")) {
				if target, err := os.Readlink(link); err == nil && strings.Contains(target, "vol/archive01/") {
					must(t, os.Remove(link))
					must(t, os.Symlink(strings.Replace(target, "archive01", "cold", 1), link))
				}
			}
			o := kojisnapRun(t, "sync", "-c", c, "--no-verify", "--builds", builds)
			if o.code != 0 || strings.Count(o.stderr, "vol/prod_archive01/packages") != 1 || strings.Contains(o.stderr, "renamed a volume") != (builds == "latest") {
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}
			if left := w.dangling(t); len(left) > 0 {
				t.Errorf("dangling: %q", left)
			}
			succeed(t, "sync", "-c", c, "--no-verify", "--builds", builds)
		})
	}
}

// dangling returns the symlinks below topdir without an existing target, except those of builds that have no
// directory at production.
func (w *env) dangling(t *testing.T) (left []string) {
	t.Helper()
	must(t, filepath.WalkDir(w.topdir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink || strings.Contains(path, "legacy-empty") {
			return err
		}
		if _, err := os.Stat(path); err != nil {
			left = append(left, path)
		}
		return nil
	}))
	return left
}
