package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/verify"
)

// pluginLine is what the guidelines for monitoring plugins want: a state, a text, and
// 'label=value[UOM];[warn];[crit];[min];[max]'.
var pluginLine = regexp.MustCompile(`^KOJISNAP (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \| [a-z_]+=(U|-?[0-9]+s?)(;[0-9]*){4}( [a-z_]+=(U|-?[0-9]+s?)(;[0-9]*){4})*)?\n$`)

// plugin runs status --nagios, and checks what holds for whatever it says.
func plugin(t *testing.T, code int, says string, args ...string) string {
	t.Helper()
	o := kojisnapRun(t, append([]string{"status", "--nagios"}, args...)...)
	state := []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[code]
	if o.code != code || o.stderr != "" || !pluginLine.MatchString(o.stdout) || !strings.HasPrefix(o.stdout, "KOJISNAP "+state+" - ") || !strings.Contains(o.stdout, says) {
		t.Errorf("status --nagios %v: exit code %d, want %d and %q\n%q\n%q", args, o.code, code, says, o.stdout, o.stderr)
	}
	return o.stdout
}

// TestStatus is how a staging looks to who watches it: before the first load, behind the
// store, up to date, after a load that failed, with everything gone.
func TestStatus(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	c := w.config(t, "f42-compose")
	plugin(t, 3, "not marked", "-c", c)
	w.init(t)
	plugin(t, 0, "nothing loaded since it was marked", "--db", w.dsn)
	if out := plugin(t, 3, "drift unknown", "-c", c); !strings.Contains(out, "drift=U;") {
		t.Errorf("%q", out) // the store has no snapshot
	}
	old := w.pull(t, 300, "f42-compose")
	if out := succeed(t, "status", "-c", c); !strings.Contains(out, "the store's newest snapshot "+old.ID+" is not loaded; ") || strings.Contains(out, "0 events") {
		t.Errorf("before the first load: %q", out)
	}
	if out := plugin(t, 0, "tags never loaded", "-c", c); !strings.Contains(out, "drift=U;") || strings.Contains(out, "event_age") {
		t.Errorf("before the first load: %q", out)
	}
	w.load(t, old)
	plugin(t, 0, "event 300 of ", "-c", c)
	plugin(t, 1, "last success", "-c", c, "--warning", "0s")
	plugin(t, 2, "last success", "-c", c, "--warning", "0s", "--critical", "0s")

	// The store has a newer snapshot.
	now := w.pull(t, lastEvent, "f42-compose")
	var status kojisnap.StagingStatus
	read := func(args ...string) {
		t.Helper()
		status = kojisnap.StagingStatus{}
		must(t, json.Unmarshal([]byte(succeed(t, append([]string{"status", "-c", c, "--json"}, args...)...)), &status))
	}
	read("-v")
	seconds := int64(now.Manifest.EventTime.Sub(old.Manifest.EventTime).Seconds())
	var diff repository.DiffResult
	must(t, json.Unmarshal([]byte(succeed(t, "diff", "-c", c, old.ID, now.ID, "--json")), &diff))
	missing := len(now.Manifest.Scope.All) - len(old.Manifest.Scope.All)
	want := kojisnap.Drift{Snapshot: now.ID, Event: lastEvent, Events: lastEvent - 300, Seconds: seconds, Missing: status.Drift.Missing, Relations: diff.Relations}
	if !reflect.DeepEqual(*status.Drift, want) || len(status.Drift.Missing) != missing || len(diff.Relations) == 0 {
		t.Errorf("drift: %+v\nwant %+v with %d tags missing", status.Drift, want, missing)
	}
	if out := plugin(t, 0, "119 events", "-c", c); !strings.Contains(out, fmt.Sprintf(" drift=%ds;;;; drift_events=119;", seconds)) {
		t.Errorf("%q does not say drift=%ds", out, seconds)
	}
	if out := succeed(t, "status", "-c", c); !strings.Contains(out, "119 events") || !strings.Contains(out, "pin composes at it") {
		t.Errorf("status: %q", out)
	}
	must(t, w.store.Delete(t.Context(), "snapshots/"+old.ID+".json"))
	if read("-v"); status.Drift.Relations != nil || !strings.Contains(status.Drift.RelationsError, old.ID) {
		t.Errorf("drift from a snapshot that was pruned: %+v", status.Drift)
	}
	if out := kojisnapRun(t, "load", "-c", c, "-v").stdout; !regexp.MustCompile(`(?m)^ +relation +read +inserted .*conflicts$`).MatchString(out) ||
		!regexp.MustCompile(`(?m)^ +tag_listing( +[0-9]+){9}$`).MatchString(out) {
		t.Errorf("load -v printed %q", out)
	}
	if read(); !status.Drift.Loaded || status.Drift.Events != 0 || status.Drift.Seconds != 0 || len(status.Runs) != 2 {
		t.Errorf("after the load: drift %+v, runs %v", status.Drift, status.Runs)
	}

	// A load that fails is seen, though the one before is young; so are hostile names in it.
	for i, bad := range []string{"[[target]]\nname = \"t\"\nbuild_tag = \"no|such | age=0s\"\ndest_tag = \"no-such\"\n", "[[targett]]\n"} {
		overlay := filepath.Join(t.TempDir(), "overlay.toml")
		must(t, os.WriteFile(overlay, []byte(bad), 0o644))
		if o := kojisnapRun(t, "load", "-c", c, "--overlay", overlay); o.code != 1+i {
			t.Errorf("a load with a bad overlay: exit code %d, %q", o.code, o.stderr)
		}
		plugin(t, 1, fmt.Sprintf("the last %d failed", i+1), "-c", c)
	}
	if out := succeed(t, "status", "-c", c); !strings.Contains(out, "last failure") {
		t.Errorf("status: %q", out)
	}

	// Another environment than the database's is not meant.
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"diff", "staging"}, {"verify"}} {
		if o := kojisnapRun(t, append(args, "-c", c, "--env", "other", "--db", w.dsn)...); o.code != 1 || !strings.Contains(o.stderr, `is marked as environment "stg", not "other"`) {
			t.Errorf("%v of another environment: exit code %d: %s", args, o.code, o.stderr)
		}
	}
	plugin(t, 3, `not "other"`, "-c", c, "--env", "other")

	// What cannot be found out is UNKNOWN, in one line on standard output.
	plugin(t, 3, "--bogus", "-c", c, "--bogus")
	plugin(t, 3, `"extra"`, "-c", c, "extra")
	plugin(t, 3, "warning <= critical", "-c", c, "--warning", "3h", "--critical", "1h")
	plugin(t, 3, "choose one", "-c", c, "--json")
	plugin(t, 3, "no database", "--warning", "3h")
	plugin(t, 3, "no-such-file", "-c", "/no-such-file")
	plugin(t, 3, "no_such_database", "--db", strings.Replace(w.dsn, databaseOf(t, w.dsn), "no_such_database", 1))
	plugin(t, 3, "database", "--db", "host=127.0.0.1 port=1 dbname=koji connect_timeout=2")
	// The failure is worse than not to know the drift, and the store no reason to know nothing.
	plugin(t, 1, "drift unknown", "-c", c, "--store", "/no/such/store")
	var gone struct{ Drift kojisnap.Drift }
	must(t, json.Unmarshal([]byte(succeed(t, "status", "-c", c, "--json", "--store", "/no/such/store")), &gone))
	if !strings.Contains(gone.Drift.Error, "/no/such/store") {
		t.Errorf("drift from a store that is not there: %+v", gone.Drift)
	}
	// Nobody waits for the lock of a sync.
	lock := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockfile.Lock(t.Context(), lock, false)
	must(t, err)
	defer unlock()
	succeed(t, "status", "-c", c, "--lock-file", lock)
}

func databaseOf(t *testing.T, dsn string) string {
	t.Helper()
	name := regexp.MustCompile(`kojisnap_test_[0-9]+_[0-9]+`).FindString(dsn)
	if name == "" {
		t.Fatalf("no database in %q", dsn)
	}
	return name
}

// TestStamp: the file for checks of age has the time of the last run whose steps all succeeded, and nothing
// else.
func TestStamp(t *testing.T) {
	t.Parallel()
	w := newPulledEnv(t)
	c := w.config(t, "f42-compose")
	stamp := filepath.Join(t.TempDir(), "last-success")
	read := func() int64 {
		t.Helper()
		body, err := os.ReadFile(stamp)
		if os.IsNotExist(err) {
			return 0
		}
		must(t, err)
		n, err := strconv.ParseInt(strings.TrimSuffix(string(body), "\n"), 10, 64)
		if info, e := os.Stat(stamp); err != nil || e != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("the stamp holds %q, %v, mode %v", body, err, info.Mode())
		}
		return n
	}

	// One that could not be written is refused before anything is done.
	before := w.state(t)
	dir := filepath.Dir(stamp)
	for _, bad := range []string{dir, dir + "/no/such/dir/stamp", "/proc/stamp"} {
		for _, command := range []string{"load", "sync"} {
			o := kojisnapRun(t, command, "-c", c, "--stamp", bad)
			if o.code != 1 || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, bad) {
				t.Errorf("%s --stamp %s: exit code %d, %q", command, bad, o.code, o.stderr)
			}
		}
	}
	if after := w.state(t); after != before {
		t.Errorf("something changed: %s", firstDifference(before, after))
	}

	if o := kojisnapRun(t, "load", "-c", c, "--stamp", stamp, "--dry-run"); o.code != 3 || read() != 0 {
		t.Errorf("a dry run: exit code %d, %q, stamp %d", o.code, o.stderr, read())
	}
	began := time.Now().Unix()
	succeed(t, "load", "-c", c, "--stamp", stamp)
	if n := read(); n < began || n > time.Now().Unix() {
		t.Errorf("the stamp says %d, not between %d and %d", n, began, time.Now().Unix())
	}
	must(t, os.WriteFile(stamp, []byte("1\n"), 0o644))
	if o := kojisnapRun(t, "load", "-c", c, "--snapshot", "300-000000000000", "--stamp", stamp); o.code == 0 || read() != 1 {
		t.Errorf("a load that failed: exit code %d, stamp %d", o.code, read())
	}

	// Sync's, from the configuration: only when verify is content too.
	body, err := os.ReadFile(c)
	must(t, err)
	must(t, os.WriteFile(c, append(body, fmt.Sprintf("[sync]\nstamp = %q\n", stamp)...), 0o644))
	dbtest.Exec(t, w.dsn, "UPDATE rpminfo SET size = size + 1 WHERE id = 53")
	if o := kojisnapRun(t, "sync", "-c", c); o.code != 3 || read() != 1 {
		t.Errorf("a sync whose verify failed: exit code %d, %q, stamp %d", o.code, o.stderr, read())
	}
	dbtest.Exec(t, w.dsn, "UPDATE rpminfo SET size = size - 1 WHERE id = 53")
	succeed(t, "sync", "-c", c)
	if n := read(); n < began || n > time.Now().Unix() {
		t.Errorf("after a sync the stamp says %d", n)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("beside the stamp: %v, %v", left, err)
	}
}

// TestStatusScope: tags that left the scope do not hold the event to pin at back, and what loads of two
// scopes both noted is told once.
func TestStatusScope(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	dbtest.Exec(t, w.dsn, `INSERT INTO package (name) VALUES ('bash')`)
	w.init(t)
	dbtest.Exec(t, w.dsn, `INSERT INTO build (volume_id, pkg_id, version, release, state, completion_time, owner)
		SELECT 0, p.id, '5.3.0', '2.fc42', 1, now(), u.id FROM package p, users u WHERE p.name = 'bash' AND u.name = 'stgadmin'`)
	c := w.config(t, "f42-compose")
	read := func() (s kojisnap.StagingStatus) {
		t.Helper()
		must(t, json.Unmarshal([]byte(succeed(t, "status", "-c", c, "--json")), &s))
		return s
	}
	both := w.pull(t, 400, "f42-compose", "f43-build")
	w.load(t, both)
	w.load(t, w.pull(t, lastEvent, "f42-compose"))
	s := read()
	if s.Event != lastEvent || s.EventTime.IsZero() {
		t.Errorf("event %d of %s, want %d", s.Event, s.EventTime, lastEvent)
	}
	out := 0
	for _, tag := range s.Tags {
		if tag.OutOfScope != (tag.Event == 400) {
			t.Errorf("tag %+v", tag)
		}
		if tag.OutOfScope {
			out++
		}
	}
	if out == 0 || out == len(s.Tags) {
		t.Errorf("%d of %d tags are out of scope", out, len(s.Tags))
	}
	if text := succeed(t, "status", "-c", c); !regexp.MustCompile(fmt.Sprintf(`(?m)^%d tags +not in the newest scope`, out)).MatchString(text) || !strings.Contains(text, fmt.Sprintf("event         %d of", lastEvent)) {
		t.Errorf("status: %s", text)
	}
	if text := succeed(t, "status", "-c", c, "-v"); strings.Count(text, "not in the newest scope") != out || !regexp.MustCompile("tag f43-build +event 400 ").MatchString(text) {
		t.Errorf("status -v: %s", text)
	}
	line := plugin(t, 0, fmt.Sprintf("event %d of", lastEvent), "-c", c)
	var age int64
	if _, said, _ := strings.Cut(line, "event_age="); said != "" {
		fmt.Sscan(strings.Split(said, "s;")[0], &age)
	}
	if now := int64(s.Now.Sub(s.EventTime).Seconds()); age < now || age > now+600 { // since then, on a slow machine
		t.Errorf("%q: event_age is %d, not about %d", line, age, now)
	}

	seen := map[string]int{}
	for _, e := range slices.Concat(s.Conflicts, s.LeftOut, s.Kept) {
		seen[e.Relation+" "+e.Key]++
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("%s: %d times", key, n)
		}
	}
	if len(s.Conflicts) == 0 || len(s.LeftOut) == 0 {
		t.Errorf("conflicts %v, left out %v", s.Conflicts, s.LeftOut)
	}
	if text := succeed(t, "status", "-c", c, "-v"); strings.Count(text, "conflict: build id=8:") != 1 {
		t.Errorf("status -v: %s", text)
	}

	// A load with nothing to do is of its snapshot's scope, though another was loaded in between.
	other := w.pull(t, 410, "trashcan")
	for _, want := range []struct {
		snap  *snapfile.Snapshot
		event int64
	}{{other, 410}, {w.pull(t, lastEvent, "f42-compose"), lastEvent}, {other, 410}} {
		rep := w.load(t, want.snap)
		if s := read(); s.Event != want.event {
			t.Errorf("after a load of %s (%s): event %d", want.snap.ID, rep.Mode, s.Event)
		}
	}
}

// TestReadRecord: what staging did to taggings and package lists makes no difference at the event, also
// where staging has other ids for a tag and a package, so nothing of it is left out of account.
func TestReadRecord(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	dbtest.Exec(t, w.dsn, `INSERT INTO tag (name) VALUES ('f42-compose'); INSERT INTO package (name) VALUES ('bash')`)
	w.init(t)
	first := w.load(t, w.pull(t, lastEvent, "f42-compose"))
	one := func(table string, want hubtest.Values) hubtest.Values {
		t.Helper()
		rows, err := w.prodRows.Select(table, want)
		must(t, err)
		if len(rows) != 1 {
			t.Fatalf("%s %v: %d rows", table, want, len(rows))
		}
		return rows[0]
	}
	tag, bash := one("tag", hubtest.Values{"name": "f42-compose"})["id"], one("package", hubtest.Values{"name": "bash"})["id"]
	must(t, w.prodRows.Insert("events", hubtest.Values{"id": 420, "time": "2026-11-21 01:00:00+00"}))

	// Staging tags a build of bash, and production tags the same one afterwards.
	listed, err := w.prodRows.Select("tag_listing", hubtest.Values{"tag_id": tag, "active": true})
	must(t, err)
	in := map[any]bool{}
	for _, l := range listed {
		in[l["build_id"]] = true
	}
	builds, err := w.prodRows.Select("build", hubtest.Values{"pkg_id": bash, "state": 1, "draft": false})
	must(t, err)
	builds = slices.DeleteFunc(builds, func(b hubtest.Values) bool { return in[b["id"]] })
	if len(builds) == 0 {
		t.Fatal("no build of bash to tag")
	}
	b := builds[0]
	must(t, w.prodRows.Insert("tag_listing", hubtest.Values{"build_id": b["id"], "tag_id": tag, "create_event": 420, "creator_id": 1, "active": true}))

	// The same with the entry of a package list.
	var other string
	all := w.pull(t, 420, "f42-compose")
	for _, s := range all.Manifest.Scope.All {
		entries, err := w.prodRows.Select("tag_packages", hubtest.Values{"tag_id": s.ID, "package_id": bash, "active": true})
		must(t, err)
		if len(entries) == 0 {
			other = s.Name
			must(t, w.prodRows.Insert("tag_packages", hubtest.Values{"package_id": bash, "tag_id": s.ID, "blocked": false, "create_event": 420, "creator_id": 1, "active": true}))
			break
		}
	}
	dbtest.Exec(t, w.dsn, fmt.Sprintf(`
		INSERT INTO tag_listing (build_id, tag_id, creator_id) SELECT %v, id, 990000000 FROM tag WHERE name = 'f42-compose' AND EXISTS (SELECT FROM build WHERE id = %[1]v);
		INSERT INTO tag_packages (package_id, tag_id, creator_id) SELECT p.id, t.id, 990000000 FROM package p, tag t WHERE p.name = 'bash' AND t.name = '%[2]s'`, b["id"], other))

	snap := w.pull(t, 420, "f42-compose")
	rep := w.load(t, snap)
	if first.Mode != "full" || rep.Mode != "delta" || rep.Base != first.Snapshot || rep.Run != first.Run+1 {
		t.Errorf("modes %q and %q, on %q; run %d after %d", first.Mode, rep.Mode, rep.Base, rep.Run, first.Run)
	}
	got, err := kojisnap.ReadRecord(t.Context(), w.dsn, snap)
	must(t, err)
	if len(got.Builds)+len(got.RPMs)+len(got.Signatures)+len(got.Types) > 0 || len(rep.Conflicts)+len(rep.LeftOut) > 0 || len(rep.Kept) < 2 {
		t.Errorf("on record: %+v\nof %+v", got, rep)
	}
	r, err := verify.Verify(t.Context(), verify.Options{Hub: w.staging, Snapshot: snap, Record: got})
	must(t, err)
	if !r.Ready() || slices.ContainsFunc(r.Checks, func(c verify.Check) bool { return c.Name == "on record" }) {
		t.Errorf("verify: %+v", r.Checks)
	}
	for name, production := range map[string]any{"tag": tag, "package": bash} {
		if id := got.IDs[name][production.(int64)]; id < 990000000 {
			t.Errorf("%s %v is %d", name, production, id)
		}
	}
}
