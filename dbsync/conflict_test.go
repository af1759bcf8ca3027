package dbsync_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/seedtest"
)

// conflict is a row of staging's in the place of one that production makes.
type conflict struct {
	name      string
	staging   string              // what staging does after the first load
	change    func(w *production) // what production does
	conflicts map[string]bool     // relation and key
	named     string              // in what is said of them, with ; between several
	leftOut   int
	giveUp    string // what staging does so that production's rows go in
}

// together are several conflicts at once.
func together(several []conflict) conflict {
	all := conflict{name: "together", conflicts: map[string]bool{}, change: func(w *production) {
		for _, c := range several {
			c.change(w)
		}
	}}
	var staging, named, giveUp []string
	for _, c := range several {
		maps.Copy(all.conflicts, c.conflicts)
		staging, named, giveUp = append(staging, c.staging), append(named, c.named), append(giveUp, c.giveUp)
		all.leftOut += c.leftOut
	}
	all.staging, all.named, all.giveUp = strings.Join(staging, ";"), strings.Join(named, ";"), strings.Join(giveUp, ";")
	return all
}

// TestConflicts: staging holds the place of a row that production then makes.
func TestConflicts(t *testing.T) {
	t.Parallel()
	const ev = `(SELECT max(id) FROM events)`
	tests := []conflict{
		{
			name: "a build",
			staging: `INSERT INTO build (volume_id, pkg_id, version, release, completion_time, state, owner) VALUES (0, 1, '6', '1', now(), 1, 990000000);
				INSERT INTO build_types SELECT id, 1 FROM build WHERE version = '6';
				INSERT INTO rpminfo (build_id, name, version, release, arch, draft, external_repo_id, payloadhash, size, buildtime)
					SELECT id, 'bash', '6', '1', 'src', false, 0, '00', 1, 1 FROM build WHERE version = '6';
				INSERT INTO rpmsigs SELECT id, 'beef', 'aa' FROM rpminfo WHERE version = '6' AND name = 'bash';
				INSERT INTO tag_listing (build_id, tag_id, creator_id) SELECT id, 2, 990000000 FROM build WHERE version = '6'`,
			change: func(w *production) {
				w.add("build", "id", 200, "volume_id", 0, "pkg_id", 1, "version", "6", "release", "1", "draft", "f", "create_event", w.event(),
					"completion_time", "2026-11-21 03:00:00+00", "state", 1, "owner", 1)
				w.add("build_types", "build_id", 200, "btype_id", 1)
				w.add("rpminfo", "id", 2000, "build_id", 200, "name", "bash", "version", "6", "release", "1", "arch", "src",
					"draft", "f", "external_repo_id", 0, "payloadhash", "00", "size", 1, "buildtime", 3, "metadata_only", "f")
				w.add("rpmsigs", "rpm_id", 2000, "sigkey", "", "sighash", "aa")
				w.tag(200, 3)
			},
			conflicts: map[string]bool{"build id=200": true},
			named:     "bash-6-1",
			leftOut:   4,
			giveUp: `DELETE FROM rpmsigs WHERE rpm_id >= 990000000; DELETE FROM rpminfo WHERE id >= 990000000;
				DELETE FROM tag_listing WHERE build_id >= 990000000; DELETE FROM build_types WHERE build_id >= 990000000; DELETE FROM build WHERE id >= 990000000`,
		},
		{
			name: "an rpm",
			staging: `INSERT INTO rpminfo (build_id, name, version, release, arch, draft, external_repo_id, payloadhash, size, buildtime)
				VALUES (1, 'filesystem-extra', '3.18', '36.fc42', 'x86_64', false, 0, '00', 1, 1)`,
			change: func(w *production) {
				w.event()
				w.add("rpminfo", "id", 2001, "build_id", 1, "name", "filesystem-extra", "version", "3.18", "release", "36.fc42", "arch", "x86_64",
					"draft", "f", "external_repo_id", 0, "payloadhash", "00", "size", 1, "buildtime", 3, "metadata_only", "f")
				w.add("rpmsigs", "rpm_id", 2001, "sigkey", "", "sighash", "aa")
			},
			conflicts: map[string]bool{"rpminfo id=2001": true},
			named:     "filesystem-extra-3.18-36.fc42.x86_64",
			leftOut:   1,
			giveUp:    `DELETE FROM rpminfo WHERE id >= 990000000`,
		},
		{
			name: "a failed build that was resubmitted",
			staging: `INSERT INTO events (time) VALUES (now());
				UPDATE build SET state = 1, create_event = ` + ev + `, volume_id = 0, completion_time = now() WHERE id = 75;
				INSERT INTO rpminfo (build_id, name, version, release, arch, draft, external_repo_id, payloadhash, size, buildtime)
				VALUES (75, 'failing-rpm', '1', '1.fc42', 'src', false, 0, '00', 1, 1)`,
			change: func(w *production) {
				b := w.find("build", "id", 75)
				b["state"], b["create_event"] = str(1), str(w.event())
				w.add("rpminfo", "id", 2002, "build_id", 75, "name", "failing-rpm", "version", "1", "release", "1.fc42", "arch", "src",
					"draft", "f", "external_repo_id", 0, "payloadhash", "00", "size", 1, "buildtime", 3, "metadata_only", "f")
				w.tag(75, 3)
			},
			conflicts: map[string]bool{"build id=75": true},
			named:     "failing-rpm-1-1.fc42",
			leftOut:   1, // the build is there, so its tagging is, too
		},
		{
			name:    "the promotion of a draft",
			staging: `INSERT INTO build (volume_id, pkg_id, version, release, completion_time, state, owner) VALUES (0, 61, '1', '1.fc42', now(), 1, 990000000)`,
			change: func(w *production) {
				b := w.find("build", "id", 71)
				b["draft"], b["release"], b["promotion_time"], b["promoter"] = str("f"), str("1.fc42"), str("2026-11-21 02:00:00+00"), str(1)
				for _, r := range w.all("rpminfo", "build_id", 71) {
					r["draft"] = str("f")
				}
				w.tag(71, 3)
			},
			conflicts: map[string]bool{"build id=71": true},
			named:     "draftpkg-1-1.fc42",
			giveUp:    `DELETE FROM build WHERE id >= 990000000`,
		},
	}
	gives := slices.DeleteFunc(slices.Clone(tests), func(c conflict) bool { return c.giveUp == "" })
	if !seedtest.Long() {
		tests, gives = []conflict{together(tests)}, []conflict{together(gives)}
	}
	for _, c := range tests {
		t.Run(c.name, c.stays)
	}
	for _, c := range gives {
		t.Run(c.name+", staging gives up", func(t *testing.T) {
			w, s := newLoaded(t, admin)
			s.exec(c.staging)
			c.change(w)
			snap := w.snapshot(shot{})
			s.load(snap, dbsync.LoadOptions{})
			s.exec(c.giveUp)
			s.load(snap, dbsync.LoadOptions{})
			s.check(w, shot{})
		})
	}
}

// stays tests what loads do as long as staging's rows are there: refuse, leave production's out, and replace them.
func (c conflict) stays(t *testing.T) {
	w, s := newLoaded(t, admin)
	s.exec(c.staging)
	own := s.own()
	c.change(w)
	snap := w.snapshot(shot{})
	names := strings.Split(c.named, ";")
	named := func(conflicts []book.Entry) bool {
		said := fmt.Sprint(conflicts)
		return !slices.ContainsFunc(names, func(name string) bool { return !strings.Contains(said, name) })
	}

	whole := s.whole()
	_, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{OnConflict: dbsync.Fail})
	var refused *dbsync.ConflictError
	if !errors.As(err, &refused) || len(refused.Conflicts) != len(c.conflicts) || !named(refused.Conflicts) {
		t.Errorf("fail: %v", err)
	} else if !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(err.Error(), name) }) { // it has the first
		t.Errorf("it names none of %q: %v", names, err)
	}
	same(t, whole, s.whole())

	for range 2 { // it is tried, and noted, again
		rep := s.load(snap, dbsync.LoadOptions{})
		got := map[string]bool{}
		for _, e := range rep.Conflicts {
			got[e.Relation+" "+e.Key] = true
		}
		if fmt.Sprint(got) != fmt.Sprint(c.conflicts) || len(rep.LeftOut) != c.leftOut {
			t.Errorf("keep: conflicts %+v, left out %+v", rep.Conflicts, rep.LeftOut)
		}
		if !named(rep.Conflicts) {
			t.Errorf("it does not name %q: %+v", c.named, rep.Conflicts)
		}
		for _, e := range rep.LeftOut {
			if strings.HasPrefix(e.What, "its ") && e.Relation != "build_types" || !strings.Contains(e.What, "was left out") {
				t.Errorf("left out: %+v", e)
			}
		}
		same(t, own, s.own())
		if n := s.one("SELECT count(*) FROM kojisnap.left_out"); n != fmt.Sprint(len(c.conflicts)+c.leftOut) {
			t.Errorf("%s rows in left_out", n)
		}
	}

	rep := s.load(snap, dbsync.LoadOptions{OnConflict: dbsync.Replace})
	s.check(w, shot{})
	if n := s.one("SELECT count(*) FROM kojisnap.left_out"); n != "0" || len(rep.Conflicts) > 0 {
		t.Errorf("replace: %s rows in left_out, %+v", n, rep)
	}
	if again := s.load(snap, dbsync.LoadOptions{Audit: true}); again.Changed() {
		t.Errorf("again: %+v", again)
	}
}
