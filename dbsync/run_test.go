package dbsync_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/preflight"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/relation"
)

// done is what a report says that a load did, without what it read.
func done(rep *book.LoadReport) []book.RelationReport {
	var out []book.RelationReport
	for _, r := range rep.Relations {
		r.Read = 0
		if r != (book.RelationReport{Relation: r.Relation}) {
			out = append(out, r)
		}
	}
	return out
}

// foretold compares the report of a dry run with that of the load which followed.
func foretold(t *testing.T, dry, rep *book.LoadReport) {
	t.Helper()
	if !dry.DryRun || dry.Run != 0 {
		t.Errorf("the report does not say that it was a dry run: %+v", dry)
	}
	want := *rep
	want.DryRun, want.Run, want.Started, want.Finished = true, 0, dry.Started, dry.Finished
	if !reflect.DeepEqual(dry, &want) {
		t.Errorf("the dry run said\n%+v, the load\n%+v", dry, rep)
	}
}

func (s *staging) status() *status.Status {
	s.t.Helper()
	st, err := status.Read(s.t.Context(), s.conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestRuns: each load is on record, the failed ones too; what was refused for being the wrong
// database, or did not want to do anything, is not.
func TestRuns(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	st := s.status()
	if len(st.Runs) > 0 || st.LastSuccess != nil || st.Age() < 0 || st.Age() > st.Now.Sub(st.Mark.MarkedAt) {
		t.Errorf("before the first load: %+v", st)
	}
	old := w.snapshot(shot{event: 380})
	snap := w.snapshot(shot{})
	opt := dbsync.LoadOptions{Version: "1.2-test"}
	dry := opt
	dry.DryRun = true
	s.load(snap, dry)
	if n := s.one("SELECT count(*) FROM kojisnap.run"); n != "0" {
		t.Errorf("a dry run is on record")
	}

	rep := s.load(snap, opt)
	again := s.load(snap, opt)
	st = s.status()
	if len(st.Runs) != 2 || rep.Run != 1 || again.Run != 2 || !reflect.DeepEqual(st.LastSuccess, &st.Runs[0]) || st.Age() != st.Now.Sub(st.Runs[0].Finished) {
		t.Fatalf("after two loads: %+v", st)
	}
	stored := *rep
	stored.Run, stored.Started, stored.Finished = 0, time.Time{}, time.Time{}
	run := st.Runs[1]
	want := book.Run{ID: 1, Started: rep.Started, Finished: rep.Finished, Snapshot: snap.ID, Event: w.last(), Hub: "https://koji.example.com/kojihub",
		Mode: "full", Result: book.ResultChanged, Version: "1.2-test", Who: run.Who, Report: &stored}
	if run.Report == nil || asJSON(t, run) != asJSON(t, want) || !strings.Contains(run.Who, "@") || !run.Started.Before(run.Finished) {
		t.Errorf("the first run is\n%s, want\n%s", asJSON(t, run), asJSON(t, want))
	}
	if got, want := counted(rep, "rpminfo").Read, int64(len(w.view(shot{event: w.last()})["rpminfo"])); got != want {
		t.Errorf("%d rpms read, there are %d", got, want)
	}
	if r := st.Runs[0]; r.Mode != "skipped" || r.Result != book.ResultUnchanged || len(r.Report.Relations) > 0 {
		t.Errorf("the second run is %+v", r)
	}

	failed := func(what string, id int64, cause string) {
		t.Helper()
		st := s.status()
		r := st.Runs[0]
		if r.ID != id || r.Result != book.ResultFailed || !strings.Contains(r.Error, cause) || strings.Contains(r.Error, "\n") || r.Report != nil ||
			r.Version != "1.2-test" || st.LastSuccess.ID != 2 {
			t.Errorf("%s: the last run is %+v, the last good one %d", what, r, st.LastSuccess.ID)
		}
	}
	if _, err := dbsync.Load(t.Context(), s.conn, old, opt); !errors.Is(err, preflight.ErrOlder) {
		t.Fatal(err)
	}
	failed("an older snapshot", 3, preflight.ErrOlder.Error())

	full := opt
	full.Audit = true
	conn := dbtest.Connect(t, s.dsn)
	pid := int32(conn.PgConn().PID())
	full.Progress = &at{stage: "merge", n: 20, do: func() { s.exec("SELECT pg_terminate_backend($1, 5000)", pid) }}
	if _, err := dbsync.Load(t.Context(), conn, snap, full); err == nil {
		t.Fatal("a load whose backend was ended succeeded")
	}
	failed("the backend ended", 4, "")

	ctx, cancel := context.WithCancel(t.Context())
	full.Progress = &at{stage: "merge", n: 20, do: cancel}
	if _, err := dbsync.Load(ctx, dbtest.Connect(t, s.dsn), snap, full); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	failed("cancelled", 5, "cancel")

	s.exec("ALTER TABLE tag_listing RENAME TO elsewhere")
	if _, err := dbsync.Load(t.Context(), s.conn, snap, full); err == nil {
		t.Fatal("loaded without tag_listing")
	}
	s.exec("ALTER TABLE elsewhere RENAME TO tag_listing")
	failed("without a table", 6, "tag_listing")

	for what, try := range map[string]func() error{
		"another environment": func() error {
			o := opt
			o.Env = "production"
			_, err := dbsync.Load(t.Context(), s.conn, snap, o)
			return err
		},
		"locked": func() error {
			other := dbtest.Connect(t, s.dsn)
			if _, err := other.Exec(t.Context(), "SELECT pg_advisory_lock($1)", int64(0x6b6f6a69736e6170)); err != nil {
				t.Fatal(err)
			}
			_, err := dbsync.Load(t.Context(), s.conn, snap, opt)
			// The server lets go of the lock of a connection that was closed when it notices.
			if _, err := other.Exec(t.Context(), "SELECT pg_advisory_unlock($1)", int64(0x6b6f6a69736e6170)); err != nil {
				t.Fatal(err)
			}
			return errors.Join(err, other.Close(t.Context()))
		},
		"a failed dry run": func() error {
			_, err := dbsync.Load(t.Context(), s.conn, old, dry)
			return err
		},
		"not marked": func() error {
			s.exec("UPDATE kojisnap.mark SET oid = oid + 1")
			defer s.exec("UPDATE kojisnap.mark SET oid = oid - 1")
			_, err := dbsync.Load(t.Context(), s.conn, snap, opt)
			return err
		},
	} {
		if err := try(); err == nil {
			t.Errorf("%s: no error", what)
		}
		if got := s.one("SELECT max(id) FROM kojisnap.run"); got != "6" {
			t.Errorf("%s: the last run on record is %s", what, got)
		}
	}

	// After a long row of failures the last success is still known, and little else that is old.
	s.exec(`INSERT INTO kojisnap.run SELECT i, started, finished, snapshot, event, hub, mode, result, error, version, who, report
		FROM kojisnap.run, generate_series(7, 1500) i WHERE id = 5`)
	if _, err := dbsync.Load(t.Context(), s.conn, old, opt); err == nil {
		t.Fatal("an older snapshot was loaded")
	}
	failed("after a row of failures", 1501, preflight.ErrOlder.Error())
	if got := s.one("SELECT count(*) || ' ' || min(id) FROM kojisnap.run WHERE id > 2"); got != "1000 502" {
		t.Errorf("runs kept: %s", got)
	}
	if st = s.status(); len(st.Runs) != 10 || !slices.IsSortedFunc(st.Runs, func(a, b book.Run) int { return int(b.ID - a.ID) }) {
		t.Errorf("runs: %+v", st.Runs)
	}
}

// TestUpgradeBook: a database that an earlier kojisnap marked gets the present tables with the
// first load, also with one that fails, and not from what only reads.
func TestUpgradeBook(t *testing.T) {
	t.Parallel()
	shape := func(s *staging) []string {
		return s.dump(`SELECT a.attrelid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
				FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
				WHERE c.relnamespace = 'kojisnap'::regnamespace AND NOT a.attisdropped AND a.attnum > 0
			UNION ALL SELECT conrelid::regclass::text, pg_get_constraintdef(oid), contype::text, true, NULL FROM pg_constraint WHERE connamespace = 'kojisnap'::regnamespace
			UNION ALL SELECT 'mark', 'format', format::text, true, NULL FROM kojisnap.mark`)
	}
	want := shape(newStaging(t))
	for _, last := range []string{"done", "failed"} {
		t.Run(last, func(t *testing.T) {
			w, s, old := newLoadedOf(t, shot{event: 380}, admin)
			now := w.snapshot(shot{})
			if last == "failed" {
				s.load(now, dbsync.LoadOptions{})
			}
			s.toFormat1()
			before := shape(s)
			if slices.Equal(before, want) {
				t.Fatal("the tables of format 1 are the present ones")
			}
			st := s.status()
			if len(st.Runs) != 1 || st.LastSuccess == nil || st.Event != st.LastSuccess.Event || st.LastSuccess.Finished.Before(st.Mark.MarkedAt) {
				t.Errorf("status of format 1: %+v", st)
			}
			s.load(now, dbsync.LoadOptions{DryRun: true})
			diff(t, "after a dry run", before, shape(s))
			snap, runs := now, "changed,changed"
			if last == "failed" {
				snap, runs = old, "changed,failed"
			}
			if _, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{}); (err != nil) != (last == "failed") {
				t.Fatal(err)
			}
			diff(t, "after the load", want, shape(s))
			if got := s.one("SELECT string_agg(result, ',' ORDER BY id) FROM kojisnap.run"); got != runs {
				t.Errorf("runs: %s", got)
			}
			s.check(w, shot{})
		})
	}
}

// toFormat1 makes the bookkeeping what the first kojisnap would have made of it.
func (s *staging) toFormat1() {
	s.t.Helper()
	body, err := os.ReadFile("testdata/book1.sql")
	if err != nil {
		s.t.Fatal(err)
	}
	s.exec("ALTER SCHEMA kojisnap RENAME TO present")
	s.exec(string(body))
	for _, table := range s.dump("SELECT relname FROM pg_class WHERE relnamespace = 'kojisnap'::regnamespace AND relkind = 'r'") {
		cols := s.one(`SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0`, "kojisnap."+table)
		s.exec(fmt.Sprintf("INSERT INTO kojisnap.%s (%s) SELECT %[2]s FROM present.%[1]s", table, cols))
	}
	s.exec("DROP SCHEMA present CASCADE")
	s.exec("UPDATE kojisnap.mark SET format = 1")
	s.exec("SELECT setval('kojisnap.load_id_seq', (SELECT max(id) FROM kojisnap.load))")
}

// TestEntryKeys: rows that did not go in are named by production's ids, also where staging has
// others for what they are about, and whatever a text among them says.
func TestEntryKeys(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	s.exec(`INSERT INTO tag (name) VALUES ('f42-infra'); INSERT INTO package (name) VALUES ('bash'); INSERT INTO groups (name) VALUES ('build')`)
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	tag, bash, group := w.find("tag", "name", "f42-infra").int("id"), w.find("package", "name", "bash").int("id"), w.find("groups", "name", "build").int("id")
	if got := s.one("SELECT count(*) FROM kojisnap.idmap WHERE relation IN ('tag', 'package', 'groups') AND staging_id >= 990000000"); got != "3" {
		t.Fatalf("%s names are mapped", got)
	}
	text := fmt.Sprintf("x tag_id=%d create_event=1", w.find("tag", "name", "f43").int("id"))
	s.exec(`INSERT INTO tag_listing (build_id, tag_id, creator_id) SELECT 20, id, 990000000 FROM tag WHERE name = 'f42-infra'`)
	s.exec(`INSERT INTO tag_packages (package_id, tag_id, creator_id) SELECT p.id, t.id, 990000000 FROM tag t, package p WHERE t.name = 'f42-infra' AND p.name = 'bash'
		ON CONFLICT DO NOTHING`)
	s.exec(`INSERT INTO group_package_listing (group_id, tag_id, package, type, creator_id)
		SELECT g.id, t.id, $1, 'mandatory', 990000000 FROM tag t, groups g WHERE t.name = 'f42-infra' AND g.name = 'build'`, text)
	w.tag(20, tag)
	want := []string{fmt.Sprintf("tag_listing create_event=%d build_id=20 tag_id=%d", w.last(), tag)}
	if s.one("SELECT count(*) FROM tag_packages WHERE tag_id >= 990000000 AND package_id >= 990000000 AND active AND create_event >= 990000000") == "1" {
		w.add("tag_packages", "package_id", bash, "tag_id", tag, "blocked", "f", "create_event", w.event(), "creator_id", 1, "active", "t")
		want = append(want, fmt.Sprintf("tag_packages create_event=%d package_id=%d tag_id=%d", w.last(), bash, tag))
	}
	w.add("group_package_listing", "group_id", group, "tag_id", tag, "package", text, "blocked", "f", "type", "optional",
		"create_event", w.event(), "creator_id", 1, "active", "t")
	want = append(want, fmt.Sprintf("group_package_listing create_event=%d group_id=%d tag_id=%d package=%s", w.last(), group, tag, text))
	slices.Sort(want)
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if d := s.status().Decisions; len(d) != len(want) {
		t.Errorf("status: %d decisions, want those about %q: %v", len(d), want, d)
	}
	for what, entries := range map[string][]book.Entry{"report": rep.Kept} {
		var got []string
		for _, e := range entries {
			got = append(got, e.Relation+" "+e.Key)
			if e.Keys()["tag_id"] != tag {
				t.Errorf("%s: %+v is of tag %d", what, e, e.Keys()["tag_id"])
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	// What takes keys apart counts on this.
	for _, r := range relation.All() {
		for _, c := range r.Key[:len(r.Key)-1] {
			if r.Columns[r.Index(c)].Type == relation.Text {
				t.Errorf("%s: the text %s is not the last of the key", r.Name, c)
			}
		}
	}
}

// TestHidden: staging's taggings outrank what production tags later.
func TestHidden(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	// Production's events of this data are in 2027; staging's builds are tagged before, and after.
	s.exec(`INSERT INTO events (id, time) VALUES (990001000, '2027-01-15 08:00:00+00'), (990001001, '2027-01-15 08:00:00+00'), (990001002, '2040-01-01 00:00:00+00')`)
	s.exec(`INSERT INTO build (volume_id, pkg_id, version, release, completion_time, state, owner)
		SELECT 0, pkg_id, 'stg', '1', now(), 1, 990000000 FROM build WHERE id IN (20, 9, 15)`)
	pkg := func(build int) string { return fmt.Sprintf("(SELECT pkg_id FROM build WHERE id = %d)", build) }
	own := func(build int) string {
		return "(SELECT id FROM build WHERE version = 'stg' AND pkg_id = " + pkg(build) + ")"
	}
	tag := func(build, tag, event int) {
		s.exec(fmt.Sprintf("INSERT INTO tag_listing (build_id, tag_id, creator_id, create_event) VALUES (%s, %d, 990000000, %d)", own(build), tag, event))
	}
	tag(20, 16, 990001000) // production tags one later
	tag(20, 19, 990001000) // in another tag it does not
	tag(9, 16, 990001002)  // this is later than production's
	tag(15, 16, 990001001) // and this production's own later tagging is revoked
	if st := s.status(); len(st.Hidden) > 0 {
		t.Errorf("hidden before production tags anything: %+v", st.Hidden)
	}
	w.tag(20, 16)
	when := w.last()
	w.tag(9, 16)
	gone := w.tag(15, 16)
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	w.revoke(gone)
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	name := s.one("SELECT name FROM package WHERE id = " + pkg(20))
	want := []status.Hidden{{Tag: w.find("tag", "id", 16).get("name"), Package: name, Staging: name + "-stg-1", Since: time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC),
		Production: s.one("SELECT $1 || '-' || version || '-' || release FROM build WHERE id = 20", name), Tagged: time.Unix(1800000000+when, 0).UTC()}}
	if got := s.status().Hidden; !reflect.DeepEqual(got, want) {
		t.Errorf("hidden: %+v\nwant %+v", got, want)
	}
}
