package dbsync_test

import (
	"fmt"
	"strings"
	"testing"

	"kojisnap/dbsync"
)

// shiftSeeds gives the seeds of a fresh schema other ids than production's, turned round so
// that names meet each other's ids.
const shiftSeeds = `
UPDATE permissions SET id = id + 1000; UPDATE permissions SET id = 1018 - id;
UPDATE channels SET id = id + 1000; UPDATE channels SET id = 1011 - id;
UPDATE btype SET id = id + 1000; UPDATE btype SET id = 1006 - id;
UPDATE archivetypes SET id = id + 1000; UPDATE archivetypes SET id = 1080 - id;
INSERT INTO channels (id, name) VALUES (400, 'stg-only')`

func TestSeedsUnderOtherIDs(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, shiftSeeds, `
		INSERT INTO users (name, status, usertype) VALUES ('stgadmin', 0, 0);
		INSERT INTO user_perms (user_id, perm_id, creator_id) VALUES (1, (SELECT id FROM permissions WHERE name = 'admin'), 1)`)
	before := s.own()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	s.check(w, shot{})
	same(t, before, s.own())
	// What refers to a name of production's refers to the same name here.
	if got := s.one(`SELECT string_agg(DISTINCT p.name, ' ') FROM tag_config JOIN permissions p ON p.id = perm_id WHERE active`); got != "admin compose-lock" && got != "compose-lock" {
		t.Errorf("tags are locked by %q", got)
	}
	// A rename of a name that a seed holds does not take references along to another row.
	w.find("permissions", "name", "image")["name"] = str("images")
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	s.check(w, shot{})
	same(t, before, s.own())
}

// TestNamesOfStaging: a user and a tag that staging made have names of production's.
func TestNamesOfStaging(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	s.exec(`INSERT INTO users (name, password, status, usertype) VALUES ('alice', 'x', 1, 0);
		INSERT INTO tag (name) VALUES ('f42-infra');
		INSERT INTO package (name) VALUES ('bash');
		INSERT INTO groups (name) VALUES ('build');
		INSERT INTO external_repo (name) VALUES ('epel10');
		INSERT INTO build_target (name) VALUES ('f42-updates-candidate')`)
	before := s.own()
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	s.check(w, shot{})
	same(t, before, s.own())
	if len(rep.Conflicts) > 0 {
		t.Errorf("conflicts: %+v", rep.Conflicts)
	}
	if got := s.one(`SELECT count(*) FROM tag_config c JOIN tag t ON t.id = tag_id WHERE t.name = 'f42-infra' AND active`); got != "1" {
		t.Errorf("f42-infra has %s configs", got)
	}
	// The owner of a side tag is a user's id, too, though it is in a value.
	const owner = `SELECT count(*) FROM tag_extra x JOIN users u ON u.id::text = x.value WHERE x.active AND x.key = 'sidetag_user_id' AND u.name = 'alice'`
	if got := s.one(owner); got != "1" {
		t.Errorf("alice has %s side tags", got)
	}
	w.find("users", "name", "alice")["name"] = str("alice.new")
	again("tag_extra", "tag_id", 24, "key", "sidetag_user_id")(w)
	w.tag(20, w.find("tag", "name", "f42-infra").int("id"))
	rep = s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	s.check(w, shot{})
	same(t, before, s.own())
	if got := s.one(owner); got != "1" {
		t.Errorf("alice has %s side tags after production's edit", got)
	}
	if strings.Join(rep.Touched, " ") != "f42-build-side-24 f42-infra" {
		t.Errorf("touched %q", rep.Touched)
	}
}

// TestNameTakenLater: production renames a tag to a name that staging has taken meanwhile.
func TestNameTakenLater(t *testing.T) {
	t.Parallel()
	for _, mode := range []dbsync.OnConflict{dbsync.Keep, dbsync.Replace, dbsync.Fail} {
		t.Run(string(mode), func(t *testing.T) {
			w, s := newLoaded(t)
			s.exec(`INSERT INTO tag (name) VALUES ('f44')`)
			tag := w.find("tag", "name", "f43")
			tag["name"] = str("f44")
			w.find("tag", "name", "eln")["name"] = str("f43") // wants the name that is not given up
			w.event()
			whole := s.whole()
			rep, err := dbsync.Load(t.Context(), s.conn, w.snapshot(shot{}), dbsync.LoadOptions{OnConflict: mode})
			switch mode {
			case dbsync.Fail:
				if _, ok := err.(interface{ Unwrap() error }); err == nil || !ok {
					t.Errorf("load: %v", err)
				}
				same(t, whole, s.whole())
			case dbsync.Keep:
				if err != nil || len(rep.Conflicts) != 2 {
					t.Fatalf("load: %v, %+v", err, rep)
				}
				if got := s.dump(`SELECT name FROM tag WHERE id IN (16, 19) OR id >= 990000000`); fmt.Sprint(got) != "[eln f43 f44]" {
					t.Errorf("tags: %q", got)
				}
				// Staging gives the name up: now production's goes in.
				s.exec(`UPDATE tag SET name = 'mine' WHERE id >= 990000000`)
				s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
				s.check(w, shot{})
			case dbsync.Replace:
				if err != nil {
					t.Fatal(err)
				}
				s.check(w, shot{})
			}
		})
	}
}

// TestNameGivenAway: production gave a name to another row, and the snapshot does not have the
// one that it was taken from.
func TestNameGivenAway(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t)
	w.find("package", "id", 1)["name"] = str("bash5")
	w.add("package", "id", 500, "name", "bash")
	w.event()
	old := w.all("package", "id", 1)[0]
	w.drop("package", "id", 1)
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if got := fmt.Sprint(s.dump("SELECT name FROM package WHERE id IN (1, 500)")); got != "[bash bash-production-1]" || len(rep.Notes) != 1 {
		t.Errorf("packages: %s, notes: %q", got, rep.Notes)
	}
	w.rows["package"] = append(w.rows["package"], old)
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	s.check(w, shot{})
}

// TestStandingEdits: what staging changed in production's rows stays changed.
func TestStandingEdits(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	s.exec(`UPDATE tag SET name = 'f41-stg' WHERE id = 1;
		UPDATE users SET status = 1 WHERE id = 3;
		UPDATE build SET owner = 990000000 WHERE id = 2;
		INSERT INTO volume (name) VALUES ('scratchy');
		UPDATE build SET volume_id = (SELECT id FROM volume WHERE name = 'scratchy') WHERE id = 3;
		UPDATE channels SET enabled = false WHERE name = 'image';
		INSERT INTO events (time) VALUES (now());
		UPDATE tag_listing SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 990000000 WHERE build_id = 9 AND tag_id = 4 AND active;
		INSERT INTO tag_listing (build_id, tag_id, creator_id) VALUES (9, 3, 990000000);
		DELETE FROM rpmsigs WHERE rpm_id = 20 AND sigkey = '41526f0e';
		INSERT INTO rpmsigs VALUES (20, 'cafecafe', 'bb');
		INSERT INTO rpm_checksum VALUES (20, 'cafecafe', 'abc', 0)`)
	edits := func() string {
		return fmt.Sprintf("%q", s.dump(`SELECT 'tag', name FROM tag WHERE id = 1 UNION ALL SELECT 'user', status::text FROM users WHERE id = 3
			UNION ALL SELECT 'build', owner::text FROM build WHERE id = 2 UNION ALL SELECT 'volume', v.name FROM build b JOIN volume v ON v.id = volume_id WHERE b.id = 3
			UNION ALL SELECT 'listing', tag_id || ' ' || coalesce(active::text, 'NULL') || ' ' || create_event / 990000000 FROM tag_listing WHERE build_id = 9 AND creator_id <> (SELECT user_id FROM kojisnap.mark)
			UNION ALL SELECT 'sig', sigkey || sighash FROM rpmsigs WHERE rpm_id = 20 UNION ALL SELECT 'sum', checksum FROM rpm_checksum`))
	}
	want := edits()
	own := s.own()
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Audit: true})
	if rep.Changed() {
		t.Errorf("report: %+v", rep.Relations)
	}
	// Production changes the same rows.
	w.find("tag", "id", 1)["name"] = str("f41-eol")
	w.find("users", "id", 3)["name"] = str("robert")
	w.find("build", "id", 2)["epoch"] = str(7)
	w.find("build", "id", 3)["volume_id"] = str(1)
	w.event()
	rep = s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if got := edits(); got != want {
		t.Errorf("staging's edits were\n%s, and are now\n%s", want, got)
	}
	same(t, own, s.own())
	kept := map[string]bool{}
	for _, e := range rep.Kept {
		kept[e.Relation+" "+e.Key] = true
	}
	for _, k := range []string{"tag id=1", "users id=3", "build id=2", "build id=3", "rpmsigs rpm_id=20 sigkey=41526f0e"} {
		if !kept[k] {
			t.Errorf("%s is not reported as kept: %+v", k, rep.Kept)
		}
	}
	// Production comes to what staging has: from here on the row is production's again.
	w.find("tag", "id", 1)["name"] = str("f41-stg")
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	w.find("tag", "id", 1)["name"] = str("f41-gone")
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if got := s.one("SELECT name FROM tag WHERE id = 1"); got != "f41-gone" {
		t.Errorf("tag 1 is %q", got)
	}
	// Production drops the signature that it has, not the one that staging made.
	w.drop("rpmsigs", "rpm_id", 20)
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if got := s.dump(`SELECT sigkey FROM rpmsigs WHERE rpm_id = 20`); fmt.Sprint(got) != "[cafecafe]" {
		t.Errorf("signatures of rpm 20: %q", got)
	}
}
