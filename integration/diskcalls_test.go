package integration_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub"
	"kojisnap/volumes"
)

// onDisk is a complete build as a hub has it, with its directory below that hub's topdir.
type onDisk struct {
	id                int64
	volume, dir, real string
}

// diskBuilds are the complete builds of a hub by N-V-R.
func diskBuilds(t *testing.T, c *hub.Client, topdir string) map[string]onDisk {
	t.Helper()
	list, err := c.Call(t.Context(), hub.Call{Method: "listBuilds", Kwargs: map[string]any{"state": 1}})
	must(t, err)
	builds := map[string]onDisk{}
	for _, b := range list.Items() {
		id, _ := b.Field("build_id").Int()
		text := func(name string) string { s, _ := b.Field(name).Str(); return s }
		dir, err := volumes.Build{Volume: text("volume_name"), Name: text("name"), Version: text("version"), Release: text("release")}.Dir()
		must(t, err)
		builds[text("nvr")] = onDisk{id: id, volume: text("volume_name"), dir: dir, real: filepath.Join(topdir, dir)}
	}
	return builds
}

// logsOf are the logs that a hub lists of a build: their names, and what a download by each path gives.
func logsOf(t *testing.T, c *hub.Client, topdir string, b onDisk) (logs []string) {
	t.Helper()
	v, err := c.Call(t.Context(), hub.Call{Method: "getBuildLogs", Args: []any{b.id}})
	must(t, err)
	for _, l := range v.Items() {
		text := func(name string) string { s, _ := l.Field(name).Str(); return s }
		body, err := os.ReadFile(filepath.Join(topdir, text("path")))
		must(t, err)
		below, ok := strings.CutPrefix(text("path"), b.dir+"/data/logs/")
		logs = append(logs, fmt.Sprintf("%s %s %s %v %x", text("dir"), text("name"), below, ok, sha256.Sum256(body)))
	}
	return logs
}

// filesOf returns a digest for each file below a build's directory, by path. It enters directories that are
// symlinks, as a reader that opens paths does.
func filesOf(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if os.IsNotExist(err) {
			return
		}
		must(t, err)
		for _, e := range entries {
			p := filepath.Join(dir, e.Name())
			info, err := os.Stat(filepath.Join(root, p))
			must(t, err)
			if info.IsDir() {
				walk(p)
				continue
			}
			body, err := os.ReadFile(filepath.Join(root, p))
			must(t, err)
			all[p] = fmt.Sprintf("%d %s %x", info.Size(), info.ModTime().UTC(), sha256.Sum256(body))
		}
	}
	walk(".")
	return all
}

// TestDiskCalls asks production's and staging's hub for what they read from the disk: getBuildLogs, which
// walks, and each file that calls open by its path in a build (getRPMHeaders, getRPMDeps, listRPMFiles,
// getRPMFile, getRPMChecksums, listArchiveFiles, writeSignedRPM, dist repos). They answer alike for builds
// that are copied, on the read-only volume, and on one of production's other volumes; and as ever for
// staging's own. So they do where an earlier version had made the copies.
func TestDiskCalls(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	// Production's builds have logs as kojid leaves them; those on another volume, too.
	logged := 0
	for _, at := range glob(t, filepath.Join(w.prodTree, "packages/*/*/*"), filepath.Join(w.prodTree, "vol/*/packages/*/*/*")) {
		if info, err := os.Lstat(at); err != nil || !info.IsDir() {
			continue
		}
		for _, p := range []string{"cg_import.log", "x86_64/build.log", "x86_64/root.log", "noarch/noarch_rpmdiff.json"} {
			path := filepath.Join(at, "data/logs", p)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte(at+p), 0o644))
		}
		logged++
	}
	if logged < 40 {
		t.Fatalf("only %d builds with logs", logged)
	}
	// What os.walk passes over at production, it passes over here.
	one := glob(t, filepath.Join(w.prodTree, "packages/coreutils/*/*/data/logs"))[0]
	must(t, os.Symlink("x86_64/build.log", filepath.Join(one, "link.log")))
	must(t, os.Symlink("x86_64", filepath.Join(one, "linked")))

	tags := activeTags(t, w.prod)
	snap := w.pull(t, lastEvent, tags...)
	w.copy(t, snap, compose.Want{Tags: []string{"f42-compose"}, SigKeys: []string{"41526f0e", ""}})
	w.load(t, snap)
	// A build of staging's own.
	dbtest.Exec(t, w.dsn, `INSERT INTO package (name) VALUES ('stg-own');
		INSERT INTO build (pkg_id, version, release, state, owner, volume_id, completion_time)
		SELECT id, '1', '1', 1, 1, 0, now() FROM package WHERE name = 'stg-own'`)
	own := filepath.Join(w.topdir, "packages/stg-own/1/1/data/logs/x86_64")
	must(t, os.MkdirAll(own, 0o755))
	must(t, os.WriteFile(filepath.Join(own, "build.log"), []byte("ours"), 0o644))

	prod, staging := diskBuilds(t, w.prod, w.prodTree), diskBuilds(t, w.staging, w.topdir)
	kinds := map[string]int{}
	for nvr, p := range prod {
		s, ok := staging[nvr]
		if !ok {
			continue // out of scope
		}
		want, have := logsOf(t, w.prod, w.prodTree, p), logsOf(t, w.staging, w.topdir, s)
		if strings.Contains(strings.Join(want, "\n"), "link") {
			t.Errorf("production's hub lists a symlink: %q", want)
		}
		if !slices.Equal(want, have) {
			t.Errorf("getBuildLogs(%s), on %s: %q, production has %q", nvr, s.volume, have, want)
		}
		wantFiles, haveFiles := filesOf(t, p.real), filesOf(t, s.real)
		for path, is := range wantFiles {
			if haveFiles[path] != is {
				t.Errorf("%s, on %s: %s is %q, at production %q", nvr, s.volume, path, haveFiles[path], is)
			}
		}
		if len(haveFiles) != len(wantFiles) {
			t.Errorf("%s, on %s: %d files, production has %d", nvr, s.volume, len(haveFiles), len(wantFiles))
		}
		if len(want) > 0 {
			kinds[s.volume+" of "+p.volume]++
		}
	}
	t.Logf("builds with logs: %v", kinds)
	for _, kind := range []string{"staged of DEFAULT", "staged of ssd02", "prod of DEFAULT", "prod_archive01 of archive01"} {
		if kinds[kind] == 0 {
			t.Errorf("no build %s has logs: %v", kind, kinds)
		}
	}
	if have := logsOf(t, w.staging, w.topdir, staging["stg-own-1-1"]); len(have) != 1 || !strings.HasPrefix(have[0], "x86_64 build.log x86_64/build.log true") {
		t.Errorf("staging's own build has the logs %q", have)
	}
	// A copy's logs are production's own, by one symlink.
	for _, at := range glob(t, filepath.Join(w.topdir, "vol/staged/packages/*/*/*/data/logs")) {
		if info, err := os.Lstat(at); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s: %v, %v", at, info, err)
		}
	}
}
