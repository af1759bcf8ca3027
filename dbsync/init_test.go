package dbsync_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/setup"
	"kojisnap/dbsync/status"
)

func TestInitMoves(t *testing.T) {
	t.Parallel()
	dsn := dbtest.Fresh(t)
	s := &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn)}
	s.exec(admin)
	whole := s.whole()
	dry, err := setup.Init(t.Context(), s.conn, setup.Options{Env: "stg", DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, whole, s.whole())

	rep, err := setup.Init(t.Context(), s.conn, setup.Options{Env: "stg"})
	if err != nil {
		t.Fatal(err)
	}
	const f = book.DefaultFloor
	want := []setup.Move{{Relation: "events", From: 1, To: f}, {Relation: "events", From: 2, To: f + 1}, {Relation: "events", From: 3, To: f + 2},
		{Relation: "users", From: 1, To: f, Name: "stgadmin"}, {Relation: "users", From: 2, To: f + 1, Name: "kojira"}, {Relation: "tag", From: 1, To: f, Name: "stg-sandbox"}}
	if !reflect.DeepEqual(rep.Moved, want) || rep.Mark.Environment != "stg" || rep.Release != "1.35" ||
		fmt.Sprint(rep.Seeds) != "map[archivetypes:76 btype:4 channels:8 external_repo:1 permissions:15 volume:1]" {
		t.Errorf("report: %+v", rep)
	}
	dry.DryRun, dry.Mark.MarkedAt = false, rep.Mark.MarkedAt
	if !reflect.DeepEqual(dry, rep) {
		t.Errorf("the dry run said\n%+v, init\n%+v", dry, rep)
	}
	for query, want := range map[string]string{
		`SELECT name || password FROM users WHERE id = 990000000`:                                                            "stgadminsecret",
		`SELECT krb_principal FROM user_krb_principals WHERE user_id = 990000000`:                                            "stgadmin@STG.EXAMPLE.COM",
		`SELECT string_agg(user_id || ' ' || creator_id || ' ' || create_event, ', ' ORDER BY create_event) FROM user_perms`: "990000000 990000000 990000000, 990000001 990000000 990000001",
		`SELECT tag_id || ' ' || create_event FROM tag_config`:                                                               "990000000 990000002",
		`SELECT user_id FROM sessions`:                                                                                       "990000000",
		`SELECT count(*) FROM users WHERE id < 990000000`:                                                                    "0",
		`SELECT count(*) FROM events WHERE id < 990000000`:                                                                   "0",
		`SELECT status || ' ' || usertype FROM users WHERE name = 'kojisnap'`:                                                "1 0",
		`SELECT nextval('build_id_seq')`:                                                                                     "990000000",
		`SELECT nextval('events_id_seq')`:                                                                                    "990000003",
		`SELECT nextval('users_id_seq')`:                                                                                     "990000003",
		`SELECT nextval('permissions_id_seq')`:                                                                               "990000000",
	} {
		if got := s.one(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}

	if got := s.one(`SELECT count(*) FROM pg_sequences WHERE schemaname = 'public'
		AND nextval(format('%I.%I', schemaname, sequencename)::regclass) < 990000000`); got != "0" {
		t.Errorf("%s sequences give ids below the floor", got)
	}

	whole = s.whole()
	again, err := setup.Init(t.Context(), s.conn, setup.Options{Env: "stg"})
	if err != nil || !again.Already || again.Mark != rep.Mark {
		t.Errorf("init again: %+v, %v", again, err)
	}
	if _, err := setup.Init(t.Context(), s.conn, setup.Options{Env: "other"}); err == nil || !strings.Contains(err.Error(), `"stg" already, not "other"`) {
		t.Errorf("init as another environment: %v", err)
	}
	same(t, whole, s.whole())
	st, err := status.Read(t.Context(), s.conn)
	if err != nil || st.Mark != rep.Mark || len(st.Tags) != 0 {
		t.Errorf("status: %+v, %v", st, err)
	}
}

// TestRefused: databases that are not staging are left as they are.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	snap := w.snapshot(shot{})
	tests := []struct {
		name   string
		dsn    func(t *testing.T) string
		sql    string
		opt    setup.Options
		init   string // in the error of Init
		load   string // in the error of Load
		staged bool   // init works and the statements come after it
	}{
		{name: "not Koji's", dsn: func(t *testing.T) string { return dbtest.Empty(t) }, sql: "CREATE TABLE x (id integer)",
			opt: setup.Options{Env: "stg"}, init: "none of Koji's tables", load: "none of Koji's tables"},
		{name: "tables missing", dsn: func(t *testing.T) string { return dbtest.Fresh(t) }, sql: "DROP TABLE tag_package_owners, rpmsigs",
			opt: setup.Options{Env: "stg"}, init: "lacks the tables tag_package_owners, rpmsigs", load: "lacks the tables tag_package_owners, rpmsigs"},
		{name: "a newer schema", dsn: func(t *testing.T) string { return dbtest.Fresh(t) }, sql: "ALTER TABLE build ADD COLUMN flavour text NOT NULL",
			opt: setup.Options{Env: "stg"}, init: "build.flavour is new", load: "not marked as staging"},
		{name: "a schema that became newer", dsn: func(t *testing.T) string { return dbtest.Fresh(t) }, sql: "ALTER TABLE build ADD COLUMN flavour text NOT NULL",
			opt: setup.Options{Env: "stg"}, load: "build.flavour is new", staged: true},
		{name: "production", dsn: func(t *testing.T) string { return dbtest.Production(t) },
			opt: setup.Options{Env: "stg"}, init: "has rows in build, rpminfo, archiveinfo, task, repo, buildroot", load: "not marked as staging"},
		{name: "production, adopted by a wrong name", dsn: func(t *testing.T) string { return dbtest.Production(t) },
			opt: setup.Options{Env: "stg", Adopt: true, Confirm: "koji@1"}, init: "needs the confirmation", load: "not marked as staging"},
		{name: "no name", dsn: func(t *testing.T) string { return dbtest.Fresh(t) }, opt: setup.Options{Env: "a\nb"}, init: `"a\nb"`, load: "not marked as staging"},
		{name: "another database's mark", dsn: func(t *testing.T) string { return dbtest.Fresh(t) }, sql: "UPDATE kojisnap.mark SET oid = oid + 1",
			opt: setup.Options{Env: "stg"}, load: "so it is a copy", staged: true},
		{name: "another server's mark", dsn: func(t *testing.T) string { return dbtest.Fresh(t) }, sql: "UPDATE kojisnap.mark SET system_identifier = '1'",
			opt: setup.Options{Env: "stg"}, load: "so it is a copy", staged: true},
		{name: "a sequence set back", dsn: func(t *testing.T) string { return dbtest.Fresh(t) }, sql: "SELECT setval('tag_id_seq', 5)",
			opt: setup.Options{Env: "stg"}, load: "tag_id_seq would give 6", staged: true},
		{name: "a low floor", dsn: func(t *testing.T) string { return dbtest.Fresh(t) },
			opt: setup.Options{Env: "stg", Floor: 1000}, load: "which is at or above the floor 1000", staged: true},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			dsn := c.dsn(t)
			s := &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn)}
			run := func() {
				if c.sql != "" {
					dbtest.Exec(t, dsn, c.sql)
				}
			}
			snap := snap
			if !c.staged {
				run()
			}
			if c.name == "a low floor" {
				w := newProduction(t)
				w.find("tag", "id", 19)["id"] = str(1000)
				snap = w.snapshot(shot{})
			}
			whole := s.whole()
			_, err := setup.Init(t.Context(), s.conn, c.opt)
			if c.init == "" && err != nil || c.init != "" && (err == nil || !strings.Contains(err.Error(), c.init)) {
				t.Fatalf("init: %v", err)
			}
			if c.staged {
				run()
				whole = s.whole()
			} else {
				same(t, whole, s.whole())
			}
			_, err = dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{})
			if err == nil || !strings.Contains(err.Error(), c.load) {
				t.Errorf("load: %v", err)
			}
			marked := strings.Contains(c.load, "marked") || strings.Contains(c.load, "copy")
			if errors.Is(err, book.ErrNotStaging) != marked {
				t.Errorf("load: %v is ErrNotStaging: %v", err, !marked)
			}
			same(t, whole, s.whole())
		})
	}
}

// TestAdopt takes a restored dump of production, in which something was edited.
func TestAdopt(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	dsn := dbtest.Production(t)
	s := &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn)}
	s.exec(`UPDATE tag SET name = 'f43-stg' WHERE name = 'f43'; DELETE FROM rpmsigs WHERE rpm_id = 1`)
	rep, err := setup.Init(t.Context(), s.conn, setup.Options{Env: "stg", Adopt: true,
		Confirm: s.one("SELECT current_database() || '@' || system_identifier FROM pg_control_system()")})
	if err != nil || !rep.Mark.Adopted || len(rep.Moved) > 0 {
		t.Fatalf("init: %+v, %v", rep, err)
	}
	load := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if len(load.Overwritten) != 1 || load.Overwritten[0] != (book.Entry{Relation: "tag", Key: "id=16", What: "it was (16,f43-stg)"}) {
		t.Errorf("overwritten: %+v", load.Overwritten)
	}
	if got := counted(load, "rpmsigs").Inserted; got != 2 {
		t.Errorf("%d signatures inserted", got)
	}
	if got := s.one("SELECT count(*) FROM build WHERE volume_id = 0 AND state = 1"); got != "0" {
		t.Errorf("%s complete builds on DEFAULT", got)
	}
	// From here on it is a staging like any other.
	w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
	w.drop("rpmsigs", "rpm_id", 1)
	load = s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	want := []book.RelationReport{{Relation: "events", Inserted: 1}, {Relation: "tag_listing", Revoked: 1}, {Relation: "rpmsigs", Deleted: 2}}
	if !slices.Equal(done(load), want) || len(load.Overwritten) > 0 {
		t.Errorf("report: %+v", load)
	}
}
