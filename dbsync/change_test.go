package dbsync_test

import (
	"errors"
	"slices"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/preflight"
	"kojisnap/kojisnap/seedtest"
)

// changes are what production does between two snapshots.
var changes = []struct {
	name    string
	change  func(w *production)
	touched []string // nil: any may be
	verify  func(t *testing.T, s *staging, w *production, rep *book.LoadReport)
}{
	{"untag with production's own event", func(w *production) {
		w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
	}, []string{"f42-updates-testing"}, func(t *testing.T, s *staging, w *production, rep *book.LoadReport) {
		if got := s.one(`SELECT revoke_event || ' ' || revoker_id FROM tag_listing WHERE build_id = 9 AND tag_id = 4 AND create_event < 990000000`); got != "420 1" {
			t.Errorf("revoked by %s, not by production's event and user", got)
		}
	}},
	{"retag", func(w *production) {
		w.revoke(w.find("tag_listing", "build_id", 36, "tag_id", 4, "active", "t"))
		w.tag(36, 4)
	}, []string{"f42-updates-testing"}, nil},
	{"new build, tagged and signed", func(w *production) {
		e := w.event()
		w.add("build", "id", 100, "volume_id", 1, "pkg_id", 1, "version", "5.3", "release", "9", "draft", "f", "create_event", e,
			"completion_time", "2026-11-21 01:00:00+00", "state", 1, "owner", 1, "task_id", 77, "extra", `{"a": "ž\u0041\\n"}`)
		w.add("rpminfo", "id", 1000, "build_id", 100, "buildroot_id", 5, "name", "bash", "version", "5.3", "release", "9", "arch", "src",
			"draft", "f", "external_repo_id", 0, "payloadhash", "00", "size", 5_000_000_000, "buildtime", 3, "metadata_only", "f")
		w.add("rpmsigs", "rpm_id", 1000, "sigkey", "", "sighash", "aa")
		w.tag(100, 4)
	}, []string{"f42-updates-testing"}, func(t *testing.T, s *staging, w *production, rep *book.LoadReport) {
		if got := s.one(`SELECT name FROM volume JOIN build ON volume_id = volume.id WHERE build.id = 100`); got != "prod_archive01" {
			t.Errorf("it stands on %s", got)
		}
	}},
	{"signature removed, another added", func(w *production) {
		w.drop("rpmsigs", "rpm_id", 1, "sigkey", "41526f0e")
		w.add("rpmsigs", "rpm_id", 2, "sigkey", "deadbeef", "sighash", "aa")
	}, []string{"f42"}, nil},
	{"volume move", func(w *production) {
		w.find("build", "id", 1)["volume_id"] = str(2)
	}, []string{"f42"}, func(t *testing.T, s *staging, w *production, rep *book.LoadReport) {
		if got := s.one(`SELECT name FROM volume JOIN build ON volume_id = volume.id WHERE build.id = 1`); got != "prod_ssd02" {
			t.Errorf("it stands on %s", got)
		}
	}},
	{"failed build resubmitted, with rpms", func(w *production) {
		b := w.find("build", "id", 75)
		b["state"], b["create_event"] = str(1), str(w.event())
		w.add("rpminfo", "id", 1500, "build_id", 75, "name", "failing-rpm", "version", "1", "release", "1.fc42", "arch", "src",
			"draft", "f", "external_repo_id", 0, "payloadhash", "00", "size", 1, "buildtime", 3, "metadata_only", "f")
		w.tag(75, 2)
	}, []string{"f42"}, nil},
	{"deleted build", func(w *production) {
		for _, l := range w.all("tag_listing", "build_id", 10, "active", "t") {
			w.revoke(l)
		}
		w.find("build", "id", 10)["state"] = str(2)
	}, []string{"f42"}, func(t *testing.T, s *staging, w *production, rep *book.LoadReport) {
		if got := s.one(`SELECT volume_id FROM build WHERE id = 10`); got != "0" {
			t.Errorf("it stands on volume %s", got)
		}
	}},
	{"reset build", func(w *production) {
		b := w.find("build", "id", 44)
		b["state"], b["volume_id"] = str(4), str(0)
		for _, r := range w.all("rpminfo", "build_id", 44) {
			w.drop("rpmsigs", "rpm_id", r.get("id"))
		}
		w.drop("rpminfo", "build_id", 44)
		w.drop("tag_listing", "build_id", 44)
		w.drop("build_types", "build_id", 44)
	}, []string{"f42"}, nil},
	{"reset build, built again under new rpm ids", func(w *production) {
		for _, r := range w.all("rpminfo", "build_id", 43) {
			w.drop("rpmsigs", "rpm_id", r.get("id"))
			r["id"] = str(r.int("id") + 1000)
		}
		w.find("build", "id", 43)["create_event"] = str(w.event())
	}, []string{"f42"}, nil},
	{"draft promoted", func(w *production) {
		b := w.find("build", "id", 71)
		b["draft"], b["release"], b["promotion_time"], b["promoter"] = str("f"), str("1.fc42"), str("2026-11-21 02:00:00+00"), str(1)
		for _, r := range w.all("rpminfo", "build_id", 71) {
			r["draft"] = str("f")
		}
	}, []string{"f42-candidate"}, nil},
	{"tags swap names", func(w *production) {
		w.find("tag", "id", 3)["name"], w.find("tag", "id", 4)["name"] = str("f42-updates-testing"), str("f42-updates")
	}, []string{"f42-updates", "f42-updates-testing"}, nil},
	{"build completes", func(w *production) {
		b := w.find("build", "id", 66)
		b["state"], b["completion_time"] = str(1), str("2026-11-21 02:00:00+00")
	}, nil, func(t *testing.T, s *staging, w *production, rep *book.LoadReport) {
		if got := s.one(`SELECT name FROM volume JOIN build ON volume_id = volume.id WHERE build.id = 66`); got != "prod" {
			t.Errorf("it stands on %s", got)
		}
	}},
	{"names go round, and a new one takes one over", func(w *production) {
		w.find("users", "id", 2)["name"], w.find("users", "id", 3)["name"], w.find("users", "id", 8)["name"] = str("bob"), str("autosign"), str("alice2")
		w.add("users", "id", 50, "name", "alice", "status", 0, "usertype", 0)
		w.find("users", "id", 9)["status"] = str(0)
	}, nil, nil},
	{"builds swap releases", func(w *production) {
		a, b := w.find("build", "id", 15), w.find("build", "id", 17)
		a["release"], b["release"] = b["release"], a["release"]
	}, nil, nil},
	{"config, extra, inheritance, packages, owners, groups, target, repo", func(w *production) {
		c := w.find("tag_config", "tag_id", 9, "active", "t")
		e := w.revoke(c)
		w.add("tag_config", "tag_id", 9, "arches", "x86_64 aarch64", "perm_id", 16, "locked", "t", "maven_support", "f", "maven_include_all", "f",
			"create_event", e, "creator_id", 1, "active", "t")
		w.add("tag_extra", "tag_id", 9, "key", "fresh", "value", `"\\"`, "create_event", w.event(), "creator_id", 1, "active", "t")
		w.revoke(w.find("tag_inheritance", "tag_id", 10, "parent_id", 11, "active", "t"))
		p := w.find("tag_packages", "package_id", 1, "tag_id", 2, "active", "t")
		e = w.revoke(p)
		w.add("tag_packages", "package_id", 1, "tag_id", 2, "blocked", "t", "create_event", e, "creator_id", 1, "active", "t")
		o := w.find("tag_package_owners", "package_id", 1, "tag_id", 2, "active", "t")
		e = w.revoke(o)
		w.add("tag_package_owners", "package_id", 1, "tag_id", 2, "owner", 3, "create_event", e, "creator_id", 1, "active", "t")
		x := w.find("build_target_config", "build_target_id", 4, "active", "t")
		e = w.revoke(x)
		w.add("build_target_config", "build_target_id", 4, "build_tag", 17, "dest_tag", 9, "create_event", e, "creator_id", 1, "active", "t")
		u := w.find("external_repo_config", "external_repo_id", 1, "active", "t")
		e = w.revoke(u)
		w.add("external_repo_config", "external_repo_id", 1, "url", "https://new.example.com/$arch", "create_event", e, "creator_id", 1, "active", "t")
	}, nil, nil},
	{"nothing but an event", func(w *production) { w.event() }, nil, func(t *testing.T, s *staging, w *production, rep *book.LoadReport) {
		if want := (book.RelationReport{Relation: "events", Inserted: 1}); !slices.Equal(done(rep), []book.RelationReport{want}) {
			t.Errorf("report: %+v", rep.Relations)
		}
	}},
}

// TestChanges loads production, and again after each change.
func TestChanges(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	before := s.own()
	for several := range slices.Chunk(changes, atOnce(1, 5)) { // the last is alone in any case
		t.Run(several[0].name, func(t *testing.T) {
			s, w := *s, *w
			s.t, w.t = t, t
			var touched []string
			lookAt := true // at whether there are more
			for _, c := range several {
				c.change(&w)
				touched, lookAt = append(touched, c.touched...), lookAt && c.touched != nil
			}
			rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
			s.check(&w, shot{})
			same(t, before, s.own())
			if len(rep.Conflicts)+len(rep.LeftOut)+len(rep.Kept) > 0 || !rep.Changed() {
				t.Errorf("report: %+v", rep)
			}
			slices.Sort(touched)
			touched = slices.Compact(touched)
			more := len(slices.DeleteFunc(slices.Clone(rep.Touched), func(tag string) bool { return slices.Contains(touched, tag) }))
			if len(rep.Touched) != len(touched)+more || lookAt && more > 0 {
				t.Errorf("touched %q, want %q", rep.Touched, touched)
			}
			for _, c := range several {
				if c.verify != nil {
					c.verify(t, &s, &w, rep)
				}
			}
		})
	}
}

// atOnce is how many changes a load brings, in the long form and in the short one.
func atOnce(long, short int) int {
	if seedtest.Long() {
		return long
	}
	return short
}

// TestChangesTogether makes all the changes at once, says first what a load would do, and has
// nothing left to do after it.
func TestChangesTogether(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	before := s.own()
	for _, c := range changes {
		c.change(w)
	}
	snap := w.snapshot(shot{})
	whole := s.whole()
	dry := s.load(snap, dbsync.LoadOptions{DryRun: true})
	same(t, whole, s.whole())

	rep := s.load(snap, dbsync.LoadOptions{})
	s.check(w, shot{})
	same(t, before, s.own())
	foretold(t, dry, rep)
	if audit := s.load(snap, dbsync.LoadOptions{Audit: true}); audit.Changed() {
		t.Errorf("again: %+v", audit)
	}
}

// TestBackAndForth rolls back to an older snapshot and forward again.
func TestBackAndForth(t *testing.T) {
	t.Parallel()
	w, s, old := newLoadedOf(t, shot{event: 380})
	s.check(w, shot{event: 380})
	now := w.snapshot(shot{})
	s.load(now, dbsync.LoadOptions{})
	s.check(w, shot{})

	whole := s.whole()
	if _, err := dbsync.Load(t.Context(), s.conn, old, dbsync.LoadOptions{}); !errors.Is(err, preflight.ErrOlder) {
		t.Errorf("an older snapshot: %v", err)
	}
	same(t, whole, s.whole())
	rep := s.load(old, dbsync.LoadOptions{Rollback: true})
	if counted(rep, "tag_listing").Unrevoked == 0 {
		t.Errorf("report: %+v", rep.Relations)
	}
	s.load(now, dbsync.LoadOptions{})
	s.check(w, shot{})
}

// TestScopeShrinks loads all tags, then one of them: what production has in the others is not
// known to have gone.
func TestScopeShrinks(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t)
	tables := s.whole()
	w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
	rep := s.load(w.snapshot(shot{tags: []int64{2}}), dbsync.LoadOptions{})
	want := []book.RelationReport{{Relation: "events", Inserted: 1}}
	if !slices.Equal(done(rep), want) {
		t.Errorf("report: %+v", rep.Relations)
	}
	for table, rows := range s.whole() {
		if !slices.Contains([]string{"events", "kojisnap.load", "kojisnap.tag"}, table) {
			diff(t, table, tables[table], rows)
		}
	}
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	s.check(w, shot{})
}
