package dbsync_test

import (
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/overlay"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap/seedtest"
)

// leftovers are tables that Koji gave up long ago and old databases still have.
const leftovers = `
CREATE TABLE imageinfo (id serial PRIMARY KEY, task_id integer NOT NULL REFERENCES task (id), filename text NOT NULL, filesize bigint NOT NULL,
	arch varchar(16) NOT NULL, hash text NOT NULL, mediatype text NOT NULL);
CREATE INDEX imageinfo_task_id ON imageinfo (task_id);
CREATE TABLE imageinfo_listing (image_id integer NOT NULL REFERENCES imageinfo (id), rpm_id integer NOT NULL REFERENCES rpminfo (id), UNIQUE (image_id, rpm_id));
CREATE INDEX imageinfo_listing_rpms ON imageinfo_listing (rpm_id);
CREATE TABLE image_listing (image_id integer NOT NULL REFERENCES image_archives (archive_id), rpm_id integer NOT NULL REFERENCES rpminfo (id), UNIQUE (image_id, rpm_id));
CREATE TABLE image_archive_listing (image_id integer NOT NULL REFERENCES image_archives (archive_id), archive_id integer NOT NULL REFERENCES archiveinfo (id),
	UNIQUE (image_id, archive_id));
CREATE TABLE log_messages (id serial PRIMARY KEY, message text NOT NULL);
INSERT INTO log_messages (message) VALUES ('long ago');`

func (s *staging) leftovers() map[string][]string {
	out := map[string][]string{}
	for _, t := range []string{"imageinfo", "imageinfo_listing", "image_listing", "image_archive_listing", "log_messages"} {
		out[t] = s.dump("SELECT * FROM " + t)
	}
	return out
}

// TestLeftoversAdopted: in an adopted database old tables refer to rows that production then
// deletes. Those stay for it, and that is reported; all others go.
func TestLeftoversAdopted(t *testing.T) {
	t.Parallel()
	w := newProduction(t).as(33)
	dsn := dbtest.ProductionOf(t, 33)
	dbtest.Exec(t, dsn, leftovers+`
		INSERT INTO imageinfo (task_id, filename, filesize, arch, hash, mediatype) SELECT min(id), 'a.iso', 1, 'x86_64', '00', 'iso' FROM task;
		INSERT INTO imageinfo_listing VALUES (1, 281), (1, 1);
		INSERT INTO image_listing VALUES (1, 36), (3, 282);
		INSERT INTO image_archive_listing VALUES (7, 1), (7, 2)`)
	s := &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn)}
	if _, err := setup.Init(t.Context(), s.conn, setup.Options{Env: "stg", Adopt: true,
		Confirm: s.one("SELECT current_database() || '@' || system_identifier FROM pg_control_system()")}); err != nil {
		t.Fatal(err)
	}
	want := s.leftovers()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	same(t, want, s.leftovers())

	// Production resets builds: libpq, of whose rpms 280 is in no old table, and the images.
	reset := func(id int) {
		w.find("build", "id", id)["state"] = str(4)
		for _, rel := range []string{"build_types", "image_builds", "tag_listing"} {
			w.drop(rel, "build_id", id)
		}
		for _, r := range w.all("rpminfo", "build_id", id) {
			w.drop("rpmsigs", "rpm_id", r.get("id"))
		}
		w.drop("rpminfo", "build_id", id)
		for _, a := range w.all("archiveinfo", "build_id", id) {
			w.drop("image_archives", "archive_id", a.get("id"))
			w.drop("archive_rpm_components", "archive_id", a.get("id"))
			w.drop("archive_components", "archive_id", a.get("id"))
			w.drop("archive_components", "component_id", a.get("id"))
		}
		w.drop("archiveinfo", "build_id", id)
	}
	reset(44)
	reset(58)
	reset(59)
	reset(61)
	w.event()
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	same(t, want, s.leftovers())
	if got := strings.Join(s.dump("SELECT id FROM rpminfo WHERE build_id = 44"), " "); got != "281 282" {
		t.Errorf("rpms of libpq: %s", got)
	}
	if got := strings.Join(s.dump("SELECT id FROM archiveinfo WHERE build_id IN (58, 59, 61)"), " "); got != "1 2 3 7" {
		t.Errorf("archives of the images: %s", got)
	}
	kept := map[string]string{}
	for _, e := range rep.Kept {
		kept[e.Relation+" "+e.Key] = e.What
	}
	for key, table := range map[string]string{"rpminfo id=281": "imageinfo_listing", "rpminfo id=282": "image_listing",
		"archiveinfo id=1": "image_", "archiveinfo id=2": "image_archive_listing", "archiveinfo id=3": "image_listing", "archiveinfo id=7": "image_archive_listing"} {
		if !strings.Contains(kept[key], "staging's "+table) {
			t.Errorf("%s is kept as %q", key, kept[key])
		}
	}
	// That is said again by loads that read what changed, and they go once nothing refers to them.
	w.event()
	again := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if !slices.Equal(rep.Kept, again.Kept) || again.Base == "" {
		t.Errorf("again: %+v", again)
	}
	s.exec("TRUNCATE imageinfo_listing, image_listing, image_archive_listing")
	w.event()
	if again = s.load(w.snapshot(shot{}), dbsync.LoadOptions{}); len(again.Kept) > 0 || again.Base == "" {
		t.Errorf("at last: %+v", again)
	}
	if got := s.one("SELECT (SELECT count(*) FROM rpminfo WHERE build_id = 44) + (SELECT count(*) FROM archiveinfo WHERE build_id IN (58, 59, 61))"); got != "0" {
		t.Errorf("%s rows are still there", got)
	}
}

// TestLeftovers: in a new staging old tables hold staging's own rows. Where production's build is
// to take the place of staging's, they go with it.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := stagingOn(t, dbtest.Release(t, 30), admin, leftovers)
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	s.exec(`INSERT INTO task (channel_id, arch, owner) VALUES (1, 'noarch', 990000000);
		INSERT INTO build (volume_id, pkg_id, version, release, completion_time, state, owner) VALUES (0, 1, '6', '1', now(), 1, 990000000);
		INSERT INTO archiveinfo (type_id, build_id, filename, size, checksum, checksum_type, metadata_only) SELECT 1, id, 'a.iso', 1, '00', 0, false FROM build WHERE version = '6' AND release = '1' AND id >= 990000000;
		INSERT INTO image_archives SELECT id, 'x86_64' FROM archiveinfo WHERE id >= 990000000;
		INSERT INTO imageinfo (task_id, filename, filesize, arch, hash, mediatype) SELECT id, 'a.iso', 1, 'x86_64', '00', 'iso' FROM task;
		INSERT INTO imageinfo_listing SELECT id, 1 FROM imageinfo;
		INSERT INTO image_listing SELECT archive_id, 2 FROM image_archives WHERE archive_id >= 990000000;
		INSERT INTO image_archive_listing SELECT archive_id, 1 FROM image_archives WHERE archive_id >= 990000000`)
	if got := s.one("SELECT id FROM imageinfo"); got != "990000000" {
		t.Errorf("the image's id is %s", got)
	}
	want := s.leftovers()
	w.add("build", "id", 200, "volume_id", 0, "pkg_id", 1, "version", "6", "release", "1", "draft", "f", "create_event", w.event(),
		"completion_time", "2026-11-21 03:00:00+00", "state", 1, "owner", 1)
	w.tag(200, 3)
	snap := w.snapshot(shot{})
	if rep := s.load(snap, dbsync.LoadOptions{}); len(rep.Conflicts) != 1 {
		t.Errorf("conflicts: %+v", rep.Conflicts)
	}
	same(t, want, s.leftovers())
	s.load(snap, dbsync.LoadOptions{OnConflict: dbsync.Replace})
	want["image_listing"], want["image_archive_listing"] = []string{""}, []string{""}
	same(t, want, s.leftovers())
	holds := w.clone()
	holds.cut(30)
	s.checkView(holds.view(shot{event: w.last()}), 30)
}

// newer is what a Koji after the newest that we know may bring.
const newer = `
ALTER TABLE build ADD flavour text;
ALTER TABLE tag ADD colour text NOT NULL DEFAULT 'grey';
ALTER TABLE tag_listing ADD why text;
ALTER TABLE rpmsigs ADD seen timestamptz DEFAULT now();
ALTER TABLE host_config ADD weight integer NOT NULL DEFAULT 7;
CREATE TABLE build_label (id serial PRIMARY KEY, build_id integer NOT NULL REFERENCES build (id), label text NOT NULL, UNIQUE (build_id, label));
CREATE TABLE rpm_note (rpm_id integer NOT NULL REFERENCES rpminfo (id), note text);
CREATE TABLE user_avatar (user_id integer PRIMARY KEY REFERENCES users (id), picture text);`

// TestNewerSchema: rows get the defaults of columns that we do not know, which staging may fill as
// it likes, and tables that we do not know keep their rows and what they refer to.
func TestNewerSchema(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := stagingOn(t, dbtest.Release(t, 37), newer, admin, `INSERT INTO user_avatar VALUES (1, 'cat')`)
	if got := s.one("SELECT user_id FROM user_avatar"); got != "990000000" {
		t.Errorf("the admin's picture is user %s's", got)
	}
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	s.check(w, shot{})
	if len(rep.Notes) != 4 || !strings.Contains(strings.Join(rep.Notes, "\n"), "tag.colour is new") {
		t.Errorf("notes: %q", rep.Notes)
	}
	if got := s.one(`SELECT count(*) || ' ' || count(DISTINCT colour) FROM tag WHERE colour = 'grey'`); got != "23 1" {
		t.Errorf("grey tags: %s", got)
	}
	s.exec(`UPDATE build SET flavour = 'salt' WHERE id IN (1, 2); UPDATE tag SET colour = 'blue' WHERE id = 3; UPDATE tag_listing SET why = 'because' WHERE build_id = 9;
		INSERT INTO build_label (build_id, label) VALUES (1, 'good'), (44, 'bad');
		INSERT INTO rpm_note VALUES (281, 'needed')`)
	look := func() string {
		return strings.Join(s.dump(`SELECT 'b', id, flavour FROM build WHERE flavour IS NOT NULL UNION ALL SELECT 't', id, colour FROM tag WHERE colour <> 'grey'
			UNION ALL SELECT 'l', build_id, why FROM tag_listing WHERE why IS NOT NULL AND create_event < 990000000 UNION ALL SELECT 'm', build_id, label FROM build_label UNION ALL SELECT 'n', rpm_id, note FROM rpm_note`), "\n")
	}
	want := look()
	if rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Audit: true}); rep.Changed() || len(rep.Kept) > 0 {
		t.Errorf("an audit: %+v", rep)
	}
	// Production changes the same rows, and deletes what is referred to.
	w.find("build", "id", 1)["epoch"] = str(9)
	w.find("tag", "id", 3)["name"] = str("f42-better")
	for _, l := range w.all("tag_listing", "build_id", 9, "active", "t") {
		w.revoke(l)
	}
	w.find("build", "id", 44)["state"] = str(4)
	for _, r := range w.all("rpminfo", "build_id", 44) {
		w.drop("rpmsigs", "rpm_id", r.get("id"))
	}
	w.drop("rpminfo", "build_id", 44)
	w.drop("tag_listing", "build_id", 44)
	w.event()
	rep = s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if got := look(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(rep.Kept) != 1 || rep.Kept[0].Key != "id=281" || !strings.Contains(rep.Kept[0].What, "staging's rpm_note") {
		t.Errorf("kept: %+v", rep.Kept)
	}
	if got := s.one("SELECT name || epoch FROM tag, build WHERE tag.id = 3 AND build.id = 1"); got != "f42-better9" {
		t.Errorf("production's changes: %s", got)
	}
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{Overlay: &overlay.Overlay{Hosts: []overlay.Host{{Name: "builder1", Arches: []string{"x86_64"}, Channels: []string{"default"}}}}})
	if got := s.one("SELECT weight FROM host_config WHERE active"); got != "7" {
		t.Errorf("the host's weight is %s", got)
	}
}

// TestColumnsThatCannotBeFilled are an error before anything is written.
func TestColumnsThatCannotBeFilled(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	snap := w.snapshot(shot{})
	for _, column := range seedtest.Some([]string{"rpminfo.flavour", "tag_listing.flavour", "host_config.flavour", "tag_updates.flavour", "user_krb_principals.flavour"}, 2) {
		table, _, _ := strings.Cut(column, ".")
		alter := "ALTER TABLE " + table + " ADD flavour text NOT NULL"
		dsn := dbtest.Fresh(t)
		dbtest.Exec(t, dsn, alter)
		_, err := setup.Init(t.Context(), dbtest.Connect(t, dsn), setup.Options{Env: "stg"})
		if err == nil || !strings.Contains(err.Error(), "column "+column+" is new to this kojisnap and has no default") {
			t.Errorf("init: %v", err)
		}
		s := newStaging(t)
		s.exec(alter)
		whole := s.whole()
		if _, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{}); err == nil || !strings.Contains(err.Error(), "column "+column+" is new") {
			t.Errorf("load: %v", err)
		}
		same(t, whole, s.whole())
	}
}
