package kojisnap_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/hardlink/shard"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/pull/pulltest"
)

// files are the files below a directory, each with its size and time; symlinks with their targets.
func files(t testing.TB, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	pulltest.Must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[rel] = info.Mode().Type().String() + " " + info.ModTime().String()
		if d.Type()&fs.ModeSymlink != 0 {
			all[rel], err = os.Readlink(path)
		}
		return err
	}))
	return all
}

// TestCopyAll: a copy of all builds has each file of each build as a regular one, and says that each shard is whole; the next one has
// nothing to do.
func TestCopyAll(t *testing.T) {
	from := pulltest.NewSource(t, "f42")
	s := pulltest.NewStore(t)
	o := kojisnap.CopyOptions{Topdir: filepath.Join(t.TempDir(), "koji"), Sources: []string{from.Prod}, WritableSource: true}
	pulltest.Must(t, os.Mkdir(o.Topdir, 0o755))
	logs := filepath.Join(from.Prod, "packages/bash/5.3.0/2.fc42/data/logs/x86_64")
	pulltest.Must(t, os.MkdirAll(logs, 0o755))
	pulltest.Must(t, os.WriteFile(filepath.Join(logs, "build.log"), []byte("built\n"), 0o644))
	r, err := kojisnap.CopyShards(t.Context(), from.Snap, s, o, shard.Part{})
	if err != nil {
		t.Fatalf("%v\n%+v", err, r)
	}
	if r.Done == 0 || r.Done != len(r.Shards) || r.Have != r.Plan || r.Plan.Files == 0 {
		t.Errorf("%+v", r)
	}
	there, here := files(t, filepath.Join(from.Prod, "packages/bash/5.3.0")), files(t, filepath.Join(o.Topdir, "vol/staged/packages/bash/5.3.0"))
	for path, what := range there {
		if here[path] != what {
			t.Errorf("%s: %s in place of %s", path, here[path], what)
		}
	}
	for path := range here {
		if there[path] == "" {
			t.Errorf("%s is not production's", path)
		}
	}
	if to, err := os.Readlink(filepath.Join(o.Topdir, "packages/bash/5.3.0/2.fc42")); !strings.Contains(to, "vol/staged/") {
		t.Errorf("symlink to %q, %v", to, err)
	}
	before := files(t, filepath.Join(o.Topdir, ".kojisnap"))
	r, err = kojisnap.CopyShards(t.Context(), from.Snap, s, o, shard.Part{})
	pulltest.Must(t, err)
	for _, one := range r.Shards {
		if !one.Skipped || !one.Done {
			t.Errorf("again: %+v", one)
		}
	}
	for path, what := range files(t, filepath.Join(o.Topdir, ".kojisnap")) {
		if before[path] != what && !strings.HasSuffix(path, ".lock") {
			t.Errorf("%s was written again", path)
		}
	}
}
