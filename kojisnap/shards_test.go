package kojisnap_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
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

// TestCopyAllAfterTags: builds that a copy of tags made move to the shards; from then on a copy of tags, and the removal of what it no
// longer wants, leave them alone, also if a kill left them in both ledgers; and a load still knows that they were copied.
func TestCopyAllAfterTags(t *testing.T) {
	from := pulltest.NewSource(t, "f42")
	s := pulltest.NewStore(t)
	o := kojisnap.CopyOptions{Topdir: filepath.Join(t.TempDir(), "koji"), Sources: []string{from.Prod}, WritableSource: true}
	pulltest.Must(t, os.Mkdir(o.Topdir, 0o755))
	tags, err := kojisnap.Copy(t.Context(), from.Snap, s, o)
	pulltest.Must(t, err)
	path := filepath.Join(o.Topdir, ledger.File)
	old, err := os.ReadFile(path)
	pulltest.Must(t, err)
	r, err := kojisnap.CopyShards(t.Context(), from.Snap, s, o, shard.Part{})
	pulltest.Must(t, err)
	moved := 0
	for _, one := range r.Shards {
		moved += one.Moved
	}
	if moved != tags.Report.Builds || moved == 0 {
		t.Errorf("%d builds of %d moved", moved, tags.Report.Builds)
	}
	all, known, err := kojisnap.Staged(t.Context(), s, "", o.Topdir)
	if err != nil || !known || len(all) != r.Builds {
		t.Errorf("%d builds of %d are known as copied: %v", len(all), r.Builds, err)
	}
	if elsewhere, _, err := kojisnap.Staged(t.Context(), s, "", ""); err != nil || len(elsewhere) != len(all) {
		t.Errorf("the store knows %d builds of %d: %v", len(elsewhere), len(all), err)
	}
	have := files(t, filepath.Join(o.Topdir, "vol/staged/packages"))
	o.Leave = true
	for _, killed := range []bool{false, true} {
		if killed {
			pulltest.Must(t, os.WriteFile(path, old, 0o644))
		}
		o.Audit = killed
		again, err := kojisnap.Copy(t.Context(), from.Snap, s, o)
		pulltest.Must(t, err)
		if again.Report.Builds > 0 || len(again.Actions.Kept) > 0 || len(again.Actions.Leaving) > 0 || len(again.Actions.Links) > 0 {
			t.Errorf("killed %v: %+v", killed, again.Actions)
		}
		gone, err := kojisnap.Remove(t.Context(), from.Snap, s, o)
		pulltest.Must(t, err)
		if gone.Report.Removed > 0 || len(gone.Actions.RemoveLinks) > 0 {
			t.Errorf("killed %v: %+v", killed, gone.Report)
		}
		if !maps.Equal(have, files(t, filepath.Join(o.Topdir, "vol/staged/packages"))) {
			t.Errorf("killed %v: files changed", killed)
		}
	}
	if r, err = kojisnap.ShardsStatus(t.Context(), from.Snap, s, o, shard.Part{}); err != nil || r.Done != len(r.Shards) {
		t.Errorf("%+v, %v", r, err)
	}
	// Of a topdir that is not mounted, the store knows that builds were copied there.
	o.Topdir = t.TempDir()
	pulltest.Must(t, s.Delete(t.Context(), "ledgers/staging"))
	if _, err := kojisnap.CopyShards(t.Context(), from.Snap, s, o, shard.Part{}); err == nil || !strings.Contains(err.Error(), "is it mounted?") {
		t.Errorf("%v", err)
	}
}

// TestCopyAllNotDone: what is lost in production leaves its shard not whole, which says so by name, and nothing else.
func TestCopyAllNotDone(t *testing.T) {
	from := pulltest.NewSource(t, "f42")
	s := pulltest.NewStore(t)
	o := kojisnap.CopyOptions{Topdir: filepath.Join(t.TempDir(), "koji"), Sources: []string{from.Prod}, WritableSource: true}
	pulltest.Must(t, os.Mkdir(o.Topdir, 0o755))
	if _, err := kojisnap.ShardsStatus(t.Context(), from.Snap, s, o, shard.Part{}); !errors.Is(err, shard.ErrNoPlan) {
		t.Errorf("without a plan: %v", err)
	}
	const bash = "packages/bash/5.3.0/2.fc42"
	pulltest.Must(t, os.Rename(filepath.Join(from.Prod, bash), filepath.Join(from.Prod, "elsewhere")))
	r, err := kojisnap.CopyShards(t.Context(), from.Snap, s, o, shard.Part{})
	var notDone *kojisnap.NotDoneError
	var left *hardlink.LeftOutError
	if !errors.As(err, &notDone) || !errors.As(err, &left) || len(r.Left) != 1 || !slices.Equal(notDone.Left, r.Left) || len(r.Held) == 0 || r.Have.Files >= r.Plan.Files {
		t.Errorf("%v\n%+v", err, r)
	}
	for _, h := range r.Held {
		if h.Name != "bash-5.3.0-2.fc42" {
			t.Errorf("held: %+v", h)
		}
	}
	status, err := kojisnap.ShardsStatus(t.Context(), from.Snap, s, o, shard.Part{})
	if !errors.As(err, &notDone) || !slices.Equal(status.Left, r.Left) || status.Have != r.Have {
		t.Errorf("%v\n%+v\n%+v", err, status, r)
	}
	pulltest.Must(t, os.Rename(filepath.Join(from.Prod, "elsewhere"), filepath.Join(from.Prod, bash)))
	if r, err = kojisnap.CopyShards(t.Context(), from.Snap, s, o, shard.Part{}); err != nil || r.Done != len(r.Shards) {
		t.Errorf("%v\n%+v", err, r)
	}
}
