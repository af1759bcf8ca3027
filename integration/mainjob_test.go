package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/verify"
)

// config is the configuration of a sync, as an operator has it.
func (w *env) config(t testing.TB, tags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kojisnap.toml")
	must(t, os.WriteFile(path, []byte(fmt.Sprintf(`
env    = "stg"
store  = %q
db     = %q
topdir = %q
[pull]
hub   = %q
%stag   = ["%s"]
event = %d
[copy]
source = [%q]
writable-source = true # a directory of this machine
sigkey = ["41526f0e", ""]
[verify]
hub    = %q
sigkey = ["41526f0e", ""]
`, w.store, w.dsn, w.topdir, w.prodURL, w.contact(), strings.Join(tags, `", "`), lastEvent, w.prodTree, w.stagingURL)), 0o644))
	return path
}

// readOnly mounts production's tree read-only, as operators do, and gives back where.
func (w *env) readOnly(t testing.TB) string {
	t.Helper()
	if err := syscall.Mount(w.prodTree, w.prodTree, "", syscall.MS_BIND, ""); err != nil {
		t.Logf("production's tree is not mounted read-only: %v", err)
		return w.prodTree
	}
	t.Cleanup(func() { must(t, syscall.Unmount(w.prodTree, syscall.MNT_DETACH)) })
	must(t, syscall.Mount("", w.prodTree, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	return w.prodTree
}

// TestMainJob is what a release engineer does on the first day, command by command, and what
// the schedule does from then on.
func TestMainJob(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.readOnly(t)
	c := w.config(t, "f42-compose")

	// Dry runs say what is pending by their exit code, and change nothing.
	before := w.state(t)
	for _, args := range [][]string{{"init", "-c", c, "--dry-run"}, {"pull", "-c", c, "-n"}, {"sync", "-c", c, "--test"}} {
		if o := kojisnapRun(t, args...); o.code != 3 || o.stdout == "" || o.stderr != "" {
			t.Errorf("%v: exit code %d, %q, %q", args, o.code, o.stdout, o.stderr)
		}
	}
	if after := w.state(t); after != before {
		t.Errorf("a dry run changed something: %s", firstDifference(before, after))
	}

	if out := succeed(t, "init", "-c", c); out != "" {
		t.Errorf("init printed %q", out)
	}
	id := strings.TrimSuffix(succeed(t, "pull", "-c", c), "\n")
	if !regexp.MustCompile(`^419-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("pull printed %q", id)
	}
	if again := succeed(t, "pull", "-c", c); again != id+"\n" {
		t.Errorf("the same rows are another snapshot: %q, %q", id, again)
	}
	for _, args := range [][]string{{"copy", "-c", c, "-n"}, {"load", "-c", c, "-n"}} {
		if o := kojisnapRun(t, args...); o.code != 3 || o.stdout == "" {
			t.Errorf("%v: exit code %d, %q, %q", args, o.code, o.stdout, o.stderr)
		}
	}
	if o := kojisnapRun(t, "verify", "-c", c); o.code != 3 || !strings.Contains(o.stdout, "failed") {
		t.Errorf("verify before the load: exit code %d, %q, %q", o.code, o.stdout, o.stderr)
	}
	succeed(t, "copy", "-c", c)
	succeed(t, "load", "-c", c, "--snapshot", id)
	compose := filepath.Join(filepath.Dir(w.topdir), "compose")
	if out := succeed(t, "verify", "-c", c, "--compose", compose); out != "" {
		t.Errorf("verify of what is ready printed %q", out)
	}
	var result verify.Result
	must(t, json.Unmarshal([]byte(succeed(t, "verify", "-c", c, "--json")), &result))
	if !result.Ready() || len(result.Checks) < 10 || result.Event != lastEvent {
		t.Errorf("verify --json: %+v", result)
	}

	// Staging's people make something of their own; the schedule runs; all of it stays.
	dbtest.Exec(t, w.dsn, `
		INSERT INTO tag (name) VALUES ('f42-my-test');
		INSERT INTO tag_config (tag_id, arches, creator_id) SELECT id, 'x86_64', (SELECT min(id) FROM users WHERE name = 'stgadmin') FROM tag WHERE name = 'f42-my-test';
		INSERT INTO tag_packages (package_id, tag_id, creator_id) SELECT p.id, t.id, u.id FROM package p, tag t, users u WHERE p.name = 'bash' AND t.name = 'f42-my-test' AND u.name = 'stgadmin';
		INSERT INTO build (volume_id, pkg_id, version, release, state, completion_time, owner) SELECT 0, p.id, '99', '1.stg', 1, now(), u.id FROM package p, users u WHERE p.name = 'bash' AND u.name = 'stgadmin';
		INSERT INTO tag_listing (build_id, tag_id, creator_id) SELECT b.id, t.id, u.id FROM build b, tag t, users u WHERE b.release = '1.stg' AND t.name = 'f42-my-test' AND u.name = 'stgadmin'`)
	own := filepath.Join(w.topdir, "packages/bash/99/1.stg")
	must(t, os.MkdirAll(own, 0o755))
	must(t, os.WriteFile(filepath.Join(own, "mine"), []byte("mine"), 0o644))
	before = w.state(t)
	if out := succeed(t, "sync", "-c", c); out != "" {
		t.Errorf("a sync that changed nothing printed %q", out)
	}
	if o := kojisnapRun(t, "sync", "-c", c, "-n"); o.code != 0 || o.stderr != "" {
		t.Errorf("sync --dry-run with nothing pending: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if after := w.state(t); after != before {
		t.Errorf("a sync without news changed something: %s", firstDifference(before, after))
	}

	// Production goes on: a build is tagged, another untagged, at new events.
	staging := w.database(t, "t::text LIKE '%1.stg%' OR t::text LIKE '%f42-my-test%'")
	must(t, w.prodRows.Insert("events", hubtest.Values{"id": 420, "time": "2026-11-21 01:00:00+00"}))
	latest := w.untagLatest(t, 420)
	succeed(t, "sync", "-c", c, "--event", "420")
	if now := w.database(t, "t::text LIKE '%1.stg%' OR t::text LIKE '%f42-my-test%'"); now != staging {
		t.Errorf("staging's own rows changed: %s", firstDifference(staging, now))
	}
	var status struct{ Event int64 }
	must(t, json.Unmarshal([]byte(succeed(t, "status", "-c", c, "--json")), &status))
	if status.Event != 420 {
		t.Errorf("status: event %d", status.Event)
	}
	// The hub names production's files of it at once; the copy is for composes that run.
	copied := filepath.Join(w.topdir, "vol/staged/packages", latest)
	if _, err := os.Lstat(copied); err != nil {
		t.Errorf("within --keep-days: %v", err)
	}
	if target, err := os.Readlink(filepath.Join(w.topdir, "packages", latest)); err != nil || strings.Contains(target, "staged") {
		t.Errorf("DEFAULT leads to %q, %v", target, err)
	}
	succeed(t, removing(t, "sync", "-c", c, "--event", "420")...)
	if info, err := os.Lstat(copied); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the copy of %s, which no compose needs any longer, is still there: %v", latest, err)
	} else if _, err := os.Stat(filepath.Join(copied, "src")); err != nil { // composes pinned at an older event have the path
		t.Error(err)
	}
	if body, err := os.ReadFile(filepath.Join(own, "mine")); err != nil || string(body) != "mine" {
		t.Errorf("staging's own file: %q, %v", body, err)
	}
	lines := strings.Count(succeed(t, "snapshots", "-c", c), "\n")
	if lines != 3 {
		t.Errorf("%d snapshots, want 3", lines)
	}
	succeed(t, "show", "latest", "-c", c)
}

// untagLatest untags, in production at event, a build that is the only one of its package, and
// returns its path below packages. Some packages it does not take.
func (w *env) untagLatest(t testing.TB, event int, not ...string) string {
	t.Helper()
	listing, err := w.prodRows.Select("tag_listing", hubtest.Values{"tag_id": 2, "active": true})
	must(t, err)
	for _, l := range listing {
		build, err := w.prodRows.Select("build", hubtest.Values{"id": l["build_id"]})
		must(t, err)
		of, err := w.prodRows.Select("build", hubtest.Values{"pkg_id": build[0]["pkg_id"]})
		must(t, err)
		tags, err := w.prodRows.Select("tag_listing", hubtest.Values{"build_id": l["build_id"], "active": true})
		must(t, err)
		if len(of) != 1 || len(tags) != 1 {
			continue
		}
		pkg, err := w.prodRows.Select("package", hubtest.Values{"id": build[0]["pkg_id"]})
		must(t, err)
		if slices.Contains(not, fmt.Sprint(pkg[0]["name"])) {
			continue
		}
		w.update(t, "tag_listing", hubtest.Values{"build_id": l["build_id"], "tag_id": 2, "active": true},
			hubtest.Values{"active": nil, "revoke_event": event, "revoker_id": 1})
		return fmt.Sprintf("%v/%v/%v", pkg[0]["name"], build[0]["version"], build[0]["release"])
	}
	t.Fatal("no build to untag")
	return ""
}
