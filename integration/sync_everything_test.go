package integration_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbtest"
	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/volumes/topdir"
)

// everythingConfig is a configuration of a sync that pulls everything from production's hub, and composes f42-compose.
func (w *env) everythingConfig(t testing.TB, change ...string) string {
	t.Helper()
	c := w.config(t, "f42-compose")
	change = append(change, `tag   = ["f42-compose"]`, "everything = true\nmax-rate = 10000", "[copy]\n", "[copy]\ntag = [\"f42-compose\"]\n",
		"[verify]\n", "[verify]\ntag = [\"f42-compose\"]\n")
	must(t, os.WriteFile(c, []byte(strings.NewReplacer(change...).Replace(w.read(t, c))), 0o644))
	return c
}

// syncs runs a sync and returns its result.
func syncs(t testing.TB, code int, args ...string) (r kojisnap.SyncResult, stderr string) {
	t.Helper()
	o := kojisnapRun(t, append([]string{"sync", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil || o.code != code {
		t.Fatalf("exit code %d, want %d; %v\n%s%s", o.code, code, err, o.stdout, o.stderr)
	}
	return r, o.stderr
}

func steps(r kojisnap.SyncResult) (names []string) {
	for _, s := range r.Steps {
		names = append(names, s.Name)
	}
	return names
}

// TestSyncGoesOnWithImport kills syncs of everything amid the full import of the first. The next one, also one that only
// applies, goes on with that by itself, though production has newer events, and then brings staging to these; the one after
// that loads what changed. Syncs that are not of everything, or lack the snapshot, are refused, as all are while a load is
// at work.
func TestSyncGoesOnWithImport(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.everythingConfig(t)
	conn, err := pgx.Connect(t.Context(), w.dsn)
	must(t, err)
	defer conn.Close(t.Context())
	killed := func(stage string, args ...string) {
		t.Helper()
		r := start(t, append([]string{"sync", "-c", c}, args...)...)
		r.until(stage, func() (met bool) { return conn.QueryRow(t.Context(), stage).Scan(&met) == nil && met })
		if o := r.end(syscall.SIGKILL); o.code != -1 {
			t.Fatalf("it ended by itself: %d, %s", o.code, o.stderr)
		}
		// A server may need a moment to see that a client has gone.
		for held := true; held; {
			must(t, conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))").Scan(&held))
		}
	}
	killed("SELECT count(*) >= 1 FROM kojisnap.import_table")
	var importing string
	must(t, conn.QueryRow(t.Context(), "SELECT snapshot FROM kojisnap.import").Scan(&importing))
	w.nextEvent(t, 420)

	refused := func(what string, args ...string) {
		t.Helper()
		o := kojisnapRun(t, append([]string{"sync"}, args...)...)
		if o.code != 4 || !strings.Contains(o.stderr, importing) || !strings.Contains(o.stderr, what) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q", args, o.code, o.stderr)
		}
	}
	refused("of everything", "-c", w.config(t, "f42-compose"))
	refused("of everything", "-c", w.everythingConfig(t, "[verify]\n", "[load]\ntag = [\"f42-compose\"]\n[verify]\ntag = [\"f42-compose\"]\n"))
	refused("no longer has that snapshot", "-c", c, "--store", t.TempDir())
	_, err = conn.Exec(t.Context(), "SELECT pg_advisory_lock($1)", int64(0x6b6f6a69736e6170)) // kojisnap's
	must(t, err)
	refused("fills it", "-c", c)
	_, err = conn.Exec(t.Context(), "SELECT pg_advisory_unlock_all()")
	must(t, err)
	before := w.state(t)
	if o := kojisnapRun(t, "sync", "-c", c, "-n"); o.code != 3 || !strings.Contains(o.stdout, "# load of snapshot "+importing+" whose full import was broken off\n") {
		t.Errorf("dry run: %+v", o)
	}
	if after := w.state(t); after != before {
		t.Errorf("a dry run changed something: %s", firstDifference(before, after))
	}
	if o := kojisnapRun(t, "doctor", "-c", c); o.code != 0 || !strings.Contains(o.stdout, "the next sync goes on with it") {
		t.Errorf("doctor: %d\n%s%s", o.code, o.stdout, o.stderr)
	}

	killed("SELECT count(*) FILTER (WHERE done) >= 20 FROM kojisnap.import_object", "--only", "apply")
	r, _ := syncs(t, 0, "-c", c, "--event", "420")
	if !slices.Equal(steps(r), []string{"import", "pull", "copy", "load", "remove", "verify"}) || r.Import.Mode != "import" || r.Import.Snapshot != importing ||
		r.Load.Mode != "delta" || r.Load.Base != importing || r.Event != 420 {
		t.Errorf("steps %v, %+v, %+v", steps(r), r.Import, r.Load)
	}
	if o := kojisnapRun(t, "load", "-c", c, "-n", "--audit"); o.code != 0 {
		t.Errorf("changes are pending: %s%s", o.stdout, o.stderr)
	}
	var status kojisnap.StagingStatus
	must(t, json.Unmarshal([]byte(succeed(t, "status", "-c", c, "--json")), &status))
	if status.Importing != nil || status.Event != 420 || len(status.Syncs) == 0 || status.Syncs[0].Exit != 0 {
		t.Errorf("status: %+v", status)
	}
	w.nextEvent(t, 421)
	r, _ = syncs(t, 0, "-c", c, "--event", "421")
	in, up, gone := r.Load.Totals()
	if r.Import != nil || r.Load.Mode != "delta" || in+up+gone > 10 {
		t.Errorf("the next sync: %v, mode %q, %d rows", steps(r), r.Load.Mode, in+up+gone)
	}
}

// newBuild adds to production a build of bash that is in no tag, with other ids and another release, and gives back its
// directory.
func (w *env) newBuild(t testing.TB, event int, id int64, release string) string {
	t.Helper()
	rows, err := w.prodRows.Select("package", hubtest.Values{"name": "bash"})
	must(t, err)
	builds, err := w.prodRows.Select("build", hubtest.Values{"pkg_id": rows[0]["id"], "state": int64(1), "volume_id": int64(0)})
	must(t, err)
	for _, b := range builds {
		old := filepath.Join(w.prodTree, "packages/bash", fmt.Sprint(b["version"]), fmt.Sprint(b["release"]))
		rpms, err := w.prodRows.Select("rpminfo", hubtest.Values{"build_id": b["id"]})
		must(t, err)
		if _, err := os.Stat(old); err != nil || len(rpms) == 0 {
			continue
		}
		w.event(t, event)
		made := maps.Clone(b)
		made["id"], made["release"], made["create_event"] = id, release, event
		must(t, w.prodRows.Insert("build", made))
		must(t, w.prodRows.Insert("build_types", hubtest.Values{"build_id": id, "btype_id": 1}))
		dir := filepath.Join(filepath.Dir(old), release)
		for i, rpm := range rpms {
			name := func(release any) string {
				return fmt.Sprintf("%v-%v-%v.%v.rpm", rpm["name"], rpm["version"], release, rpm["arch"])
			}
			body := w.read(t, filepath.Join(old, fmt.Sprint(rpm["arch"]), name(rpm["release"])))
			must(t, os.MkdirAll(filepath.Join(dir, fmt.Sprint(rpm["arch"])), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(rpm["arch"]), name(release)), []byte(body), 0o644))
			rpm = maps.Clone(rpm)
			rpm["id"], rpm["build_id"], rpm["release"] = id*10+int64(i), id, release
			must(t, w.prodRows.Insert("rpminfo", rpm))
		}
		return dir
	}
	t.Fatal("no build of bash has files")
	return ""
}

// TestSyncAllBuilds: a sync of everything with builds = "all" copies all builds by shards, and staging is ready. The next one
// skips all shards; a new build in production costs its shard alone. A build that production lacks files of is held back, with
// exit code 3, and stays on the read-only volume; the next sync heals it. Damaged copies are made again.
func TestSyncAllBuilds(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.everythingConfig(t, "[copy]\n", "[copy]\nbuilds = \"all\"\ntag = [\"f42-compose\"]\n")
	far := w.newBuild(t, 420, 5000, "100.fc42") // in a shard of its own
	// check holds the shards that a sync looked at, each with the number of files that it made.
	check := func(r kojisnap.SyncResult, want map[string]int) {
		t.Helper()
		made := map[string]int{}
		for _, s := range r.Copy.Shards.Shards {
			if rep := s.Report; !s.Skipped {
				made[s.Shard] = rep.Linked + rep.Reflinked + rep.Copied + rep.Spliced + rep.Fetched
			}
		}
		if !maps.Equal(made, want) {
			t.Errorf("shards that were looked at, and their new files: %v, want %v", made, want)
		}
	}
	whole := func() {
		t.Helper()
		if o := kojisnapRun(t, "copy", "-c", c, "--status"); o.code != 0 || !strings.Contains(o.stdout, "2 of 2 shards whole") {
			t.Errorf("status: exit code %d: %s%s", o.code, o.stdout, o.stderr)
		}
	}
	staged := func(prod string) string {
		rel, err := filepath.Rel(w.prodTree, prod)
		must(t, err)
		return filepath.Join(w.topdir, "vol/staged", rel)
	}
	volume := func(id int64) (name string) {
		t.Helper()
		must(t, dbtest.Connect(t, w.dsn).QueryRow(t.Context(), "SELECT v.name FROM build b JOIN volume v ON v.id = b.volume_id WHERE b.id = $1", id).Scan(&name))
		return name
	}

	r, _ := syncs(t, 0, "-c", c, "--event", "420")
	check(r, map[string]int{"00000": filesBelow(t, filepath.Join(w.topdir, "vol/staged")) - filesBelow(t, far), "00001": filesBelow(t, far)})
	if r.Load.Mode != "import" || !r.Verify.Ready() || r.Copy.Shards.Done != 2 {
		t.Errorf("mode %q, %+v", r.Load.Mode, r.Copy.Shards)
	}
	whole()
	if name := volume(5000); name != "staged" {
		t.Errorf("the build is on volume %s", name)
	}
	var left int
	must(t, dbtest.Connect(t, w.dsn).QueryRow(t.Context(), "SELECT count(*) FROM build b JOIN volume v ON v.id = b.volume_id WHERE b.state = 1 AND v.name <> 'staged'").Scan(&left))
	if left > 0 {
		t.Errorf("%d complete builds are not on the copy volume", left)
	}

	before := w.files(t)
	r, _ = syncs(t, 0, "-c", c, "--event", "420")
	check(r, map[string]int{})
	if after := w.files(t); after != before || r.Changed() {
		t.Errorf("a sync without news changed something: %s", firstDifference(before, after))
	}
	if o := kojisnapRun(t, "sync", "-c", c, "--event", "420", "-n"); o.code != 0 || !strings.Contains(o.stdout, "2 of 2 shards whole") {
		t.Errorf("dry run: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}

	// A new build, of which production lacks a file at first.
	next := w.newBuild(t, 421, 5001, "101.fc42")
	rpms, err := filepath.Glob(next + "/x86_64/*.rpm")
	must(t, err)
	must(t, os.Rename(rpms[0], rpms[0]+".away"))
	r, stderr := syncs(t, 3, "-c", c, "--event", "421")
	check(r, map[string]int{"00001": 0})
	if !strings.Contains(stderr, filepath.Base(rpms[0])) || !strings.Contains(stderr, "1 of 2 shards are not whole") || !strings.Contains(stderr, "in place: 00001;") || !r.Verify.Ready() {
		t.Errorf("%s, %+v", stderr, r.Verify)
	}
	if name := volume(5001); name == "staged" {
		t.Error("a build that is not whole is on the copy volume")
	}
	if _, err := os.Lstat(staged(next)); err == nil {
		t.Error("a build that is not whole was copied")
	}
	if o := kojisnapRun(t, "copy", "-c", c, "--status"); o.code != 3 || !strings.Contains(o.stderr, "1 of 2 shards are not whole") || !strings.Contains(o.stderr, "00001") {
		t.Errorf("status: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	must(t, os.Rename(rpms[0]+".away", rpms[0]))
	if o := kojisnapRun(t, "sync", "-c", c, "--event", "421", "-n"); o.code != 3 || !strings.Contains(o.stdout, "shard 00001: ") || !strings.Contains(o.stdout, fmt.Sprintf(" %d files to make", filesBelow(t, next))) {
		t.Errorf("dry run: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	r, _ = syncs(t, 0, "-c", c, "--event", "421")
	check(r, map[string]int{"00001": filesBelow(t, next)})
	whole()
	if name := volume(5001); name != "staged" {
		t.Errorf("the healed build is on volume %s", name)
	}

	// Copies that are lost: verify finds those that composes need.
	must(t, filepath.WalkDir(filepath.Dir(staged(far)), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".x86_64.rpm") && !strings.HasPrefix(path, staged(far)) {
			err = os.Remove(path)
		}
		return err
	}))
	r, _ = syncs(t, 0, "-c", c, "--event", "421")
	check(r, map[string]int{})
	if !slices.Equal(steps(r), []string{"pull", "copy", "load", "remove", "verify", "repair", "verify"}) || !r.Verify.Ready() {
		t.Errorf("steps %v, ready %v", steps(r), r.Verify.Ready())
	}

	// Production deletes a build, with its files: the copies stay, and nobody complains.
	w.event(t, 422)
	w.update(t, "build", hubtest.Values{"id": int64(5000)}, hubtest.Values{"state": int64(2)})
	stay := filesBelow(t, far)
	must(t, os.RemoveAll(far))
	r, _ = syncs(t, 0, removing(t, "-c", c, "--event", "422", "--sweep", "1")...)
	check(r, map[string]int{"00001": 0})
	whole()
	succeed(t, "copy", "-c", c, "--audit")
	if n := filesBelow(t, staged(far)); n != stay || volume(5000) == "staged" {
		t.Errorf("%d files of a build that production deleted, of %d; it is on volume %s", n, stay, volume(5000))
	}

	// Another process works on a shard of which there is something to copy.
	w.newBuild(t, 423, 5002, "102.fc42")
	top, err := topdir.Open(w.topdir, "")
	must(t, err)
	defer top.Close()
	unlock, err := ledger.LockShard(top, "00001")
	must(t, err)
	defer unlock()
	if o := kojisnapRun(t, "sync", "-c", c, "--event", "423"); o.code != 4 || strings.Count(o.stderr, "\n") != 1 {
		t.Errorf("while a shard is copied: exit code %d: %s", o.code, o.stderr)
	}
}

// filesBelow counts files.
func filesBelow(t testing.TB, dir string) (n int) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	}))
	return n
}
