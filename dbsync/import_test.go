package dbsync_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/seedtest"
)

// definitions are all that PostgreSQL's catalogue says of the tables and sequences.
func (s *staging) definitions() map[string][]string {
	s.t.Helper()
	const of = " IN (to_regnamespace('public'), to_regnamespace('kojisnap'))"
	return map[string][]string{
		"indexes": s.dump(`SELECT c.relname, i.indexrelid::regclass, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready, i.indisprimary, i.indisunique, i.indisreplident,
			i.indisclustered, i.indimmediate, obj_description(i.indexrelid, 'pg_class') FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace` + of),
		"constraints": s.dump(`SELECT conrelid::regclass, conname, contype, pg_get_constraintdef(oid), convalidated, condeferrable, condeferred, coninhcount, conindid::regclass,
			obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE connamespace` + of),
		"columns": s.dump(`SELECT attrelid::regclass, attname, attnotnull, atttypid::regtype, pg_get_expr(d.adbin, d.adrelid), attidentity FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
			LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE attnum > 0 AND c.relnamespace` + of),
		"sequences": s.dump(`SELECT schemaname, sequencename, coalesce(last_value, 0) FROM pg_sequences`),
		"triggers":  s.dump(`SELECT tgrelid::regclass, tgfoid::regproc, tgenabled, count(*) FROM pg_trigger GROUP BY 1, 2, 3`),
		"tables":    s.dump(`SELECT oid::regclass, relkind, relpersistence, relreplident, reloptions, relacl, relhasindex FROM pg_class WHERE relkind = 'r' AND relnamespace` + of),
	}
}

// alike is whole without what differs between two databases that were loaded alike: times, names of databases.
func (s *staging) alike() map[string][]string {
	s.t.Helper()
	out := s.whole()
	delete(out, "sessions")
	for name, query := range map[string]string{
		"kojisnap.mark": "SELECT format, environment, floor, adopted, user_id FROM kojisnap.mark",
		"kojisnap.load": "SELECT id, snapshot, event, tags, columns FROM kojisnap.load",
		// The time of the event that the load took.
		"events":      fmt.Sprintf("SELECT id, CASE WHEN id < %d THEN time END FROM events", book.DefaultFloor),
		"tag_updates": "SELECT tag_id, update_event, updater_id, update_type FROM tag_updates",
	} {
		out[name] = s.dump(query)
	}
	return out
}

// everything is a production of which each kind of row that an import treats apart has some.
func everything(t *testing.T) *production {
	w := newProduction(t)
	for i, x := range w.rows["rpmsigs"] {
		if i < 50 {
			w.add("rpm_checksum", "rpm_id", x.int("rpm_id"), "sigkey", x.get("sigkey"), "checksum", fmt.Sprint("sum", i), "checksum_type", 2)
		}
	}
	w.add("rpm_checksum", "rpm_id", 999999, "sigkey", "", "checksum", "of no signature", "checksum_type", 2)
	return w
}

// untagged gives a build that is not in a tag.
func (w *production) untagged(tag int64) int64 {
	for _, b := range w.rows["build"] {
		if b.int("state") == 1 && len(w.activeAt("tag_listing", w.last(), "tag_id", fmt.Sprint(tag), "build_id", b.get("id"))) == 0 {
			return b.int("id")
		}
	}
	w.t.Fatal("all builds are in that tag")
	return 0
}

// TestFullImport loads the same snapshot by a full import and row by row: the databases are the same, and stay so over
// the next load.
func TestFullImport(t *testing.T) {
	t.Parallel()
	more := dbsync.LoadOptions{Overlay: parse(t, `
[[external_repo_url]]
from = "https://"
to = "https://mirror.stg/"
[[user]]
name = "bob"
permissions = ["admin"]
`), Staged: []kojidb.NVR{{Name: "kernel", Version: "6.14.5", Release: "300.fc42"}}}
	for name, c := range map[string]struct {
		since  int64
		before []string
		opt    dbsync.LoadOptions
		long   bool // in the long form only: TestFullImportKilled begins fresh
	}{
		"fresh":                        {long: true},
		"with history":                 {since: 250, before: []string{admin}, long: true},
		"fresh, with history":          {since: 250, long: true},
		"copied builds and an overlay": {before: []string{admin}, opt: more, long: true},
		"all at once":                  {since: 250, before: []string{admin}, opt: more},
	} {
		if c.long && !seedtest.Long() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := everything(t)
			snap := w.snapshot(shot{everything: true, since: c.since})
			slow, fast := newStaging(t, c.before...), newStaging(t, c.before...)
			never := c.opt
			never.Import = dbsync.ImportNever
			want, got := slow.load(snap, never), fast.load(snap, c.opt)
			if want.Mode != "full" || got.Mode != "import" || got.Base != "" {
				t.Fatalf("modes %q and %q, base %q", want.Mode, got.Mode, got.Base)
			}
			compare := func(what string) {
				t.Helper()
				if same(t, slow.alike(), fast.alike()); t.Failed() {
					t.Fatal(what)
				}
				same(t, slow.definitions(), fast.definitions())
			}
			compare("first load")
			if c.opt.Overlay == nil {
				fast.check(w, shot{})
			}
			for _, r := range want.Relations {
				if other := counted(got, r.Relation); r != other {
					t.Errorf("report: %+v, %+v", r, other)
				}
			}
			diff(t, "touched", want.Touched, got.Touched)
			for _, table := range []string{"events", "build", "rpminfo", "rpmsigs", "tag_listing", "tag_packages", "kojisnap.placed", "kojisnap.placed_rpmsigs"} {
				if fast.one("SELECT reltuples > 0 FROM pg_class WHERE oid = $1::text::regclass", table) != "true" {
					t.Errorf("table %s has no statistics", table)
				}
			}
			for _, s := range []*staging{slow, fast} {
				audit := s.load(snap, dbsync.LoadOptions{Audit: true, DryRun: true, Overlay: c.opt.Overlay, Staged: c.opt.Staged})
				if audit.Changed() {
					t.Errorf("an audit changes %+v", audit.Relations)
				}
				if again := s.load(snap, c.opt); !again.Skipped {
					t.Errorf("the same snapshot again: mode %s", again.Mode)
				}
			}

			// The next snapshot is a difference for both.
			w.tag(w.untagged(2), 2)
			w.revoke(w.activeAt("tag_listing", w.last(), "tag_id", "2")[0])
			w.add("rpmsigs", "rpm_id", 4, "sigkey", "feedbeef", "sighash", "new")
			w.event()
			slow.exec("INSERT INTO rpmsigs VALUES (5, 'cafecafe', 'own')")
			fast.exec("INSERT INTO rpmsigs VALUES (5, 'cafecafe', 'own')")
			next := w.snapshot(shot{everything: true, since: c.since})
			want, got = slow.load(next, c.opt), fast.load(next, c.opt)
			if want.Mode != "delta" || got.Mode != "delta" || want.Base != got.Base {
				t.Errorf("modes %q and %q, bases %q and %q", want.Mode, got.Mode, want.Base, got.Base)
			}
			compare("next load")
			a, err := status.Read(t.Context(), slow.conn)
			b, err2 := status.Read(t.Context(), fast.conn)
			if err != nil || err2 != nil || a.Event != b.Event || a.History != b.History || len(a.Tags) != len(b.Tags) || len(a.Decisions) != len(b.Decisions) || b.Importing != nil {
				t.Errorf("%v, %v, %+v, %+v", err, err2, a, b)
			}
		})
	}
}

// unfit are databases and snapshots that are merged.
func TestFullImportUnfit(t *testing.T) {
	t.Parallel()
	w := everything(t)
	snap := w.snapshot(shot{everything: true})
	for name, before := range map[string]string{
		"a tag was removed":  "",
		"a table is watched": "",
		"a build":            "",
	} {
		_ = before
		t.Run(name, func(t *testing.T) {
			s := newStaging(t, admin)
			switch name {
			case "a tag was removed":
				s.exec("UPDATE tag_config SET active = NULL, revoke_event = get_event(), revoker_id = creator_id")
			case "a table is watched":
				s.exec("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER own AFTER INSERT ON rpminfo FOR EACH ROW EXECUTE FUNCTION f()")
			case "a build":
				s.exec("INSERT INTO package (name) VALUES ('own'); INSERT INTO build (volume_id, pkg_id, version, release, state, owner, completion_time) SELECT 0, p.id, '1', '1', 1, u.id, now() FROM package p, users u LIMIT 1")
			}
			rep := s.load(snap, dbsync.LoadOptions{})
			if rep.Mode != "full" || !rep.Changed() {
				t.Errorf("mode %s", rep.Mode)
			}
			if _, err := book.ReadMark(t.Context(), s.conn); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFullImportOdd: rows that the tables refuse are named in one line with what to do, and the mark stays.
func TestFullImportOdd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(w *production) (relation string, lines func([]string) []string)
		want   []string
		twice  bool // also in the short form: it is said again by the load that goes on
	}{
		"a reference to nothing": {func(*production) (string, func([]string) []string) {
			return "rpmsigs", func(lines []string) []string { return append(lines, "900000\tfeedbeef\tsum\n") }
		}, []string{`foreign key "rpmsigs_rpm_id_fkey" of public.rpmsigs`, "rpm_id=900000 sigkey=feedbeef", "--import never"}, true},
		"twice the same": {func(*production) (string, func([]string) []string) {
			return "rpminfo", func(lines []string) []string {
				f := strings.Split(lines[0], "\t")
				f[0] = "900000"
				return append(lines, strings.Join(f, "\t"))
			}
		}, []string{"public.rpminfo", "two rows of the snapshot are the same", "--import never"}, false},
		"a NULL": {func(*production) (string, func([]string) []string) {
			return "rpmsigs", func(lines []string) []string { return append(lines, "900000\tfeedbeef\t\\N\n") }
		}, []string{`copy rpmsigs: rpm_id="900000" sigkey="feedbeef"`, "sighash"}, true},
		"above the floor": {func(*production) (string, func([]string) []string) {
			return "rpmsigs", func(lines []string) []string { return append(lines, "990000001\tfeedbeef\tx\n") }
		}, []string{`rpm_id="990000001"`, "at or above the floor"}, false},
		"a path that climbs": {func(*production) (string, func([]string) []string) {
			return "rpmsigs", func(lines []string) []string { return append(lines, "900000\t../x\tx\n") }
		}, []string{`"../x" would lead out`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newProduction(t)
			rel, lines := c.change(w)
			snap := w.rewritten(w.snapshot(shot{everything: true}), rel, lines)
			s := newStaging(t)
			times := 1
			if c.twice || seedtest.Long() {
				times = 2
			}
			for range times {
				_, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{})
				if err == nil || strings.Contains(err.Error(), "\n") {
					t.Fatalf("load: %v", err)
				}
				for _, part := range c.want {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("no %q in: %v", part, err)
					}
				}
				if _, err := book.ReadMark(t.Context(), s.conn); !errors.Is(err, lockfile.ErrLocked) {
					t.Errorf("the mark: %v", err)
				}
			}
		})
	}
}
