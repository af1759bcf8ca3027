package dbsync_test

import (
	"fmt"
	"reflect"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/status"
)

// volumes says on which volumes production's builds stand, by state.
func (s *staging) volumes() string {
	s.t.Helper()
	return fmt.Sprint(s.dump(`SELECT b.state || ' ' || v.name || ' ' || count(*) FROM build b JOIN volume v ON v.id = volume_id GROUP BY b.state, v.name`))
}

func TestVolumes(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t)
	snap := w.snapshot(shot{})
	bash := kojidb.NVR{Name: "bash", Version: "5.2.37", Release: "1.fc42"}
	crude := kojidb.NVR{Name: "failed-build", Version: "1", Release: "1"} // not complete
	steps := []struct {
		name    string
		opt     dbsync.LoadOptions
		want    string
		changed int64
		touched []string
	}{
		{"first, one build copied", dbsync.LoadOptions{Staged: []kojidb.NVR{bash, crude}},
			"[0 DEFAULT 2 1 prod 64 1 prod_archive01 3 1 prod_ssd02 1 1 staged 1 2 DEFAULT 2 3 DEFAULT 2 4 DEFAULT 2]", 0, nil},
		{"it is not known which are copied", dbsync.LoadOptions{},
			"[0 DEFAULT 2 1 prod 64 1 prod_archive01 3 1 prod_ssd02 1 1 staged 1 2 DEFAULT 2 3 DEFAULT 2 4 DEFAULT 2]", 0, nil},
		{"another is copied", dbsync.LoadOptions{Staged: []kojidb.NVR{{Name: "coreutils", Version: "9.6", Release: "3.fc42"}}},
			"[0 DEFAULT 2 1 prod 63 1 prod_archive01 4 1 prod_ssd02 1 1 staged 1 2 DEFAULT 2 3 DEFAULT 2 4 DEFAULT 2]", 2, []string{"f42"}},
		{"none is copied", dbsync.LoadOptions{Staged: []kojidb.NVR{}},
			"[0 DEFAULT 2 1 prod 64 1 prod_archive01 4 1 prod_ssd02 1 2 DEFAULT 2 3 DEFAULT 2 4 DEFAULT 2]", 1, []string{"f42"}},
		{"another rule for volumes", dbsync.LoadOptions{Volume: "ro", CopyVolume: "rw", VolumeFor: func(string) string { return "ro" }},
			"[0 DEFAULT 2 1 ro 69 2 DEFAULT 2 3 DEFAULT 2 4 DEFAULT 2]", 69, nil},
	}
	for i, c := range steps {
		t.Run(c.name, func(t *testing.T) {
			s := *s
			s.t = t
			rep := s.load(snap, c.opt)
			if got := s.volumes(); got != c.want {
				t.Errorf("volumes: %s, want %s", got, c.want)
			}
			if i > 0 && (counted(rep, "build").Updated != c.changed || !rep.Skipped) {
				t.Errorf("report: %+v", rep)
			}
			if c.touched != nil && !reflect.DeepEqual(rep.Touched, c.touched) {
				t.Errorf("touched: %q", rep.Touched)
			}
		})
	}
	s.check(w, shot{})
	for _, opt := range []dbsync.LoadOptions{{Volume: "a", CopyVolume: "a"}, {Volume: "DEFAULT"}, {OnConflict: "maybe"}} {
		if _, err := dbsync.Load(t.Context(), s.conn, snap, opt); err == nil {
			t.Errorf("%+v is taken", opt)
		}
	}
}

// TestTouch: what a load leaves for kojira and Pungi is in no view.
func TestTouch(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t)
	event := s.one("SELECT max(id) FROM events")
	w.tag(20, 3)
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	next := s.one("SELECT max(id) FROM events")
	user := s.one("SELECT id FROM users WHERE name = 'kojisnap'")
	if s.one("SELECT count(*) FROM events WHERE id > $1", event) != "1" {
		t.Errorf("more than one event was taken")
	}
	want := []string{fmt.Sprintf("3\t3\t%s\t%s\t%s\t%s\t\\N", next, next, user, user)}
	if got := s.dump("SELECT tag_id, parent_id, create_event, revoke_event, creator_id, revoker_id, active FROM tag_inheritance WHERE create_event > " + event); !reflect.DeepEqual(got, want) {
		t.Errorf("tag_inheritance: %q, want %q", got, want)
	}
	if got := s.one("SELECT count(*) FROM tag_listing WHERE create_event > $1", event); got != "0" {
		t.Errorf("%s rows of tag_listing", got)
	}
	want = []string{fmt.Sprintf("3\t%s\t%s\t2", next, user)}
	if got := s.dump("SELECT tag_id, update_event, updater_id, update_type FROM tag_updates WHERE update_event > " + event); !reflect.DeepEqual(got, want) {
		t.Errorf("tag_updates: %q, want %q", got, want)
	}
}

// TestScopes loads two snapshots of different tags, which share builds and tags, in turn.
func TestScopes(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t)
	f42, infra := shot{tags: []int64{2, 3}}, shot{tags: []int64{9}}
	s.load(w.snapshot(f42), dbsync.LoadOptions{})
	s.check(w, f42)
	s.load(w.snapshot(infra), dbsync.LoadOptions{})
	w.revoke(w.find("tag_listing", "build_id", 63, "tag_id", 9, "active", "t"))
	first := w.last()
	w.revoke(w.find("tag_listing", "build_id", 8, "tag_id", 3, "active", "t"))
	s.load(w.snapshot(f42), dbsync.LoadOptions{})
	if got := s.one("SELECT active FROM tag_listing WHERE build_id = 63 AND tag_id = 9 AND create_event < 990000000"); got != "true" {
		t.Error("a tagging went that was not in the scope")
	}
	rep := s.load(w.snapshot(infra), dbsync.LoadOptions{})
	if want := []string{"f42-infra"}; !reflect.DeepEqual(rep.Touched, want) {
		t.Errorf("touched: %q", rep.Touched)
	}
	if got := s.one("SELECT revoke_event FROM tag_listing WHERE build_id = 63 AND tag_id = 9 AND create_event < 990000000"); got != fmt.Sprint(w.last()) {
		// No snapshot of this scope came before, so production's own event is not known.
		t.Errorf("revoked at %s, not at E (production's was %d)", got, first)
	}
	all := shot{tags: []int64{2, 3, 9}}
	s.load(w.snapshot(all), dbsync.LoadOptions{})
	w.tag(63, 9) // the builds that were untagged are staging's to keep, but not in a view
	w.tag(8, 3)
	s.load(w.snapshot(all), dbsync.LoadOptions{})
	s.check(w, all)

	st, err := status.Read(t.Context(), s.conn)
	if err != nil || len(st.Tags) != 3 || st.Event != w.last() || st.Tags[0].Name != "f42" || len(st.Conflicts) > 0 {
		t.Errorf("status: %+v, %v", st, err)
	}
}

// TestPartialSnapshot: what the hub could not give has not gone.
func TestPartialSnapshot(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t)
	before := s.whole()
	w.drop("rpminfo", "build_id", 44) // with the signatures, which are not in the snapshot
	w.event()
	rep := s.load(w.snapshot(shot{none: []string{"rpmsigs", "tag_extra", "archiveinfo", "maven_archives", "win_archives", "image_archives",
		"archive_rpm_components", "archive_components"}}), dbsync.LoadOptions{})
	if counted(rep, "rpminfo").Deleted != 3 || len(rep.Notes) == 0 {
		t.Errorf("report: %+v", rep)
	}
	for _, table := range []string{"tag_extra", "archiveinfo", "maven_archives", "win_archives", "image_archives", "archive_rpm_components", "archive_components"} {
		diff(t, table, before[table], s.dump("SELECT * FROM "+table))
	}
	if got := s.one("SELECT count(*) FROM rpmsigs s JOIN rpminfo r ON r.id = rpm_id WHERE build_id = 44"); got != "0" {
		t.Errorf("%s signatures of a deleted rpm", got)
	}
}

// TestOlderSchema loads into a Koji 1.22, which knows no drafts and no blocked tag extras, and
// then again after its upgrade.
func TestOlderSchema(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	w.all("tag_extra", "active", "t")[0]["value"] = nil
	s := newStaging(t, `
		ALTER TABLE rpminfo DROP COLUMN draft CASCADE; ALTER TABLE build DROP COLUMN draft CASCADE;
		ALTER TABLE build DROP COLUMN promotion_time, DROP COLUMN promoter;
		CREATE UNIQUE INDEX rpminfo_unique_nvra ON rpminfo (name, version, release, arch, external_repo_id);
		ALTER TABLE rpminfo ADD FOREIGN KEY (build_id) REFERENCES build (id);
		ALTER TABLE tag_extra ALTER COLUMN value SET NOT NULL;
		ALTER TABLE tag_external_repos DROP COLUMN arches;
		ALTER TABLE channels DROP COLUMN description, DROP COLUMN enabled, DROP COLUMN comment;
		ALTER TABLE permissions DROP COLUMN description; ALTER TABLE archivetypes DROP COLUMN compression_type;
		DROP TABLE repo_queue, external_repo_data, scheduler_task_runs, scheduler_host_data, scheduler_sys_data, scheduler_task_refusals,
			scheduler_log_messages, locks, rpm_checksum CASCADE`)
	snap := w.snapshot(shot{})
	rep := s.load(snap, dbsync.LoadOptions{})
	left := map[string]int64{}
	for _, r := range rep.Relations {
		if r.LeftOut > 0 {
			left[r.Relation] = r.LeftOut
		}
	}
	drafts := 0
	for _, b := range w.all("build", "draft", "t") {
		drafts += len(w.all("rpminfo", "build_id", b.get("id")))
	}
	if left["build"] != int64(len(w.all("build", "draft", "t"))) || left["rpminfo"] != int64(drafts) || left["tag_extra"] != int64(len(w.all("tag_extra", "active", "t", "value", "NULL"))) || len(rep.Conflicts) > 0 {
		t.Errorf("left out: %v", left)
	}
	if again := s.load(snap, dbsync.LoadOptions{}); again.Changed() {
		t.Errorf("again: %+v", again)
	}
	s.exec(`
		ALTER TABLE build ADD COLUMN draft boolean NOT NULL DEFAULT false, ADD COLUMN promotion_time timestamptz, ADD COLUMN promoter integer REFERENCES users (id);
		ALTER TABLE rpminfo ADD COLUMN draft boolean; UPDATE rpminfo SET draft = false WHERE build_id IS NOT NULL;
		DROP INDEX rpminfo_unique_nvra;
		CREATE UNIQUE INDEX rpminfo_unique_nvra_not_draft ON rpminfo (name, version, release, arch, external_repo_id) WHERE draft IS NOT TRUE;
		ALTER TABLE tag_extra ALTER COLUMN value DROP NOT NULL;
		ALTER TABLE tag_external_repos ADD COLUMN arches text;
		ALTER TABLE channels ADD COLUMN description text, ADD COLUMN enabled boolean NOT NULL DEFAULT true, ADD COLUMN comment text;
		ALTER TABLE permissions ADD COLUMN description text; ALTER TABLE archivetypes ADD COLUMN compression_type text`)
	rep = s.load(snap, dbsync.LoadOptions{})
	if len(rep.LeftOut)+len(rep.Conflicts)+len(rep.Kept) > 0 {
		t.Errorf("report: %+v", rep)
	}
	s.check(w, shot{})
}

// TestVolumeOf follows single builds: one that was copied, one that staging moved to a volume of its
// own, one that is neither, while production moves, deletes, resets and builds them again.
func TestVolumeOf(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t)
	const copied, own, other = 1, 2, 3 // filesystem, and two more
	staged := []kojidb.NVR{{Name: "filesystem", Version: "3.18", Release: "36.fc42"}}
	load := func(opt dbsync.LoadOptions) *book.LoadReport {
		t.Helper()
		rep := s.load(w.snapshot(shot{}), opt)
		s.check(w, shot{})
		return rep
	}
	on := func(want ...string) {
		t.Helper()
		got := []string{}
		for _, id := range []int{copied, own, other} {
			got = append(got, s.one("SELECT v.name || ' ' || b.state FROM build b JOIN volume v ON v.id = b.volume_id WHERE b.id = $1", id))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	each := func(change func(b row)) {
		for _, id := range []int{copied, own, other} {
			change(w.find("build", "id", id))
		}
		w.event()
	}
	load(dbsync.LoadOptions{Staged: staged})
	on("staged 1", "prod 1", "prod 1")
	s.exec("INSERT INTO volume (name) VALUES ('mine')")
	s.exec("UPDATE build SET volume_id = (SELECT id FROM volume WHERE name = 'mine') WHERE id = $1", own)
	if rep := load(dbsync.LoadOptions{Staged: staged}); len(rep.Kept) != 1 || rep.Kept[0].What != "staging moved it to volume 'mine'" {
		t.Errorf("kept: %+v", rep.Kept)
	}
	on("staged 1", "mine 1", "prod 1")

	each(func(b row) { b["volume_id"] = str(1) })
	load(dbsync.LoadOptions{Staged: staged})
	on("staged 1", "mine 1", "prod_archive01 1")
	load(dbsync.LoadOptions{Staged: []kojidb.NVR{}}) // the copy goes: where production moved it
	on("prod_archive01 1", "mine 1", "prod_archive01 1")
	load(dbsync.LoadOptions{Staged: staged})

	each(func(b row) { b["state"], b["volume_id"] = str(2), str(0) })
	load(dbsync.LoadOptions{Staged: staged})
	on("DEFAULT 2", "mine 2", "DEFAULT 2")

	each(func(b row) { b["state"] = str(4) })
	load(dbsync.LoadOptions{})
	on("DEFAULT 4", "mine 4", "DEFAULT 4")
	each(func(b row) { b["state"], b["volume_id"] = str(1), str(2) })
	load(dbsync.LoadOptions{}) // built again, and not known what is copied
	on("prod_ssd02 1", "mine 1", "prod_ssd02 1")
	load(dbsync.LoadOptions{Staged: staged})
	on("staged 1", "mine 1", "prod_ssd02 1")

	// Staging gives its build back to where a load had put it.
	s.exec("UPDATE build SET volume_id = (SELECT volume_id FROM kojisnap.placed_volume WHERE build_id = $1) WHERE id = $1", own)
	if rep := load(dbsync.LoadOptions{Staged: staged}); len(rep.Kept) != 0 {
		t.Errorf("kept: %+v", rep.Kept)
	}
	on("staged 1", "prod_ssd02 1", "prod_ssd02 1")
}
