package dbsync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
)

// TestUpgradedStaging upgrades the tables from 1.21 on, release by release: the next load, of the
// same snapshot, fills what is new, and one of a later snapshot finds the rest as it was. The
// database has a time zone, which times without one are in.
func TestUpgradedStaging(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	dsn := dbtest.Release(t, 21)
	dbtest.Exec(t, dsn, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''<-05>5''', current_database()); END $$`)
	s := stagingOn(t, dsn, admin)
	check := func(release relation.Release) {
		t.Helper()
		holds := w.clone()
		holds.cut(release)
		s.checkView(holds.view(shot{event: w.last()}), release)
	}
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	check(21)
	if got, want := s.one(`SELECT time::text FROM events WHERE id = 100`), s.one(`SELECT ($1::timestamptz AT TIME ZONE '<-05>5')::text`, w.find("events", "id", 100).get("time")); got != want {
		t.Errorf("event 100 was at %s, the hub says %s", want, got)
	}
	s.exec(`UPDATE tag SET name = 'f41-stg' WHERE id = 1`) // an edit of staging's
	w.find("tag", "id", 1)["name"] = str("f41-stg")        // is what we look for
	was := relation.Release(21)
	for _, release := range seedtest.Some([]relation.Release{22, 23, 24, 26, 28, 30, 32, 33, 34, 35, 37}, 5) {
		t.Run(fmt.Sprint("1.", int(release)), func(t *testing.T) {
			s.t, w.t = t, t
			dbtest.Exec(t, dsn, dbtest.Upgrade(int(was), int(release)))
			was = release
			own := s.own()
			// Production changes rows that the upgrade may make look as if staging had changed them.
			b := w.find("build", "id", 1+int(release))
			b["epoch"] = str(int(release))
			b["source"] = str("changed before the upgrade to " + release.String())
			w.event()
			snap := w.snapshot(shot{})
			rep := s.load(snap, dbsync.LoadOptions{})
			check(release)
			same(t, own, s.own())
			if len(rep.Kept)+len(rep.Conflicts) > 0 || rep.Base != "" && slices.Contains([]relation.Release{23, 24, 26, 28, 30, 34}, release) {
				t.Errorf("report: %+v", rep)
			}
		})
	}
	s.t, w.t = t, t
	if got := s.one(`SELECT count(*) FROM build WHERE draft`); got == "0" {
		t.Error("no draft came in")
	}
}

// TestUpgradedTablesFilled: the very snapshot that the database holds is loaded again after an
// upgrade of its tables, and not after one that brought no column.
func TestUpgradedTablesFilled(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	w.cut(33) // nothing is left out, so only the columns are a reason
	s := stagingOn(t, dbtest.Release(t, 33))
	snap := w.snapshot(shot{})
	s.load(snap, dbsync.LoadOptions{})
	if rep := s.load(snap, dbsync.LoadOptions{}); !rep.Skipped {
		t.Errorf("again: %+v", rep)
	}
	dbtest.Exec(t, s.dsn, dbtest.Upgrade(33, 35))
	rep := s.load(snap, dbsync.LoadOptions{})
	s.checkView(w.view(shot{event: w.last()}), 35)
	if rep.Skipped || counted(rep, "build").Updated != 1 {
		t.Errorf("after the upgrade: %+v", rep)
	}
	if got := s.one("SELECT count(*) FROM build WHERE promoter IS NOT NULL AND promotion_time IS NOT NULL"); got != "1" {
		t.Errorf("%s builds are promoted", got)
	}
	dbtest.Exec(t, s.dsn, dbtest.Upgrade(35, 37))
	if rep := s.load(snap, dbsync.LoadOptions{}); !rep.Skipped {
		t.Errorf("after an upgrade without columns: %+v", rep)
	}
}

// TestUpgradedProduction upgrades production's hub between snapshots: the columns that it gives
// from then on are filled, and what staging has changed in them before stays.
func TestUpgradedProduction(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	w.cut(21) // so that all of them have the same rows
	s := newStaging(t)
	load := func(release relation.Release) *book.LoadReport {
		t.Helper()
		old := w.as(release)
		old.parent = w.parent
		rep := s.load(old.snapshot(shot{}), dbsync.LoadOptions{})
		w.parent = old.parent
		view := old.view(shot{event: old.last()})
		for _, c := range view["channels"] {
			if c.get("name") == "heavy" {
				c["enabled"], c["description"] = str("f"), nil
			}
		}
		s.checkView(view, dbtest.NewestRelease)
		return rep
	}
	// The channel that production made is in another's place here, as a seed holds its id.
	s.load(w.as(21).snapshot(shot{}), dbsync.LoadOptions{})
	s.exec(`UPDATE channels SET enabled = false WHERE name = 'heavy'`)
	releases := []relation.Release{25, 29, 33, 35}
	if seedtest.Long() {
		releases = slices.Insert(releases, 1, 27)
	}
	for _, release := range releases {
		rep := load(release)
		if len(rep.Kept) != 1 || rep.Kept[0].Relation != "channels" || rep.Base != "" && release != 33 {
			t.Errorf("from 1.%d: %+v", release, rep)
		}
	}
	if got := s.one(`SELECT description FROM permissions WHERE name = 'compose-lock'`); !strings.HasPrefix(got, "May tag") {
		t.Errorf("the permission's description: %q", got)
	}
}

// TestOlderHubSaysNothing: what an older hub does not know stays as it is in an adopted database,
// though production's rows win there.
func TestOlderHubSaysNothing(t *testing.T) {
	t.Parallel()
	w := newProduction(t).as(22)
	dsn := dbtest.ProductionOf(t, 22)
	dbtest.Exec(t, dsn, dbtest.Upgrade(22, 37))
	s := &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn)}
	if _, err := setup.Init(t.Context(), s.conn, setup.Options{Env: "stg", Adopt: true,
		Confirm: s.one("SELECT current_database() || '@' || system_identifier FROM pg_control_system()")}); err != nil {
		t.Fatal(err)
	}
	s.exec(`UPDATE channels SET comment = 'ours' WHERE name = 'heavy'; UPDATE tag_external_repos SET arches = 'x86_64'`)
	names := func() string {
		return fmt.Sprint(s.dump("SELECT * FROM permissions"), s.dump("SELECT * FROM channels"), s.dump("SELECT * FROM archivetypes"), s.dump("SELECT arches FROM tag_external_repos"))
	}
	want := names()
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if len(rep.Overwritten) > 0 {
		t.Errorf("overwritten: %+v", rep.Overwritten)
	}
	if got := names(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := s.one(`SELECT string_agg(name || '=' || compression_type, ' ' ORDER BY id) FROM archivetypes`); got != "jar=zip zip=zip tar=tar" {
		t.Errorf("compression: %s", got)
	}
}

// TestAdoptOlder adopts restored dumps of older productions: nothing in them has to change but
// where the builds' files are.
func TestAdoptOlder(t *testing.T) {
	t.Parallel()
	for _, release := range seedtest.Some([]relation.Release{21, 29}, 1) {
		t.Run(release.String(), func(t *testing.T) {
			t.Parallel()
			w := newProduction(t).as(release)
			dsn := dbtest.ProductionOf(t, int(release))
			s := &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn)}
			if _, err := setup.Init(t.Context(), s.conn, setup.Options{Env: "stg", Adopt: true,
				Confirm: s.one("SELECT current_database() || '@' || system_identifier FROM pg_control_system()")}); err != nil {
				t.Fatal(err)
			}
			rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
			for _, r := range rep.Relations {
				if n := r.Inserted + r.Updated + r.Revoked + r.Unrevoked + r.Deleted; n > 0 && r.Relation != "build" && r.Relation != "volume" {
					t.Errorf("changed: %+v", r)
				}
			}
			if counted(rep, "build").Updated < 50 {
				t.Errorf("builds: %+v", counted(rep, "build"))
			}
			if len(rep.Overwritten)+len(rep.Conflicts)+len(rep.LeftOut)+len(rep.Kept) > 0 {
				t.Errorf("report: %+v", rep)
			}
		})
	}
}
