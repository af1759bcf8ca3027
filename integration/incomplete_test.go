package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIncompleteSource takes a file from production's tree, and damages one of another build. A
// sync names both and goes on: those builds stay on the read-only volume, in the database as on
// DEFAULT, and all the others are loaded and copied. With the files there again, it completes.
func TestIncompleteSource(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	const (
		missing = "packages/bash/5.3.0/2.fc42/x86_64/bash-5.3.0-2.fc42.x86_64.rpm"
		damaged = "packages/filesystem/3.18/36.fc42/x86_64/filesystem-3.18-36.fc42.x86_64.rpm"
	)
	signed := func(path string) []string {
		dir, file := filepath.Split(path)
		paths, err := filepath.Glob(filepath.Join(w.prodTree, filepath.Dir(filepath.Clean(dir)), "data/signed/*", filepath.Base(dir), file))
		must(t, err)
		return append(paths, filepath.Join(w.prodTree, path))
	}
	kept := map[string][]byte{}
	for _, path := range append(signed(missing), signed(damaged)...) {
		body, err := os.ReadFile(path)
		must(t, err)
		kept[path] = body
		if strings.HasSuffix(path, filepath.Base(missing)) {
			must(t, os.Remove(path))
			continue
		}
		bad := append([]byte(nil), body...)
		bad[len(bad)-10] ^= 0xff
		must(t, os.WriteFile(path, bad, 0o644))
	}
	stand := func(bash, filesystem, setup string) {
		t.Helper()
		on := w.checkSymlinks(t)
		for nvr, want := range map[string]string{"bash/5.3.0/2.fc42": bash, "filesystem/3.18/36.fc42": filesystem, "setup/2.15.0/5.fc42": setup} {
			if on[nvr] != want {
				t.Errorf("%s stands on %q, want %q", nvr, on[nvr], want)
			}
		}
	}

	o := kojisnapRun(t, "sync", "-c", c, "--no-verify")
	if o.code != 6 || strings.Count(o.stderr, "\n") != 4 || !strings.Contains(o.stderr, filepath.Base(missing)) || !strings.Contains(o.stderr, filepath.Base(damaged)) {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	stand("prod", "prod", "staged")

	for path, body := range kept {
		if strings.HasSuffix(path, filepath.Base(damaged)) {
			must(t, os.WriteFile(path, body, 0o644))
		}
	}
	if o := kojisnapRun(t, "copy", "-c", c); o.code != 3 || strings.Count(o.stderr, "\n") != 3 || !strings.Contains(o.stderr, filepath.Base(missing)) {
		t.Errorf("with a file missing: exit code %d: %s", o.code, o.stderr)
	}
	for path, body := range kept {
		must(t, os.WriteFile(path, body, 0o644))
	}
	succeed(t, "sync", "-c", c, "--no-verify")
	stand("staged", "staged", "staged")
}
