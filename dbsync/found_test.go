package dbsync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/seedtest"
)

// The cases of this file were found by the randomised test, TestMerge of package integration.

// TestStandInRenamed: production renames a row for which one of staging's own stands.
func TestStandInRenamed(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t)
	s.exec(`INSERT INTO tag (name) VALUES ('f42')`)
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	w.find("tag", "id", 2)["name"] = str("f42-renamed")
	for range 2 {
		rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Audit: true})
		if len(rep.Kept) != 1 || rep.Kept[0].Relation != "tag" || rep.Kept[0].Key != "id=2" || !strings.Contains(rep.Kept[0].What, "f42-renamed") {
			t.Errorf("kept: %+v", rep.Kept)
		}
	}
	if name := s.one("SELECT name FROM tag WHERE id = 990000000"); name != "f42" {
		t.Errorf("staging's tag is called %q", name)
	}
}

// TestBothDeleted: staging deletes a build, and then production does.
func TestBothDeleted(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	s.exec(`INSERT INTO events (time) VALUES (now());
		UPDATE tag_listing SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 990000000 WHERE build_id = 10 AND active;
		DELETE FROM rpmsigs WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id = 10);
		UPDATE build SET state = 2 WHERE id = 10`)
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Audit: true})
	if len(rep.Conflicts) != 0 || counted(rep, "build").Kept != 1 {
		t.Errorf("staging alone: %+v", rep)
	}
	for _, l := range w.all("tag_listing", "build_id", 10, "active", "t") {
		w.revoke(l)
	}
	for _, r := range w.all("rpminfo", "build_id", 10) {
		w.drop("rpmsigs", "rpm_id", r.get("id"))
	}
	w.find("build", "id", 10)["state"] = str(2)
	rep = s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if len(rep.Conflicts)+len(rep.LeftOut)+len(rep.Kept) != 0 {
		t.Errorf("both: %+v", rep)
	}
}

// TestReplaceReferred: production made an rpm again that an image of staging's consists of.
func TestReplaceReferred(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	rpm := w.all("rpminfo", "build_id", 44)[0]
	s.exec(`INSERT INTO build (volume_id, pkg_id, version, release, completion_time, state, owner) VALUES (0, 1, '6', '1', now(), 1, 990000000);
		INSERT INTO archiveinfo (type_id, btype_id, build_id, filename, size, checksum, checksum_type) SELECT 1, 4, max(id), 'x.raw', 1, 'aa', 2 FROM build`)
	s.exec(`INSERT INTO archive_rpm_components SELECT max(id), $1 FROM archiveinfo`, rpm.int("id"))
	w.drop("rpmsigs", "rpm_id", rpm.get("id"))
	rpm["id"] = str(2000)
	w.find("build", "id", 44)["create_event"] = str(w.event())
	snap := w.snapshot(shot{})
	if rep := s.load(snap, dbsync.LoadOptions{}); len(rep.Conflicts) != 1 || len(rep.Kept) != 1 {
		t.Errorf("keep: %+v", rep)
	}
	if rep := s.load(snap, dbsync.LoadOptions{OnConflict: dbsync.Replace}); len(rep.Conflicts)+len(rep.LeftOut)+len(rep.Kept) != 0 {
		t.Errorf("replace: %+v", rep)
	}
	s.check(w, shot{})
}

// TestNameGivenAwayIsTold: production renamed a tag that is out of the scope by now, and gave its name
// to a new one.
func TestNameGivenAwayIsTold(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t)
	w.drop("tag", "id", 20)
	for _, r := range []string{"tag_config", "tag_extra", "tag_inheritance", "tag_packages", "tag_package_owners", "tag_listing"} {
		w.drop(r, "tag_id", 20)
	}
	w.event()
	w.add("tag", "id", 60, "name", "old-product-renamed")
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if got := counted(rep, "tag"); got.Inserted != 1 || got.Updated != 1 || len(rep.Notes) != 1 {
		t.Errorf("report: %+v", rep)
	}
	if want := []string{"old-product-renamed-production-20", "old-product-renamed"}; !slices.Equal(rep.Touched, want) && !slices.Equal(rep.Touched, want[:1]) {
		t.Errorf("touched %q", rep.Touched)
	}
}

// TestReplacePromotedRPM: staging imported an rpm under the name that one of a draft's has when
// production promotes it.
func TestReplacePromotedRPM(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	s.exec(`INSERT INTO rpminfo (build_id, name, version, release, arch, draft, external_repo_id, payloadhash, size, buildtime)
		SELECT 1, name, version, release, arch, false, 0, '00', 1, 1 FROM rpminfo WHERE build_id = 71`)
	b := w.find("build", "id", 71)
	b["draft"], b["release"], b["promotion_time"], b["promoter"] = str("f"), str("1.fc42"), str("2026-11-21 02:00:00+00"), str(1)
	for _, r := range w.all("rpminfo", "build_id", 71) {
		r["draft"] = str("f")
	}
	w.event()
	snap := w.snapshot(shot{})
	if rep := s.load(snap, dbsync.LoadOptions{}); len(rep.Conflicts) != 1 || rep.Conflicts[0].Key != "id=71" {
		t.Errorf("keep: %+v", rep)
	}
	if rep := s.load(snap, dbsync.LoadOptions{OnConflict: dbsync.Replace}); len(rep.Conflicts)+len(rep.LeftOut) != 0 {
		t.Errorf("replace: %+v", rep)
	}
	s.check(w, shot{})
}

// TestRPMMadeAgain: an incremental pull may have an rpm, and another of the same name that was made
// in its place. The newer goes in.
func TestRPMMadeAgain(t *testing.T) {
	t.Parallel()
	for _, mode := range []dbsync.OnConflict{dbsync.Keep, dbsync.Replace} {
		t.Run(string(mode), func(t *testing.T) {
			w := newProduction(t)
			old := w.find("rpminfo", "id", 7)
			again := w.add("rpminfo", "id", 5000)
			for c, v := range old {
				if c != "id" {
					again[c] = v
				}
			}
			s := newStaging(t)
			snap := w.snapshot(shot{})
			rep := s.load(snap, dbsync.LoadOptions{OnConflict: mode})
			if len(rep.Conflicts) != 1 || rep.Conflicts[0].Key != "id=7" {
				t.Errorf("conflicts: %+v", rep.Conflicts)
			}
			if got := s.one("SELECT string_agg(id::text, ' ') FROM rpminfo WHERE id IN (7, 5000)"); got != "5000" {
				t.Errorf("the rpms are %s", got)
			}
			if rep := s.load(snap, dbsync.LoadOptions{OnConflict: mode}); rep.Changed() {
				t.Errorf("again: %+v", rep)
			}
		})
	}
}

// TestNoLongerStagings: production removes a signature below a build while staging has made that its own.
// Once it is production's again, so are its rows, though no load since looked at them; whether production
// changed the build itself meanwhile, so that it was a conflict, or not.
func TestNoLongerStagings(t *testing.T) {
	t.Parallel()
	type takenOver struct {
		how   string
		build int
	}
	all := []takenOver{{"undone", 10}, {"undone after a conflict", 17}, {"given back", 36}}
	together := [][]takenOver{all}
	if seedtest.Long() {
		together = slices.Collect(slices.Chunk(all, 1))
	}
	for _, cases := range together {
		t.Run(cases[0].how, func(t *testing.T) {
			w, s := newLoaded(t, admin)
			signatures := func(rpm string) string {
				return s.one("SELECT count(*) FROM rpmsigs WHERE rpm_id = " + rpm)
			}
			for _, c := range cases {
				s.exec(fmt.Sprint("UPDATE build SET state = 2 WHERE id = ", c.build))
			}
			s.load(w.snapshot(shot{}), dbsync.LoadOptions{}) // on record
			rpms := map[int]string{}
			for _, c := range cases {
				rpms[c.build] = w.all("rpminfo", "build_id", c.build)[0].get("id")
				w.drop("rpmsigs", "rpm_id", rpms[c.build])
				if c.how == "undone after a conflict" {
					w.find("build", "id", c.build)["extra"] = str(`{"news": 1}`)
				}
			}
			w.event()
			rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
			for _, rpm := range rpms {
				if n := signatures(rpm); n == "0" || rep.Base == "" {
					t.Errorf("%s signatures, base %q: below a build of staging's own nothing goes", n, rep.Base)
				}
			}
			// Those that are undone go in without it.
			for _, mode := range []dbsync.OnConflict{dbsync.Keep, dbsync.Replace} {
				var now []takenOver
				for _, c := range cases {
					if (c.how == "given back") == (mode == dbsync.Replace) {
						now = append(now, c)
					}
				}
				if now == nil {
					continue
				}
				for _, c := range now {
					if mode == dbsync.Keep {
						s.exec(fmt.Sprint("UPDATE build SET state = 1 WHERE id = ", c.build))
					}
				}
				w.event()
				s.load(w.snapshot(shot{}), dbsync.LoadOptions{OnConflict: mode})
				for _, c := range now {
					if n := signatures(rpms[c.build]); n != "0" {
						t.Errorf("%s: %s signatures of production's are left that it removed", c.how, n)
					}
				}
			}
			s.check(w, shot{})
		})
	}
}
